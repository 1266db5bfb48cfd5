"""`lesionlab.repeat`: a recipe over grouped folds and seeds, with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lesionlab import extras, files
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.platforms import safe_name
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import locked

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Engine
    from lesionlab.experiments.repeat import Job, Plan

Work = Callable[["Job", Progress], dict[str, Any]]
RESULT, TEST = "repeat.json", "test.json"


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
    run predict the sealed part, one ledger entry a preset and set of runs; refused while a run
    is not finished. `engine="ray"` spreads the runs over
    a cluster (`address`), or over `workers` processes here; OUT and the data must lie on a disk
    that all share.

    Returns `{presets: [{name, out, parts: {train|valid|fold|test: {metric: {mean, sd, low, high,
    runs}}}, out_of_fold: {seed: {metric: measure}}, unfinished, failed, done, seconds}],
    differences}`. A preset's own object is kept as repeat.json in its folder, with table.csv and
    table.md beside it; of several presets OUT/repeat.json holds the whole. `low` and `high` are
    null but for the folds.
    """
    chosen = list(preset) if isinstance(preset, (list, tuple)) else [preset]
    opened, out = read_dataset(Path(dataset)), Path(out)
    if open_test:
        opened.part("test")
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if allow_leak and (by or open_test):
        raise BadInput("--allow-leak cannot be combined with --by or --open-test")
    if not numbers or not 0 < valid < 1:
        raise BadInput("at least one seed and a validation proportion between 0 and 1 are needed")
    recipes = [_recipe(p, overrides, epochs) for p in chosen]  # type: ignore[arg-type]
    names = [r.name for r in recipes]
    if len({name.casefold() for name in names}) < len(names):  # macOS has one folder for both
        raise BadInput(f"two presets have the same name ({', '.join(names)})", where="--preset")
    _refuse_other_layout(out, len(recipes))
    how = {"engine": engine, "address": address, "workers": workers}
    plans = {}
    for recipe in recipes:
        to = out if len(recipes) == 1 else out / safe_name(recipe.name)
        plan = _plan(opened, recipe, folds, numbers, by, valid, weights, device, threads,
                     progress.say)  # fmt: skip
        plans[to] = replace(plan, allow_leak=allow_leak, balance=balance)
    told = [_repeat_one(opened, plan, to, train_part, how, work, progress)
            for to, plan in plans.items()]  # fmt: skip
    result = _summed_up(told, out)
    if open_test:
        _refuse_unfinished(told)
        told = [_opened_test(opened, plan, to, one, progress)
                for (to, plan), one in zip(plans.items(), told, strict=True)]  # fmt: skip
        result = _summed_up(told, out)
    return result


def _refuse_other_layout(out: Path, presets: int) -> None:
    """One preset lies in OUT itself, several lie below it: the two do not mix."""
    from lesionlab.experiments.plan_file import PLAN

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


def _refuse_unfinished(told: Sequence[dict[str, Any]]) -> None:
    for one in told:
        if one["unfinished"]:
            raise BadInput(
                f"{len(one['unfinished'])} of {one['runs']} runs are not finished, the first is "
                f"{one['unfinished'][0]}: the test set stays sealed",
                where=one["out"],
                remedy="run the command again to retry them",
            )


def _recipe(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    extras.need_torch("repeat")
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
    say: Callable[[str], None],
) -> Plan:
    from lesionlab.experiments.repeat import Plan
    from lesionlab.models.weights import settle
    from lesionlab.training.setup import fingerprint

    recipe, chosen = settle(recipe, weights, say)
    recipe = recipe.with_input(recipe.input.resolved(chosen.native))  # the same for every run
    settings = {**recipe.model_dump(mode="json"), "seed": 0}
    return Plan(
        dataset=str(dataset.folder.resolve()),
        fingerprint=fingerprint(dataset, recipe.model.metadata),
        settings=settings,
        folds=folds,
        seeds=seeds,
        by=by,
        valid=valid,
        weights=None if chosen.path is None else str(chosen.path.absolute()),
        weights_sha256=chosen.record().get("sha256", ""),
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
    from lesionlab.experiments.plan_file import PLAN
    from lesionlab.experiments.repeat import deal, prepare_jobs, refuse_other_plan

    groups = united_groups(dataset.table, known_pairs(dataset, None, False, SILENT)[1])
    refuse_other_plan(out, plan)
    dealt = deal(dataset, groups, plan, out)  # before anything is written: it may be refused
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        files.write_json(out / PLAN, plan.to_json())
        jobs = prepare_jobs(dataset, dealt, plan, out, train_part)
        done, retried = _done(jobs, plan, out, how, work, progress)
        return _told(dataset, plan, out, jobs, done, retried)


def _done(
    jobs: Sequence[Job],
    plan: Plan,
    out: Path,
    how: dict[str, Any],
    work: Work | None,
    progress: Progress,
) -> tuple[list[str], list[str]]:
    """Do what is not finished; the names of the runs done now, and of those tried again."""
    from lesionlab.experiments.engine import Cluster, run_jobs
    from lesionlab.experiments.repeat import do_job, keep_failure, note_again, unfinished

    waiting = list(unfinished(jobs))
    for job, known in waiting:
        if known:
            progress.say(f"{job.name} {known}: retrying")
    progress.say(f"{plan.name()}: {len(jobs) - len(waiting)} of {len(jobs)} runs are finished")
    cluster = Cluster(how["address"], how["workers"], max(plan.threads, 1))
    named = [(job.name, job) for job, _ in waiting]
    before = {job.name: known for job, known in waiting if known}
    done, retried = [], list(before)
    for outcome in run_jobs(
        named, work or do_job, engine=how["engine"], cluster=cluster, progress=progress
    ):
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
    from lesionlab.experiments.repeat import folds_sha256, joined_folds, measures
    from lesionlab.experiments.run_summary import markdown, ratio, spread, table_csv, titled

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


def _opened_test(
    dataset: Dataset, plan: Plan, out: Path, told: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """`told` with every run and their mean on the sealed part, opened once for these runs."""
    from lesionlab.experiments.sealed_test import open_sealed

    with locked(out):
        names = _finished(told)
        seen = open_sealed(dataset, plan, out, names, out / TEST, progress)
        result = {**told, **seen}
        files.write_json(out / RESULT, result)
    return result


def _finished(told: dict[str, Any]) -> list[str]:
    """The plan's runs that have a result."""
    return [name for name in told["names"] if name not in told["unfinished"]]


def _summed_up(told: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    from lesionlab.experiments.run_summary import differences
    from lesionlab.reporting.repeats_chart import repeats_chart

    results = {
        t["name"]: [files.read_json(Path(t["out"]) / "results" / f"{n}.json") for n in _finished(t)]
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
    if others:
        files.write_json(out / RESULT, result)
        texts = [(Path(t["out"]) / "table.md").read_text(encoding="utf-8") for t in told]
        files.write_text(out / "table.md", "\n".join(texts))
    return result
