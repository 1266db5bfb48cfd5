"""`lesionlab.tune`: a better recipe by trials on validation; the test part is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import files
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress
from lesionlab.run import locked

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Engine

RESULT, BEST = "tune.json", "best.toml"


def tune(
    dataset: Path | str,
    preset: str | Settings,
    out: Path | str,
    *,
    trials: int = 20,
    space: Path | str | None = None,
    overrides: Sequence[str] = (),
    weights: Path | str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    engine: Engine = "local",
    address: str | None = None,
    workers: int = 2,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Search the settings of `preset` by `trials` trainings in all, judged by its monitor.

    The space is a TOML file, else the one beside the presets. The first trial is the preset as it
    is, where the space holds it; later ones are drawn by Optuna's TPE and stopped early where
    they fall behind the median. All is kept in OUT/study.db: another call goes on, and a trial
    whose process was killed is tried again. Trials see a twin of the data set without its test
    part.

    The best value was chosen on validation and is optimistic: OUT/best.toml is a recipe to be
    measured by `repeat`, or once on test. Returns `{best: {trial, value, params}, first,
    outside, monitor, trials: [...], recipe, pruned, failed, retried, sentence}`: `first` is the
    preset's own value, null where the space does not hold it (`outside` names the keys).
    """
    from lesionlab.api.train import need_torch
    from lesionlab.config import parse, with_max_epochs, with_overrides
    from lesionlab.experiments import tune as parts
    from lesionlab.experiments.engine import Cluster, run_jobs
    from lesionlab.experiments.presets import load_preset
    from lesionlab.experiments.spaces import assignment, check_space, load_space, to_toml
    from lesionlab.training.monitor import FALLS, checked_monitor
    from lesionlab.training.setup import fingerprint

    need_torch()
    parts.need_optuna()
    opened, out = read_dataset(Path(dataset)), Path(out)
    opened.part("train"), opened.part("valid")
    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    settings = settings if epochs is None else with_max_epochs(settings, epochs)
    searched = load_space(settings.name, None if space is None else Path(space))
    check_space(searched, settings)
    monitor = checked_monitor(settings.monitor, len(opened.info.classes))
    task = parts.Task(
        out=str(out.resolve()),
        settings=settings.model_dump(mode="json"),
        space={k: v.model_dump(mode="json") for k, v in searched.items()},
        weights=None if weights is None else str(Path(weights).resolve()),
        device=device,
        threads=threads,
        seed=seed,
        monitor=monitor,
        falls=monitor in FALLS,
        fingerprint=fingerprint(parts.without_test(opened), settings.model.metadata),
        weights_sha256="" if weights is None else _sha256(Path(weights)),
    )
    parts.keep_plan(out, task)
    own = parts.own_values(settings, searched)
    outside = [key for key, values in searched.items() if not values.holds(own[key])]
    for key in outside:
        progress.say(f"the preset's {key} ({own[key]}) lies outside the space: it is drawn")
    with locked(out):
        parts.write_without_test(opened, out)
        study = parts.open_study(task)
        killed = parts.begin_study(study, settings, searched)
        left = max(0, trials - parts.finished(study))
        retried = killed[:left]
        for number in killed:
            again = "it is tried again" if number in retried else "more --trials would try it again"
            progress.say(f"trial {number} was not finished: {again}")
        seen = len(study.get_trials(deepcopy=False))
        named = [
            (f"trial {n + 1} of {left}", replace(task, job=f"{seen}.{n}")) for n in range(left)
        ]
        cluster = Cluster(address, workers, max(threads, 1))
        failed = []
        for outcome in run_jobs(
            named, parts.do_trial, engine=engine, cluster=cluster, attempts=1, progress=progress
        ):
            if outcome.result is None:
                failed.append(f"{outcome.name}: {outcome.error}")
            else:
                progress.say(f"{outcome.name}: {_line(outcome.result)}")
        rows = parts.trials_table(study)
        done = [row for row in rows if row["state"] == "complete"]
        if not done:
            why = failed[0] if failed else "all were pruned"
            raise BadInput(f"no trial was finished ({why})", where=str(out))
        best = (min if task.falls else max)(done, key=lambda row: row["value"])
        changed = [assignment(k, v) for k, v in best["params"].items()]
        recipe = with_overrides(parse(type(settings), task.settings, "recipe"), changed)
        recipe = recipe.model_copy(update={"name": f"{settings.name}-tuned"})
        files.write_text(out / BEST, to_toml(recipe))
        result = {
            "schema_version": 1,
            "dataset": opened.info.name,
            "preset": settings.name,
            "monitor": monitor,
            "best": {k: best[k] for k in ("trial", "value", "params")},
            "first": next((row["value"] for row in done if row["params"] == own), None),
            "outside": outside,
            "trials": rows,
            "pruned": sum(row["state"] == "pruned" for row in rows),
            "failed": failed,
            "retried": retried,
            "recipe": str(out / BEST),
        }
        result["sentence"] = _sentence(result)
        files.write_json(out / RESULT, result)
    return result


def _sha256(weights: Path) -> str:
    if not weights.is_file():
        raise BadInput("no such file", where=str(weights))
    return files.sha256_file(weights)


def _line(result: dict[str, Any]) -> str:
    value = "" if "value" not in result else f", {result['value']:.4f}"
    return f"{result['state']}{value}"


def _sentence(result: dict[str, Any]) -> str:
    best, first = result["best"]["value"], result["first"]
    begun = "" if first is None else f", {first:.4f} as the preset has it"
    return (
        f"best {result['monitor']} {best:.4f}{begun}, over {len(result['trials'])} trials on "
        "validation: chosen there, so it is optimistic; measure best.toml with repeat"
    )
