"""Trials of a recipe's settings with Optuna: judged on validation, resumable, never near test.

OUT/study.db      every trial, in SQLite
OUT/data          the twin of the data set, without its test part
OUT/runs/trialN   the run of a trial; a pruned one keeps only its history
OUT/best.toml     the recipe with the best trial's values
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import extras, files
from lesionlab.config import Settings, parse, with_overrides
from lesionlab.data.linked_dataset import write_linked_dataset
from lesionlab.data.manifest import Dataset, read_dataset, with_table
from lesionlab.errors import BadInput, counted
from lesionlab.experiments.engine import Cluster, Engine, run_jobs
from lesionlab.experiments.plan_file import PLAN, check_plan
from lesionlab.experiments.spaces import (
    Range,
    assignment,
    check_space,
    load_space,
    to_toml,
    value_of,
)
from lesionlab.models.weights import settle
from lesionlab.progress import Progress
from lesionlab.training.monitor import FALLS, checked_monitor
from lesionlab.training.setup import fingerprint

STUDY = "lesionlab"
DATABASE = "study.db"
MACHINE = ("out", "threads", "device", "job")  # of a task, and no part of its plan
JOB = "job"  # a trial's attribute
RECIPE = "best.toml"
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


@dataclass(frozen=True)
class TrialSetup:
    """What a trial runs with beside its settings."""

    device: str
    threads: int
    seed: int
    weights: Path | str | None


def plan_trials(
    opened: Dataset,
    settings: Settings,
    space: Path | str | None,
    out: Path,
    setup: TrialSetup,
    say: Callable[[str], None],
) -> tuple[Task, dict[str, Range]]:
    """What each trial is told, and the space; refused where OUT was begun with another plan."""
    searched = load_space(settings.name, None if space is None else Path(space))
    check_space(searched, settings)
    settings, weights = settle(settings, setup.weights, say)
    monitor = checked_monitor(settings.monitor, len(opened.info.classes))
    task = Task(
        out=str(out.resolve()),
        settings=settings.model_dump(mode="json"),
        space={k: v.model_dump(mode="json") for k, v in searched.items()},
        weights=None if weights.path is None else str(weights.path.absolute()),
        device=setup.device,
        threads=setup.threads,
        seed=setup.seed,
        monitor=monitor,
        falls=monitor in FALLS,
        fingerprint=fingerprint(without_test(opened), settings.model.metadata),
        weights_sha256=weights.record().get("sha256", ""),
    )
    keep_plan(out, task)
    return task, searched


def tell_killed(killed: Sequence[int], left: int, progress: Progress) -> None:
    """Say of trials whose process was killed whether they are tried again."""
    for i, number in enumerate(killed):
        again = "retrying" if i < left else "increase --trials to retry it"
        progress.say(f"trial {number} did not finish: {again}")


def run_trials(
    study: Any, task: Task, left: int, engine: Engine, cluster: Cluster, progress: Progress
) -> list[str]:
    """Run `left` trials; the errors of those that failed."""
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


def complete(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of finished trials."""
    return [row for row in rows if row["state"] == "complete"]


def best_trial(
    rows: Sequence[dict[str, Any]], falls: bool, failed: Sequence[str], out: Path
) -> dict[str, Any]:
    """The best finished trial; `BadInput` where there is none."""
    done = complete(rows)
    if not done:
        why = failed[0] if failed else "all were pruned"
        raise BadInput(f"no trial finished ({why})", where=str(out))
    return (min if falls else max)(done, key=lambda row: row["value"])


def write_recipe(task: Task, best: dict[str, Any], out: Path) -> str:
    """OUT/best.toml: the preset with the best trial's values."""
    changed = [assignment(k, v) for k, v in best["params"].items()]
    recipe = with_overrides(parse(Settings, task.settings, "recipe"), changed)
    recipe = recipe.model_copy(update={"name": f"{recipe.name}-tuned"})
    files.write_text(out / RECIPE, to_toml(recipe))
    return str(out / RECIPE)


def sentence(result: dict[str, Any]) -> str:
    """The result for the person who reads it."""
    best, first = result["best"]["value"], result["first"]
    begun = "" if first is None else f", {first:.4f} with the preset"
    return (
        f"best {result['monitor']} {best:.4f}{begun}, over "
        f"{counted(len(result['trials']), 'trial')} on "
        "validation. It was chosen there, so it is optimistic; evaluate best.toml with repeat"
    )


def _line(result: dict[str, Any]) -> str:
    value = "" if "value" not in result else f", {result['value']:.4f}"
    return f"{result['state']}{value}"
