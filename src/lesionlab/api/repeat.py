"""`lesionlab.repeat`: a recipe over grouped folds and seeds, with its spread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lesionlab import files
from lesionlab.data import ledger
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Engine
    from lesionlab.experiments.repeat import Job, Plan

Work = Callable[["Job", Progress], dict[str, Any]]
RESULT = "repeat.json"


def repeat(
    dataset: Path | str,
    preset: str | Settings | Sequence[str | Settings],
    out: Path | str,
    *,
    folds: int = 5,
    seeds: int | Sequence[int] = 1,
    by: str = "",
    valid: float = 0.15,
    overrides: Sequence[str] = (),
    weights: Path | str | None = None,
    epochs: int | None = None,
    device: str = "auto",
    threads: int = 0,
    train_part: bool = True,
    allow_leak: bool = False,
    balance: Literal["", "class", "full"] = "",
    open_test: bool = False,
    engine: Engine = "local",
    address: str | None = None,
    workers: int = 2,
    progress: Progress = SILENT,
    work: Work | None = None,
) -> dict[str, Any]:
    """Train `preset` on each of `folds` grouped folds for each of `seeds`, and sum up.

    The parts that are not test are folded; the test part is left alone. In each run the fold is
    held out, and a share `valid` of the rest, by whole groups, serves early stopping and
    calibration. A seed deals its own folds and seeds its trainings; `by` makes each value of a
    column a fold ("source": leave one source out). Several presets go to OUT/<name> each, over
    the same folds. Finished runs are not repeated; a crashed one is tried again, now and at the
    next call. `allow_leak` deals the folds by image, as tutorials do: all is then marked leaky,
    and the difference to a call without it is what that adds. `balance` drops training rows of
    each run as `split` does ("class" or "full"). `open_test` at last lets every
    run predict the sealed part, one ledger entry a preset. `engine="ray"` spreads the runs over
    a cluster (`address`), or over `workers` processes here; OUT and the data must lie on a disk
    that all share.

    Returns `{presets: [{name, out, parts: {train|valid|fold|test: {metric: {mean, sd, low, high,
    runs}}}, out_of_fold: {seed: {metric: measure}}, failed, done, seconds}], differences}`, also
    in OUT/repeat.json with table.csv, table.md and chart.svg beside it.
    """
    chosen = list(preset) if isinstance(preset, (list, tuple)) else [preset]
    opened, out = read_dataset(Path(dataset)), Path(out)
    if open_test:
        opened.part("test")
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if allow_leak and (by or open_test):
        raise BadInput("a leaking repeat has no folds by column and opens no test part")
    if not numbers or not 0 < valid < 1:
        raise BadInput("at least one seed, and a share of validation between 0 and 1, is needed")
    recipes = [_recipe(p, overrides, epochs) for p in chosen]  # type: ignore[arg-type]
    names = [r.name for r in recipes]
    if len(set(names)) < len(names):
        raise BadInput(f"two recipes have one name ({', '.join(names)})", where="--preset")
    told = []
    for recipe in recipes:
        to = out if len(recipes) == 1 else out / recipe.name
        plan = _plan(opened, recipe, folds, numbers, by, valid, weights, device, threads)
        plan = replace(plan, allow_leak=allow_leak, balance=balance)
        how = {"engine": engine, "address": address, "workers": workers}
        told.append(_repeat_one(opened, plan, to, train_part, how, work, progress))
        if open_test:
            told[-1] |= _opened_test(opened, plan, to, progress)
            files.write_json(to / RESULT, told[-1])
    return _summed_up(told, out, len(recipes))


def _recipe(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.api.train import need_torch
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    need_torch()
    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    return settings if epochs is None else with_max_epochs(settings, epochs)


def _plan(
    dataset: Dataset,
    recipe: Settings,
    folds: int,
    seeds: tuple[int, ...],
    by: str,
    valid: float,
    weights: Path | str | None,
    device: str,
    threads: int,
) -> Plan:
    from lesionlab.experiments.repeat import Plan
    from lesionlab.training.setup import fingerprint

    settings = {**recipe.model_dump(mode="json"), "seed": 0}
    file = None if weights is None else Path(weights)
    if file is not None and not file.is_file():
        raise BadInput("no such file", where=str(file))
    return Plan(
        dataset=str(dataset.folder.resolve()),
        fingerprint=fingerprint(dataset, recipe.model.metadata),
        settings=settings,
        folds=folds,
        seeds=seeds,
        by=by,
        valid=valid,
        weights=None if file is None else str(file.resolve()),
        weights_sha256="" if file is None else files.sha256_file(file),
        device=device,
        threads=threads,
    )


def _repeat_one(
    dataset: Dataset,
    plan: Plan,
    out: Path,
    train_part: bool,
    how: dict[str, Any],
    work: Work | None,
    progress: Progress,
) -> dict[str, Any]:
    from lesionlab.api.split import known_pairs
    from lesionlab.experiments.engine import Cluster, run_jobs
    from lesionlab.experiments.repeat import (
        do_job,
        keep_failure,
        keep_plan,
        prepare_jobs,
        unfinished,
    )

    groups = united_groups(dataset.table, known_pairs(dataset, None, False, SILENT)[1])
    keep_plan(out, plan)
    jobs, _ = prepare_jobs(dataset, groups, plan, out, train_part)
    waiting = list(unfinished(jobs))
    for job, known in waiting:
        if known:
            progress.say(f"{job.name} {known}: it is tried again")
    progress.say(f"{plan.name()}: {len(jobs) - len(waiting)} of {len(jobs)} runs are finished")
    cluster = Cluster(how["address"], how["workers"], max(plan.threads, 1))
    named = [(job.name, job) for job, _ in waiting]
    done, retried = [], [job.name for job, known in waiting if known]
    for outcome in run_jobs(
        named, work or do_job, engine=how["engine"], cluster=cluster, progress=progress
    ):
        if outcome.result is None:
            keep_failure(out, outcome.name, outcome.error, outcome.attempts)
        else:
            done.append(outcome.name)
            if outcome.attempts > 1:
                retried.append(outcome.name)
    return _told(dataset, plan, out, jobs, done, retried)


def _told(
    dataset: Dataset,
    plan: Plan,
    out: Path,
    jobs: Sequence[Job],
    done: list[str],
    retried: list[str],
) -> dict[str, Any]:
    """The result of one preset from what lies in `out`, and its files."""
    from lesionlab.experiments.repeat import joined_folds, measures
    from lesionlab.experiments.spread import markdown, spread, table_csv

    paths = {job.name: out / "results" / f"{job.name}.json" for job in jobs}
    results = [files.read_json(p) for p in paths.values() if p.is_file()]
    failed = {
        name: files.read_json(out / "failures" / f"{name}.json")["error"]
        for name, path in paths.items()
        if not path.is_file() and (out / "failures" / f"{name}.json").is_file()
    }
    if not results:
        first = next(iter(failed.items()), ("", "no run was done"))
        raise BadInput(f"no run was finished; {first[0]}: {first[1]}", where=str(out))
    together = {}
    for seed in plan.seeds:
        joined = joined_folds(out, jobs, seed)
        if joined is not None:
            prior = np.bincount(joined.y_true, minlength=len(joined.classes)) / len(joined)
            together[str(seed)] = measures(joined, dataset.info.malignant, prior, 1000)
    found = spread(results)
    told = {
        "schema_version": 1,
        "name": plan.name(),
        "dataset": dataset.info.name,
        "leaky": dataset.info.leaky or plan.allow_leak,
        "out": str(out),
        "folds": len({job.fold for job in jobs}),
        "seeds": list(plan.seeds),
        "runs": len(jobs),
        "done": done,
        "retried": retried,
        "failed": failed,
        "seconds": round(sum(r["seconds"] for r in results), 1),
        "parts": found,
        "out_of_fold": together,
    }
    files.write_json(out / RESULT, told)
    files.write_text(out / "table.csv", table_csv(results))
    files.write_text(out / "table.md", markdown(plan.name(), results, found))
    return told


def _opened_test(dataset: Dataset, plan: Plan, out: Path, progress: Progress) -> dict[str, Any]:
    """Every finished run and their mean on the sealed part; written to the ledger first."""
    from lesionlab.experiments.repeat import measures
    from lesionlab.experiments.spread import spread
    from lesionlab.experiments.testing import sealed_predictions

    kept = out / "test.json"
    if kept.is_file():
        stored: dict[str, Any] = files.read_json(kept)
        return stored
    predictions, models = sealed_predictions(dataset, out, plan.device, plan.threads, progress)
    train = dataset.table["label"][dataset.table["split"].isin(("train", "valid", "calib"))]
    prior = np.array([(train == c).mean() for c in dataset.info.classes])
    malignant = dataset.info.malignant
    each = [
        {"name": name, "n": {"test": len(p)}, "n_train": len(train),
         "parts": {"test": measures(p, malignant, prior, 500)}}
        for name, p in predictions.items() if name != "mean"
    ]  # fmt: skip
    told = {
        "test": spread(each)["test"],
        "test_of_the_mean": measures(predictions["mean"], malignant, prior, 2000),
    }
    entry = {"event": "opened", "run": f"{plan.name()} repeated {len(each)} times",
             "split": "test", "result": ledger.digest(told),
             "model": hashlib.sha256("".join(models).encode()).hexdigest()}  # fmt: skip
    ledger.append(dataset.folder, entry)
    files.write_json(kept, told)
    return told


def _summed_up(told: list[dict[str, Any]], out: Path, presets: int) -> dict[str, Any]:
    from lesionlab.experiments.spread import differences
    from lesionlab.reporting.repeats_chart import repeats_chart

    results = {
        t["name"]: [files.read_json(p) for p in sorted(Path(t["out"]).glob("results/*.json"))]
        for t in told
    }
    first, *others = told
    compared = {
        f"{other['name']} minus {first['name']}": differences(
            results[other["name"]], results[first["name"]]
        )
        for other in others
    }
    files.write_text(out / "chart.svg", repeats_chart(told))
    result = {"schema_version": 1, "presets": told, "differences": compared}
    if presets > 1:
        files.write_json(out / RESULT, result)
        texts = [(Path(t["out"]) / "table.md").read_text(encoding="utf-8") for t in told]
        files.write_text(out / "table.md", "\n".join(texts))
    return result
