"""`lesionlab.tune`: a better recipe by trials on validation; the test split is not read."""

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
    """Search for better settings than those of `preset`, in `trials` training runs.

    Each trial trains with settings from the search space and is scored on validation by the
    preset's monitor. `space` is a TOML file; by default it is the one that lesionlab has for the
    preset. The first trial uses the preset's own values; where one lies outside the space, it is
    sampled. Optuna's TPE chooses the later trials and stops those that are worse than the median.

    The study is stored in OUT/study.db. A later call continues it until `trials` trials have
    ended, and repeats those whose process was killed. All train on OUT/data, a copy of the data
    set without its test split.

    The best value was chosen on validation, so it is optimistic: evaluate OUT/best.toml with
    `repeat`, or once on test. Returns `{best: {trial, value, params}, first, outside, monitor,
    trials: [...], recipe, pruned, failed, retried, sentence}`. `outside` lists the keys at which
    the preset's value is outside the space. `first` is the score of the preset's own values, None
    if no completed trial had exactly these.
    """
    extras.need_torch("tune")
    from lesionlab.experiments import tune as tuning
    from lesionlab.experiments.engine import Cluster

    tuning.need_optuna()
    opened, out = read_dataset(Path(dataset)), Path(out)
    for split in ("train", "valid"):
        opened.part(split)  # raises BadInput if the data set has no such split
    settings = _settings(preset, overrides, epochs)
    setup = tuning.TrialSetup(device, threads, seed, weights)
    task, ranges = tuning.plan_trials(opened, settings, space, out, setup, progress.say)
    preset_values = tuning.own_values(settings, ranges)
    outside = [key for key, values in ranges.items() if not values.holds(preset_values[key])]
    for key in outside:
        progress.say(
            f"the preset's {key} ({preset_values[key]}) is outside the search space "
            "and will be sampled"
        )
    with locked(out):
        tuning.write_without_test(opened, out)
        study = tuning.open_study(task)
        killed = tuning.begin_study(study, settings, ranges)
        remaining = max(0, trials - tuning.finished(study))
        tuning.tell_killed(killed, remaining, progress)
        cluster = Cluster(address, workers, max(threads, 1))
        failed = tuning.run_trials(study, task, remaining, engine, cluster, progress)
        rows = tuning.trials_table(study)
        best = tuning.best_trial(rows, task.falls, failed, out)
        preset_scores = (
            row["value"] for row in tuning.complete(rows) if row["params"] == preset_values
        )
        result = {
            "schema_version": 1,
            "dataset": opened.info.name,
            "preset": settings.name,
            "monitor": task.monitor,
            "best": {k: best[k] for k in ("trial", "value", "params")},
            "first": next(preset_scores, None),
            "outside": outside,
            "trials": rows,
            "pruned": sum(row["state"] == "pruned" for row in rows),
            "failed": failed,
            "retried": killed[:remaining],
            "recipe": tuning.write_recipe(task, best, out),
        }
        result["sentence"] = tuning.sentence(result)
        files.write_json(out / RESULT, result)
    return result


def _settings(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    return settings if epochs is None else with_max_epochs(settings, epochs)
