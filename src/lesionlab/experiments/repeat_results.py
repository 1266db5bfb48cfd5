"""One preset repeated: its plan, its runs, and what came out of them in OUT/repeat.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.array_types import Labels
from lesionlab.config import Settings
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput, counted
from lesionlab.experiments.engine import Cluster, Engine, run_jobs
from lesionlab.experiments.plan_file import PLAN
from lesionlab.experiments.repeat import (
    Job,
    Plan,
    deal,
    do_job,
    folds_sha256,
    joined_folds,
    keep_failure,
    measures,
    note_again,
    prepare_jobs,
    refuse_other_plan,
    unfinished,
)
from lesionlab.experiments.run_summary import markdown, ratio, spread, table_csv, titled
from lesionlab.experiments.sealed_test import open_sealed
from lesionlab.models.weights import settle
from lesionlab.progress import Progress
from lesionlab.run_folder import locked
from lesionlab.training.setup import fingerprint

RESULT, TEST = "repeat.json", "test.json"
Work = Callable[[Job, Progress], dict[str, Any]]


@dataclass(frozen=True)
class HowToRun:
    """Where the runs of a plan are trained, and what is predicted of each."""

    engine: Engine = "local"
    address: str | None = None
    workers: int = 2
    train_part: bool = True  # whether each run predicts its training split too
    work: Work = do_job


def refuse_other_layout(out: Path, presets: int) -> None:
    """One preset lies in OUT itself, several lie below it: the two do not mix."""
    if presets > 1 and (out / PLAN).is_file():
        raise BadInput(
            "already holds the repeat of a single preset",
            where=str(out),
            remedy="choose another --out",
        )
    below = sorted(p.parent.name for p in out.glob(f"*/{PLAN}"))
    if presets == 1 and below:
        raise BadInput(
            f"already holds the repeats of several presets ({', '.join(below)})",
            where=str(out),
            remedy="name them all, or choose another --out",
        )


def make_plan(
    dataset: Dataset,
    recipe: Settings,
    options: dict[str, Any],
    weights: Path | str | None,
    say: Callable[[str], None],
) -> Plan:
    """The plan of a recipe: its settings and weights settled, the same for every run.

    `options` are the fields of `Plan` that the user chose: folds, seeds, by, valid, device,
    threads, allow_leak, balance.
    """
    recipe, chosen = settle(recipe, weights, say)
    recipe = recipe.with_input(recipe.input.resolved(chosen.native))
    return Plan(
        dataset=str(dataset.folder.resolve()),
        fingerprint=fingerprint(dataset, recipe.model.metadata),
        settings={**recipe.model_dump(mode="json"), "seed": 0},
        weights=None if chosen.path is None else str(chosen.path.absolute()),
        weights_sha256=chosen.record().get("sha256", ""),
        **options,
    )


def repeat_plan(
    dataset: Dataset, groups: Labels, plan: Plan, out: Path, how: HowToRun, progress: Progress
) -> dict[str, Any]:
    """Do what is not finished of a plan in `out`, and sum up; `groups` (N,) are not divided.

    Raises `BadInput` where `out` holds another plan, and where no run was finished.
    """
    refuse_other_plan(out, plan)
    dealt = deal(dataset, groups, plan, out)  # before anything is written: it may be refused
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        files.write_json(out / PLAN, plan.to_json())
        jobs = prepare_jobs(dataset, dealt, plan, out, how.train_part)
        done, retried = _done(jobs, plan, out, how, progress)
        return _told(dataset, plan, out, jobs, done, retried)


def with_test(
    dataset: Dataset, plan: Plan, out: Path, told: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """`told` with every run and their mean on the sealed part, opened once for these runs."""
    with locked(out):
        seen = open_sealed(dataset, plan, out, finished(told), out / TEST, progress)
        result = {**told, **seen}
        files.write_json(out / RESULT, result)
    return result


def refuse_unfinished_runs(told: Sequence[dict[str, Any]]) -> None:
    """`BadInput` where a run is missing: the test set stays sealed."""
    for one in told:
        if one["unfinished"]:
            raise BadInput(
                f"{len(one['unfinished'])} of {counted(one['runs'], 'run')} not finished, "
                f"the first is {one['unfinished'][0]}: the test set stays sealed",
                where=one["out"],
                remedy="run the command again to retry them",
            )


def finished(told: dict[str, Any]) -> list[str]:
    """The plan's runs that have a result."""
    return [name for name in told["names"] if name not in told["unfinished"]]


def _done(
    jobs: Sequence[Job],
    plan: Plan,
    out: Path,
    how: HowToRun,
    progress: Progress,
) -> tuple[list[str], list[str]]:
    """Do what is not finished; the names of the runs done now, and of those tried again."""
    waiting = list(unfinished(jobs))
    for job, known in waiting:
        if known:
            progress.say(f"{job.name} {known}: retrying")
    progress.say(f"{plan.name()}: {len(jobs) - len(waiting)} of {len(jobs)} runs are finished")
    cluster = Cluster(how.address, how.workers, max(plan.threads, 1))
    named = [(job.name, job) for job, _ in waiting]
    before = {job.name: known for job, known in waiting if known}
    done, retried = [], list(before)
    for outcome in run_jobs(named, how.work, engine=how.engine, cluster=cluster, progress=progress):
        if outcome.result is None:
            keep_failure(out, outcome.name, outcome.error, outcome.attempts)
            continue
        done.append(outcome.name)
        why = ", ".join(filter(None, (before.get(outcome.name), outcome.again())))
        if why:
            note_again(out, outcome.name, why)
            retried.append(outcome.name)
    return done, list(dict.fromkeys(retried))


def _told(
    dataset: Dataset,
    plan: Plan,
    out: Path,
    jobs: Sequence[Job],
    done: list[str],
    retried: list[str],
) -> dict[str, Any]:
    """The result of one preset from what lies in `out`, and its files."""
    leaky = dataset.info.leaky or plan.allow_leak
    paths = {job.name: out / "results" / f"{job.name}.json" for job in jobs}
    results = [files.read_json(p) for p in paths.values() if p.is_file()]
    failed = {
        name: files.read_json(out / "failures" / f"{name}.json")["error"]
        for name, path in paths.items()
        if not path.is_file() and (out / "failures" / f"{name}.json").is_file()
    }
    if not results:
        first = next(iter(failed.items()), ("", "no run finished"))
        raise BadInput(f"no run finished; {first[0]}: {first[1]}", where=str(out))
    together = {}
    for seed in plan.seeds:
        joined = joined_folds(out, jobs, seed, leaky)
        if joined is not None:
            prior = np.bincount(joined.y_true, minlength=len(joined.classes)) / len(joined)
            together[str(seed)] = measures(joined, dataset.info.malignant, prior, 1000)
    found = spread(results)
    told = {
        "schema_version": 1,
        "name": plan.name(),
        "dataset": dataset.info.name,
        "leaky": leaky,
        "out": str(out),
        "folds": len({job.fold for job in jobs}),
        "seeds": list(plan.seeds),
        "folds_sha256": folds_sha256(out, plan.seeds),
        "test_to_train": ratio(results, "fold"),
        "names": list(paths),
        "runs": len(jobs),
        "unfinished": [name for name, path in paths.items() if not path.is_file()],
        "done": done,
        "retried": retried,
        "failed": failed,
        "seconds": round(sum(r["seconds"] for r in results), 1),
        "parts": found,
        "out_of_fold": together,
        **_opened_before(out),
    }
    files.write_json(out / RESULT, told)
    files.write_text(out / "table.csv", table_csv(results, leaky))
    files.write_text(out / "table.md", markdown(titled(plan.name(), leaky), results, found))
    return told


def _opened_before(out: Path) -> dict[str, Any]:
    """What an earlier call saw on the sealed part; it stays in the result."""
    kept = out / TEST
    stored = files.read_json(kept) if kept.is_file() else {}
    return {k: v for k, v in stored.items() if k in ("test", "test_of_the_mean")}
