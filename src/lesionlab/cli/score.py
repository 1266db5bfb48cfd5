"""`lesionlab score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option
from lesionlab.errors import counted
from lesionlab.evaluation.challenge.formats import CHALLENGES

EXAMPLE = """\b
Examples:
  lesionlab score isic2018 ISIC2018_Task3_Test_GroundTruth.csv submission.csv
  lesionlab score udacity ground_truth.csv sample_predictions.csv --threshold 0.4 --figures figures
"""


@click.command(epilog=EXAMPLE)
@click.argument("challenge", type=click.Choice(CHALLENGES))
@path_argument("truth")
@path_argument("prediction")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Threshold for the confusion matrix of the malignant class  [default: 0.5]",
)
@path_option("--figures", help="Write the ROC curves and the confusion matrix (SVG, PNG) here.")
@json_option
def command(
    challenge: str,
    truth: Path,
    prediction: Path,
    threshold: float | None,
    figures: Path | None,
    as_json: bool,
) -> None:
    """Score PREDICTION against TRUTH as CHALLENGE does; what it refuses is refused."""
    from lesionlab.api.score import score

    result = score(challenge, truth, prediction, threshold=threshold, figures=figures)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    print(
        f"{result['challenge']}: {counted(result['n'], 'image')}, scored as {result['judge']} does"
    )
    print(f"  {result['metric']:<28}{_number(result['value'])}")
    if result["validation"] not in (None, result["value"]):
        print(f"  {'under validation_weight':<28}{_number(result['validation'])}")
    for name, value in result["parts"].items():
        print(f"  {name:<28}{_number(value)}")
    _show_classes(result["per_class"])
    if result["confusion"] is not None:
        _show_confusion(result)
    for line in result["notes"]:
        print(f"note: {line}")
    for path in result.get("figures", ()):
        print(f"written: {path}")


def _show_classes(rows: dict[str, dict[str, float | None]]) -> None:
    if not rows:
        return
    names = next(iter(rows.values()))
    print("  " + " ".join([f"{'class, > 0.5':<20}", *(f"{n:>11}" for n in names)]))
    for label, row in rows.items():
        print("  " + " ".join([f"{label:<20}", *(f"{_number(row[n]):>11}" for n in names)]))


def _show_confusion(result: dict[str, Any]) -> None:
    (tn, fp), (fn, tp) = result["confusion"]
    print(f"  {result['positive']}: positive at >= {result['threshold']:g}")
    for label, no, yes in (("negative", tn, fp), ("positive", fn, tp)):
        total = no + yes
        shares = f"({no / total:.2f}, {yes / total:.2f})" if total else ""
        print(
            f"    truth {label}: {no:.0f} predicted negative, {yes:.0f} predicted positive {shares}"
        )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
