"""`lesionlab.tune`: a better recipe by trials on validation; the test part is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import locked

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Cluster, Engine
    from lesionlab.experiments.spaces import Range
    from lesionlab.experiments.tune import Task

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
    from lesionlab.experiments import tune as parts
    from lesionlab.experiments.engine import Cluster

    extras.need_torch("tune")
    parts.need_optuna()
    opened, out = read_dataset(Path(dataset)), Path(out)
    opened.part("train"), opened.part("valid")
    settings = _settings(preset, overrides, epochs)
    where = Where(device, threads, seed, weights)
    task, searched = _planned(opened, settings, space, out, where, progress.say)
    own = parts.own_values(settings, searched)
    outside = [key for key, values in searched.items() if not values.holds(own[key])]
    for key in outside:
        progress.say(
            f"the preset's {key} ({own[key]}) is outside the search space and will be sampled"
        )
    with locked(out):
        parts.write_without_test(opened, out)
        study = parts.open_study(task)
        killed = parts.begin_study(study, settings, searched)
        left = max(0, trials - parts.finished(study))
        _tell_killed(killed, left, progress)
        cluster = Cluster(address, workers, max(threads, 1))
        failed = _tried(study, task, left, engine, cluster, progress)
        rows = parts.trials_table(study)
        best = _best(rows, task.falls, failed, out)
        result = {
            "schema_version": 1,
            "dataset": opened.info.name,
            "preset": settings.name,
            "monitor": task.monitor,
            "best": {k: best[k] for k in ("trial", "value", "params")},
            "first": next((r["value"] for r in _complete(rows) if r["params"] == own), None),
            "outside": outside,
            "trials": rows,
            "pruned": sum(row["state"] == "pruned" for row in rows),
            "failed": failed,
            "retried": killed[:left],
            "recipe": _recipe_written(task, best, out),
        }
        result["sentence"] = _sentence(result)
        files.write_json(out / RESULT, result)
    return result


@dataclass(frozen=True)
class Where:
    """What a trial runs with beside its settings."""

    device: str
    threads: int
    seed: int
    weights: Path | str | None


def _settings(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    return settings if epochs is None else with_max_epochs(settings, epochs)


def _planned(
    opened: Dataset,
    settings: Settings,
    space: Path | str | None,
    out: Path,
    where: Where,
    say: Callable[[str], None],
) -> tuple[Task, dict[str, Range]]:
    """What each trial is told, and the space; refused where OUT was begun with another plan."""
    from lesionlab.experiments import tune as parts
    from lesionlab.experiments.spaces import check_space, load_space
    from lesionlab.models.weights import settle
    from lesionlab.training.monitor import FALLS, checked_monitor
    from lesionlab.training.setup import fingerprint

    searched = load_space(settings.name, None if space is None else Path(space))
    check_space(searched, settings)
    settings, weights = settle(settings, where.weights, say)
    monitor = checked_monitor(settings.monitor, len(opened.info.classes))
    task = parts.Task(
        out=str(out.resolve()),
        settings=settings.model_dump(mode="json"),
        space={k: v.model_dump(mode="json") for k, v in searched.items()},
        weights=None if weights.path is None else str(weights.path.absolute()),
        device=where.device,
        threads=where.threads,
        seed=where.seed,
        monitor=monitor,
        falls=monitor in FALLS,
        fingerprint=fingerprint(parts.without_test(opened), settings.model.metadata),
        weights_sha256=weights.record().get("sha256", ""),
    )
    parts.keep_plan(out, task)
    return task, searched


def _tell_killed(killed: Sequence[int], left: int, progress: Progress) -> None:
    for i, number in enumerate(killed):
        again = "retrying" if i < left else "increase --trials to retry it"
        progress.say(f"trial {number} did not finish: {again}")


def _tried(
    study: Any, task: Task, left: int, engine: Engine, cluster: Cluster, progress: Progress
) -> list[str]:
    """Run `left` trials; the errors of those that failed."""
    from lesionlab.experiments.engine import run_jobs
    from lesionlab.experiments.tune import do_trial

    seen = len(study.get_trials(deepcopy=False))
    named = [(f"trial {n + 1} of {left}", replace(task, job=f"{seen}.{n}")) for n in range(left)]
    failed = []
    for outcome in run_jobs(
        named, do_trial, engine=engine, cluster=cluster, attempts=1, progress=progress
    ):
        if outcome.result is None:
            failed.append(f"{outcome.name}: {outcome.error}")
        else:
            progress.say(f"{outcome.name}: {_line(outcome.result)}")
    return failed


def _complete(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["state"] == "complete"]


def _best(
    rows: Sequence[dict[str, Any]], falls: bool, failed: Sequence[str], out: Path
) -> dict[str, Any]:
    done = _complete(rows)
    if not done:
        why = failed[0] if failed else "all were pruned"
        raise BadInput(f"no trial finished ({why})", where=str(out))
    return (min if falls else max)(done, key=lambda row: row["value"])


def _recipe_written(task: Task, best: dict[str, Any], out: Path) -> str:
    """OUT/best.toml: the preset with the best trial's values."""
    from lesionlab.config import Settings, parse, with_overrides
    from lesionlab.experiments.spaces import assignment, to_toml

    changed = [assignment(k, v) for k, v in best["params"].items()]
    recipe = with_overrides(parse(Settings, task.settings, "recipe"), changed)
    recipe = recipe.model_copy(update={"name": f"{recipe.name}-tuned"})
    files.write_text(out / BEST, to_toml(recipe))
    return str(out / BEST)


def _line(result: dict[str, Any]) -> str:
    value = "" if "value" not in result else f", {result['value']:.4f}"
    return f"{result['state']}{value}"


def _sentence(result: dict[str, Any]) -> str:
    best, first = result["best"]["value"], result["first"]
    begun = "" if first is None else f", {first:.4f} with the preset"
    return (
        f"best {result['monitor']} {best:.4f}{begun}, over {len(result['trials'])} trials on "
        "validation. It was chosen there, so it is optimistic; evaluate best.toml with repeat"
    )
