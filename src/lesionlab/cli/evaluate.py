"""`lesionlab evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option

EPILOG = """\b
Examples:
  lesionlab evaluate runs/ham                       (validation; nothing is opened)
  lesionlab evaluate runs/ham --split test          (opens the sealed test set; written down)
  lesionlab evaluate runs/ham --on data/isic2017    (outside data, nothing is chosen anew)
  lesionlab evaluate mine.csv --truth truth.csv --malignant mel,bcc,akiec

Research use only: no number here is advice to a patient.
"""
SHOWN = (
    "balanced_accuracy_prior_corrected",
    "balanced_accuracy",
    "accuracy",
    "majority_accuracy",
    "roc_auc",
    "average_precision",
)


@click.command("evaluate", epilog=EPILOG)
@path_argument("source", metavar="RUN|PREDICTIONS.csv")
@path_option("--truth", metavar="CSV", help="Labels for a predictions table: image_id, label.")
@click.option(
    "--split",
    type=click.Choice(["valid", "test", "train", "calib"]),
    help="Part of the run (default valid); for a table, which part it is.",
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
    "--policy",
    type=click.Choice(["sensitivity_bound", "sensitivity", "specificity", "youden", "cost"]),
    help="Choose the operating point so, on validation (default: sensitivity_bound).",
)
@click.option("--target", type=float, help="Of the policy, e.g. 0.95.")
@click.option("--threshold", type=float, help="A fixed operating point, chosen beforehand.")
@click.option(
    "--prevalence",
    "prevalences",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    help="A further prevalence for PPV and NPV; may be repeated.",
)
@path_option("--data", metavar="DIR", help="The dataset folder, where it has moved; or of a table.")
@path_option("--out", metavar="DIR", help="Where to write (default: the run, or beside the table).")
@click.option("--lang", default="en", show_default=True, help="Of the report: en, zh.")
@click.option("--no-images", "images", is_flag=True, flag_value=False, default=True,
              help="A report without thumbnails.")  # fmt: skip
@path_option("--on", metavar="DIR", help="Another data set: the run as it is, on its images.")
@path_option("--readers", multiple=True, metavar="CSV", help="Readers' votes on these images.")
@click.option("--published", is_flag=True, help="Published readers too (of other images).")
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True)
@seed_option
@json_option
def command(source: Path, as_json: bool, malignant: str, **options: Any) -> None:
    """Measure a run or a predictions table, with intervals, and write report.html."""
    from lesionlab.api.evaluate import evaluate

    names = [name.strip() for name in malignant.split(",") if name.strip()]
    result = evaluate(source, malignant=names, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    title = f"{result['source']}, {result['part']}: {result['n']:,} {result['unit']}s"
    table = Table(
        title=escape(title), caption=f"95 % intervals, resampled by {result['resampled']}"
    )
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("low", justify="right")
    table.add_column("high", justify="right")
    for name in SHOWN:
        m = result["metrics"][name]
        table.add_row(name, *(_number(m[k]) for k in ("value", "low", "high")))
    for p in result["operating_points"]:
        for name in ("sensitivity", "specificity"):
            cells = (_number(p[name][k]) for k in ("value", "low", "high"))
            table.add_row(f"{name} at {p['threshold']:.4g}", *cells)
    console.print(table)
    if result["leaky"]:
        console.print("[bold red]LEAKY: these numbers are no honest estimate")
    if result["synthetic"]:
        console.print("[yellow]SYNTHETIC: drawn images; the numbers say nothing about patients")
    if result["part"] == "test" and result["test_openings"]:
        console.print(f"The test set has now been opened {result['test_openings']} time(s).")
    console.print(f"Report: {escape(result['report'])}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
