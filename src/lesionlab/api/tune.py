"""`lesionlab.tune`: a better recipe by trials on validation; the test part is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
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

PLAN, RESULT, BEST = "plan.json", "tune.json", "best.toml"


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
    is; later ones are drawn by Optuna's TPE and stopped early where they fall behind the median.
    All is kept in OUT/study.db: another call goes on, and a trial whose process was killed is
    tried again. Trials see a twin of the data set without its test part.

    The best value was chosen on validation and is optimistic: OUT/best.toml is a recipe to be
    measured by `repeat`, or once on test. Returns `{best: {trial, value, params}, first,
    monitor, trials: [...], recipe, pruned, failed, retried, sentence}`.
    """
    from lesionlab.api.train import need_torch
    from lesionlab.config import parse, with_max_epochs, with_overrides
    from lesionlab.experiments import tune as parts
    from lesionlab.experiments.engine import Cluster, run_jobs
    from lesionlab.experiments.presets import load_preset
    from lesionlab.experiments.spaces import assignment, check_space, load_space, to_toml
    from lesionlab.training.monitor import FALLS, checked_monitor

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
    )
    _keep_plan(out, task)
    with locked(out):
        parts.without_test(opened, out)
        study = parts.open_study(task)
        retried = parts.begin_study(study, settings, searched)
        for number in retried:
            progress.say(f"trial {number} was not finished: it is tried again")
        left = max(0, trials - parts.finished(study))
        named = [(f"trial {n + 1} of {left}", task) for n in range(left)]
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
            "first": done[0]["value"] if done[0]["trial"] == 0 else None,
            "trials": rows,
            "pruned": sum(row["state"] == "pruned" for row in rows),
            "failed": failed,
            "retried": retried,
            "recipe": str(out / BEST),
        }
        result["sentence"] = _sentence(result)
        files.write_json(out / RESULT, result)
    return result


def _keep_plan(out: Path, task: Any) -> None:
    now = {k: v for k, v in asdict(task).items() if k not in ("out", "threads", "device")}
    path = out / PLAN
    if path.is_file():
        before = files.read_json(path)
        differs = [k for k in now if before.get(k) != now[k]]
        if differs:
            raise BadInput(
                f"was begun with another {differs[0]}",
                where=str(out),
                remedy="choose another --out, or go on as before",
            )
    else:
        files.refuse_existing(out)
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(path, now)


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
