"""`lesionlab evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import (
    Bar,
    answer,
    json_option,
    path_argument,
    path_option,
    seed_option,
    table_options,
)
from lesionlab.data.split_names import SPLITS
from lesionlab.evaluation.policies import DEFAULT_ALPHA, DEFAULT_POLICY, DEFAULT_TARGET, POLICIES

EPILOG = """\b
Examples:
  lesionlab evaluate runs/ham                       (validation; the test set stays sealed)
  lesionlab evaluate runs/ham --split test          (test-set access; recorded in the ledger)
  lesionlab evaluate runs/ham --on data/isic2017    (external validation; nothing is refitted)
  lesionlab evaluate runs/                          (repeats: mean, SD, every run)
  lesionlab evaluate mine.csv --truth truth.csv --malignant mel,bcc,akiec
  lesionlab evaluate mine.csv --score-column p --positive melanoma --label-column dx
  lesionlab evaluate test.csv --calib valid.csv --calibration platt --sets aps

Research use only. No number here is advice to a patient.
"""


@click.command("evaluate", epilog=EPILOG)
@path_argument("sources", nargs=-1, required=True, metavar="RUN...|PREDICTIONS.csv")
@path_option("--truth", metavar="CSV", help="True labels for a predictions table: image_id, label.")
@table_options
@click.option(
    "--matching-only",
    is_flag=True,
    help="Measure the images that truth and predictions share; the others are counted.",
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    help="Split of the run (default valid); for a table, the split that it holds.",
)
@click.option("--malignant", default="", metavar="A,B", help="Malignant classes of a table.")
@click.option(
    "--unit",
    type=click.Choice(["image", "lesion", "patient"]),
    default="image",
    show_default=True,
    help="What counts as one case.",
)
@click.option(
    "--ordered", is_flag=True, help="The classes are grades, in their order: adds quadratic kappa."
)
@click.option(
    "--policy",
    type=click.Choice([p for p in POLICIES if p != "fixed"]),  # that is --threshold
    help=f"How the operating point is chosen, on validation (default: {DEFAULT_POLICY}).",
)
@click.option("--target", type=float, help=f"Target of the policy, e.g. {DEFAULT_TARGET}.")
@click.option("--point-estimate", "point", is_flag=True,
              help="Choose by observed sensitivity instead of its lower bound.")  # fmt: skip
@click.option("--threshold", type=float, help="A fixed threshold, chosen beforehand.")
@click.option(
    "--calib",
    is_flag=False,
    flag_value="calib",
    metavar="[CSV]",
    help="Choose and fit on the split 'calib' of the run; for a table, on this other table.",
)
@click.option(
    "--calibration",
    type=click.Choice(["temperature", "platt", "isotonic", "dirichlet"]),
    help="Recalibrate the probabilities of a table on --calib; isotonic and dirichlet use half of "
    "its groups and leave the others for threshold and sets.",
)
@click.option(
    "--sets",
    type=click.Choice(["lac", "aps", "raps", "none"]),
    help="Conformal sets (default lac, if another split can calibrate them).",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=DEFAULT_ALPHA,
    show_default=True,
    help="Miscoverage: proportion of each class that the sets may miss.",
)
@click.option(
    "--rare",
    type=click.Choice(["refuse", "include"]),
    default="refuse",
    show_default=True,
    help="A class with too few groups to calibrate: refuse, or include it in every set.",
)
@click.option(
    "--prevalence",
    "prevalences",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    help="An additional prevalence for PPV and NPV; repeatable.",
)
@path_option(
    "--data", metavar="DIR", help="The dataset folder, if it has moved; for a table, its dataset."
)
@path_option("--out", metavar="DIR", help="Output folder (default: the run, or beside the table).")
@click.option("--lang", default="en", show_default=True, help="Language of the report: en, zh.")
@click.option("--no-images", "images", is_flag=True, flag_value=False, default=True,
              help="A report without thumbnails.")  # fmt: skip
@path_option(
    "--on", metavar="DIR", help="External validation: evaluate the unchanged run on this data set."
)
@path_option(
    "--readers", multiple=True, metavar="CSV", help="Votes of human readers on these images."
)
@click.option("--published", is_flag=True, help="Also show published readers (of other images).")
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True,
              help="Bootstrap resamples.")  # fmt: skip
@seed_option
@json_option
def command(sources: tuple[Path, ...], as_json: bool, malignant: str, **options: Any) -> None:
    """Evaluate a run or a predictions table, with confidence intervals, and write report.html.

    Several runs, or a folder of runs, are treated as repeats: mean, SD and every run.
    """
    from lesionlab.api.evaluate import evaluate

    names = [name.strip() for name in malignant.split(",") if name.strip()]
    result = evaluate(sources, malignant=names, progress=Bar(), **options)
    show = _show_repeats if "runs" in result else _show
    answer(result, as_json, lambda: show(result))


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lesionlab.evaluation.metric_table import highlighted

    console = Console()
    if result["mapping"]:
        console.print(f"Read as: {escape('; '.join(result['mapping']))}", soft_wrap=True)
    title = f"{result['source']}, {result['part']}: {result['n']:,} {result['unit']}s"
    table = Table(
        title=escape(title),
        caption=f"95 % confidence intervals, resampled by {result['resampled']}",
    )
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("low", justify="right")
    table.add_column("high", justify="right")
    for name in highlighted():
        m = result["metrics"][name]
        table.add_row(name, *(_number(m[k]) for k in ("value", "low", "high")))
    for p in result["operating_points"]:
        for name in ("sensitivity", "specificity"):
            cells = (_number(p[name][k]) for k in ("value", "low", "high"))
            table.add_row(f"{name} at {p['threshold']:.4g}", *cells)
    console.print(table)
    for note in result["notes"]:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    _show_sets(console, result["conformal"])
    if result["leaky"]:
        console.print("[bold red]LEAKY: these numbers are too optimistic to be reported")
    if result["synthetic"]:
        console.print(
            "[yellow]SYNTHETIC: a program drew the images; the numbers say nothing about patients"
        )
    if result["part"] == "test" and result["test_openings"]:
        console.print(f"Test-set accesses so far: {result['test_openings']}.")
    console.print(f"Report: {escape(result['report'])}", soft_wrap=True)


def _show_sets(console: Any, found: dict[str, Any] | None) -> None:
    from rich.markup import escape

    if found is None:
        return
    if "refused" in found:
        console.print(f"No conformal sets: {escape(found['refused'])}", soft_wrap=True)
        return
    c, rule = found["coverage"], found["rule"]
    console.print(
        f"Sets ({rule['method']}, calibrated on {found['calibrated_on']}): {found['target']:.0%} "
        f"requested, {_number(c['value'])} ({_number(c['low'])} to {_number(c['high'])}) achieved "
        f"on {c['n']:,}, {found['mean_size']:.2f} classes on average",
        soft_wrap=True,
    )


def _show_repeats(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lesionlab.evaluation.metric_table import highlighted

    console, runs = Console(), list(result["runs"])
    varied = ", ".join(result["varied"]) or "nothing"
    table = Table(
        title=f"{len(runs)} runs, {result['part']}",
        caption=f"The runs differ in: {varied}. The SD over runs is not a confidence interval.",
    )
    for name in ("metric", "mean", "SD", *(escape(r) for r in runs)):
        table.add_column(name, justify="left" if name == "metric" else "right")
    shown = {k: result["metrics"][k] for k in highlighted() if k in result["metrics"]}
    points = {f"{k} at its own operating point": m for k, m in result["at_points"].items()}
    for name, m in (shown | points).items():
        values = [m["mean"], m["sd"], *(m["runs"][r] for r in runs)]
        table.add_row(name, *(_number(v) for v in values))
    console.print(table)
    console.print(f"Written: {escape(result['written'])}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
