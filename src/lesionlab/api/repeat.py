"""`lesionlab.repeat`: a recipe over grouped folds and seeds, with its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lesionlab import extras, files
from lesionlab.api.split import known_pairs
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.platforms import safe_name
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.experiments.engine import Engine
    from lesionlab.experiments.repeat import Job

Work = Callable[["Job", Progress], dict[str, Any]]


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
    from lesionlab.experiments import repeat_results as one
    from lesionlab.experiments.repeat import do_job

    one.refuse_other_layout(out, len(recipes))
    options = {"folds": folds, "seeds": numbers, "by": by, "valid": valid, "device": device,
               "threads": threads, "allow_leak": allow_leak, "balance": balance}  # fmt: skip
    plans = {
        out if len(recipes) == 1 else out / safe_name(recipe.name): one.make_plan(
            opened, recipe, options, weights, progress.say
        )
        for recipe in recipes
    }
    how = one.HowToRun(engine, address, workers, train_part, work or do_job)
    groups = united_groups(opened.table, known_pairs(opened, None, False, SILENT)[1])
    told = [one.repeat_plan(opened, groups, plan, to, how, progress) for to, plan in plans.items()]
    result = _summed_up(told, out)
    if open_test:
        one.refuse_unfinished_runs(told)
        told = [one.with_test(opened, plan, to, each, progress)
                for (to, plan), each in zip(plans.items(), told, strict=True)]  # fmt: skip
        result = _summed_up(told, out)
    return result


def _recipe(preset: str | Settings, overrides: Sequence[str], epochs: int | None) -> Settings:
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset

    extras.need_torch("repeat")
    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    return settings if epochs is None else with_max_epochs(settings, epochs)


def _summed_up(told: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    from lesionlab.experiments.repeat_results import RESULT, finished
    from lesionlab.experiments.run_summary import differences
    from lesionlab.reporting.repeats_chart import repeats_chart

    results = {
        t["name"]: [files.read_json(Path(t["out"]) / "results" / f"{n}.json") for n in finished(t)]
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
