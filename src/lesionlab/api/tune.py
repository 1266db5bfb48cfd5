"""`lesionlab.tune`: a better recipe by trials on validation; the test part is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.data.manifest import read_dataset
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import locked

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Engine

RESULT = "tune.json"


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
    extras.need_torch("tune")
    from lesionlab.experiments import tune as parts
    from lesionlab.experiments.engine import Cluster

    parts.need_optuna()
    opened, out = read_dataset(Path(dataset)), Path(out)
    opened.part("train"), opened.part("valid")
    settings = _settings(preset, overrides, epochs)
    where = parts.TrialSetup(device, threads, seed, weights)
    task, searched = parts.plan_trials(opened, settings, space, out, where, progress.say)
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
        parts.tell_killed(killed, left, progress)
        cluster = Cluster(address, workers, max(threads, 1))
        failed = parts.run_trials(study, task, left, engine, cluster, progress)
        rows = parts.trials_table(study)
        best = parts.best_trial(rows, task.falls, failed, out)
        result = {
            "schema_version": 1,
            "dataset": opened.info.name,
            "preset": settings.name,
            "monitor": task.monitor,
            "best": {k: best[k] for k in ("trial", "value", "params")},
            "first": next((r["value"] for r in parts.complete(rows) if r["params"] == own), None),
            "outside": outside,
            "trials": rows,
            "pruned": sum(row["state"] == "pruned" for row in rows),
            "failed": failed,
            "retried": killed[:left],
            "recipe": parts.write_recipe(task, best, out),
        }
        result["sentence"] = parts.sentence(result)
        files.write_json(out / RESULT, result)
    return result


def _settings(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    return settings if epochs is None else with_max_epochs(settings, epochs)
