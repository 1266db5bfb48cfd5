"""Trials of a recipe's settings with Optuna: judged on validation, resumable, never near test.

OUT/study.db      every trial, in SQLite
OUT/data          the twin of the data set, without its test part
OUT/runs/trialN   the run of a trial; a pruned one keeps only its history
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import extras, files
from lesionlab.config import Settings, parse, with_overrides
from lesionlab.data.linked_dataset import write_linked_dataset
from lesionlab.data.manifest import Dataset, read_dataset, with_table
from lesionlab.errors import BadInput
from lesionlab.experiments.plan_file import PLAN, check_plan
from lesionlab.experiments.spaces import Range, assignment, value_of
from lesionlab.progress import Progress
from lesionlab.training.setup import fingerprint

STUDY = "lesionlab"
DATABASE = "study.db"
MACHINE = ("out", "threads", "device", "job")  # of a task, and no part of its plan
JOB = "job"  # a trial's attribute
STARTUP = 4  # trials that are never pruned, and drawn at random


def need_optuna() -> Any:
    """The module, or `BadInput` that names the extra."""
    extras.need("tune", "tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@dataclass(frozen=True)
class Task:
    """What every trial shares, by paths that all workers see; `job` is its own."""

    out: str
    settings: dict[str, Any]
    space: dict[str, dict[str, Any]]
    weights: str | None
    device: str
    threads: int
    seed: int
    monitor: str
    falls: bool
    fingerprint: str = ""  # of the twin
    weights_sha256: str = ""
    job: str = ""

    def plan(self) -> dict[str, Any]:
        """What a later call must ask for again; paths are for the reader."""
        return {k: v for k, v in asdict(self).items() if k not in MACHINE}


def open_study(task: Task, trials_seen: int = 0) -> Any:
    """The study in OUT, made where there is none."""
    optuna = need_optuna()
    return optuna.create_study(
        storage=f"sqlite:///{Path(task.out) / DATABASE}",
        study_name=STUDY,
        load_if_exists=True,
        direction="minimize" if task.falls else "maximize",
        sampler=optuna.samplers.TPESampler(seed=task.seed + trials_seen, n_startup_trials=STARTUP),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
    )


def without_test(dataset: Dataset) -> Dataset:
    """The data set as trials see it: no row has the part "test"."""
    return with_table(
        dataset, dataset.table.assign(split=dataset.table["split"].replace("test", ""))
    )


def write_without_test(dataset: Dataset, out: Path) -> Path:
    """The twin that trials see, in OUT."""
    folder = out / "data"
    if not (folder / "dataset.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        parts = without_test(dataset).table["split"].to_numpy(object)
        write_linked_dataset(dataset, parts, folder, split_policy={"policy": "tune: test left out"})
    elif (read_dataset(folder).table["split"] == "test").any():
        raise BadInput(
            "holds test images, which tuning must not see", where=str(folder), remedy="remove it"
        )
    return folder


def keep_plan(out: Path, task: Task) -> None:
    """Write the plan, or see that OUT was begun with the same.

    Where an older plan does not say which data and weights it is of, its twin and path do.
    """
    now, absent = task.plan(), {"weights_sha256": task.weights_sha256}
    if (out / "data" / "dataset.json").is_file():
        facts = task.settings["model"]["metadata"]
        absent["fingerprint"] = fingerprint(read_dataset(out / "data"), facts)
    check_plan(out, now, free=("weights",), absent=absent)
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / PLAN, now)


def own_values(settings: Settings, space: Mapping[str, Range]) -> dict[str, Any]:
    """What the recipe itself has at the keys of the space."""
    return {key: value_of(settings, key) for key in space}


def begin_study(study: Any, settings: Settings, space: Mapping[str, Range]) -> list[int]:
    """A new study first tries the recipe as near as the space holds it; trials of a killed
    process are queued again.

    Returns the numbers of the latter.
    """
    killed = requeued(study)
    if not study.get_trials(deepcopy=False):
        own = own_values(settings, space)
        study.enqueue_trial({k: v for k, v in own.items() if space[k].holds(v)})
    return killed


def requeued(study: Any, job: str | None = None) -> list[int]:
    """End the trials whose process was killed (of `job` alone, where given), and queue their
    settings again."""
    states = need_optuna().trial.TrialState
    killed = []
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        if job is None or trial.user_attrs.get(JOB) == job:
            study.tell(trial.number, state=states.FAIL)
            study.enqueue_trial(trial.params)
            killed.append(trial.number)
    return killed


def finished(study: Any) -> int:
    """Trials that ended: complete or pruned."""
    states = need_optuna().trial.TrialState
    return len(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))


def do_trial(task: Task, progress: Progress) -> dict[str, Any]:
    """One trial: ask, train, report each epoch, tell.

    Where this very job was begun by a worker that died, its settings are tried again.
    """
    optuna = need_optuna()
    study = open_study(task, _count(task))
    requeued(study, task.job)
    trial = study.ask()
    trial.set_user_attr(JOB, task.job)
    space = {k: parse(Range, v, k) for k, v in task.space.items()}
    chosen = {key: values.suggest(trial, key) for key, values in space.items()}
    run = Path(task.out) / "runs" / f"trial{trial.number}"
    shutil.rmtree(run, ignore_errors=True)
    states = optuna.trial.TrialState
    try:
        value = _trained(task, trial, chosen, run, progress)
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
        _thinned(run)
        return {"trial": trial.number, "state": "pruned"}
    except BaseException:
        study.tell(trial, state=states.FAIL)
        raise
    study.tell(trial, value)
    return {"trial": trial.number, "state": "complete", "value": value}


def _count(task: Task) -> int:
    return len(open_study(task).get_trials(deepcopy=False))


def _trained(
    task: Task, trial: Any, chosen: Mapping[str, Any], run: Path, progress: Progress
) -> float:
    from lesionlab.training.device import choose_machine
    from lesionlab.training.train import train

    optuna = need_optuna()
    settings = parse(Settings, task.settings, "recipe")
    settings = with_overrides(settings, [assignment(k, v) for k, v in chosen.items()])
    best = [np.inf if task.falls else -np.inf]

    def watch(row: Mapping[str, object]) -> None:
        value = row[task.monitor]
        if not isinstance(value, float):
            raise optuna.TrialPruned
        best[0] = min(best[0], value) if task.falls else max(best[0], value)
        trial.report(best[0], int(str(row["epoch"])))
        if trial.should_prune():
            raise optuna.TrialPruned

    machine = choose_machine(task.device, settings.precision, task.threads)
    weights = None if task.weights is None else Path(task.weights)
    data = Path(task.out) / "data"
    train(data, settings, run, weights=weights, machine=machine, progress=progress, on_epoch=watch)
    return float(files.read_json(run / "summary.json")["best_value"])


def _thinned(run: Path) -> None:
    """A pruned trial keeps what a reader may ask for, and no weights."""
    for name in ("checkpoints", "stages", "features"):
        shutil.rmtree(run / name, ignore_errors=True)


def trials_table(study: Any) -> list[dict[str, Any]]:
    """Every trial: number, state, value, params, seconds."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        seconds = None if trial.duration is None else round(trial.duration.total_seconds(), 1)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "params": dict(trial.params),
                "epochs": len(trial.intermediate_values),
                "seconds": seconds,
            }
        )
    return rows
