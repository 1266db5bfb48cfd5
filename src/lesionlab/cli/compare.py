"""`lesionlab compare`."""

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
from lesionlab.errors import counted

PRIMARIES = (
    *("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "nll", "brier"),
    *("malignant_roc_auc", "malignant_average_precision", "malignant_partial_auc_80"),
)
EXAMPLE = """\b
Examples:
  lesionlab compare runs/a runs/b
  lesionlab compare a.csv b.csv c.csv --primary balanced_accuracy
  lesionlab compare runs/old runs/new --margin 0.02
  lesionlab compare runs/a --readers votes.csv
"""


@click.command(epilog=EXAMPLE)
@path_argument("sources", nargs=-1, required=True)
@click.option(
    "--primary",
    type=click.Choice(PRIMARIES),
    default="roc_auc",
    show_default=True,
    help="The primary metric. For more than two classes, roc_auc is the macro average.",
)
@click.option("--split", default="valid", show_default=True, help="Split of a run.")
@click.option("--malignant", default="", help="Malignant classes of a CSV: mel,bcc,...")
@click.option("--unit", type=click.Choice(["image", "lesion", "patient"]), default="image",
              help="What counts as one case.")  # fmt: skip
@click.option("--resamples", type=click.IntRange(20), default=2000, show_default=True,
              help="Bootstrap resamples.")  # fmt: skip
@click.option("--margin", type=click.FloatRange(0, min_open=True),
              help="Test the other models for being non-inferior to the first: by how much of the"
              " primary metric they may be worse. Declare it beforehand.")  # fmt: skip
@table_options
@click.option("--matching-only", is_flag=True,
              help="Compare the images that every table has; the others are counted.")  # fmt: skip
@path_option("--readers", help="Votes of human readers, to compare with one SOURCE.")
@click.option(
    "--held-out", is_flag=True, help="You confirm that no image of the CSV was used in training."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Threshold of the model in the comparison with readers.",
)
@seed_option
@json_option
def command(
    sources: tuple[Path, ...],
    primary: str,
    split: str,
    malignant: str,
    unit: str,
    resamples: int,
    margin: float | None,
    readers: Path | None,
    held_out: bool,
    threshold: float | None,
    seed: int,
    as_json: bool,
    **reading: Any,
) -> None:
    """Compare SOURCES, which are runs or predictions CSVs of the same images, by paired tests."""
    named = [c.strip() for c in malignant.split(",") if c.strip()]
    if readers is not None:
        _refuse_reading(reading)
        if len(sources) != 1:
            raise click.UsageError("--readers takes one model")
        if margin is not None:
            raise click.UsageError("--margin compares models; leave it out with --readers")
        _readers(sources[0], readers, split, named, threshold, held_out, resamples, seed, as_json)
        return
    from lesionlab.api.compare import compare

    result = compare(
        sources,
        primary=primary,
        split=split,
        malignant=named,
        unit=unit,
        resamples=resamples,
        seed=seed,
        margin=margin,
        progress=Bar(),
        **reading,
    )
    answer(result, as_json, lambda: _show(result))


def _refuse_reading(reading: dict[str, Any]) -> None:
    """What columns mean is not passed on to a comparison with readers."""
    given = [name for name, value in reading.items() if value]
    if given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} compares models, not readers")


def _readers(
    source: Path,
    votes: Path,
    split: str,
    malignant: list[str],
    threshold: float | None,
    held_out: bool,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    from lesionlab.api.readers import readers

    result = readers(
        source,
        votes,
        split=split,
        malignant=malignant,
        threshold=threshold,
        held_out=held_out,
        resamples=resamples,
        seed=seed,
        progress=Bar(),
    )
    answer(result, as_json, lambda: _show_readers(result))


def _show_readers(result: dict[str, Any]) -> None:
    print(
        f"{result['point']['name']}: {result['reads']} votes on {result['images']} images; "
        f"malignant: {', '.join(result['malignant'])}"
    )
    for who in ("reader", "model", "difference"):
        for name, m in result[who].items():
            sign = "+" if who == "difference" else ""
            print(f"  {who:<11}{name.replace('_', ' '):<36}{_measure(m, sign)}")
    print(result["statement"])
    if result["beaten"] is not None:
        below, readers = result["beaten"]
        print(f"{below} of {readers} readers lie below the ROC curve of the model, as points")
    if result["without_votes"]:
        alone = counted(result["without_votes"], "predicted image has", "predicted images have")
        print(f"note: {alone} no votes")
    for note in result["notes"]:
        print(f"note: {note}")
    if result["leaky"]:
        print("note: LEAKY: the training data of this model overlap with its test set")


def _show(result: dict[str, Any]) -> None:
    for name, columns in result["mapping"].items():
        print(f"{name} read as: {'; '.join(columns)}")
    better = "higher" if result["higher_is_better"] else "lower"
    print(
        f"{result['primary']} ({better} is better) on {result['n']} {result['unit']}s "
        f"in {counted(result['groups'], 'group')} ({result['resampled']})"
    )
    for model in result["models"]:
        print(f"  {model['name']:<28}{_measure(model['measure'])}")
    kind = "simultaneous 95 % CI" if len(result["pairs"]) > 1 else "95 % CI"
    for pair in result["pairs"]:
        print(f"{pair['first']} and {pair['second']}: {pair['verdict']}")
        print(f"  difference {_measure(pair['difference'], '+', kind)}")
        print(f"  p {_p(pair['p_value'])} ({pair['test']}); Holm {_p(pair['p_holm'])}")
        if pair["mcnemar"] and result["primary"] == "accuracy":
            m = pair["mcnemar"]
            print(
                f"  correct in {pair['first']} only: {m['only_first_right']}, in {pair['second']} "
                f"only: {m['only_second_right']} "
                f"(McNemar p {_p(m['p_value'])}, mid-p {_p(m['mid_p'])})"
            )
    for tested in result["noninferiority"]:
        print(tested["verdict"])
        if tested["p_value"] is not None:
            many = tested["comparisons"]
            adjusted = f", adjusted for {many} comparisons" if many > 1 else ""
            print(f"  one-sided p {_p(tested['p_value'])}{adjusted}; 0.025 decides")
    if result["unlabelled"]:
        left_out = counted(result["unlabelled"], "unlabelled image was", "unlabelled images were")
        print(f"note: {left_out} excluded")
    for line in (*result["notes"], result["statement"]):
        print(f"note: {line}")


def _measure(m: dict[str, Any], sign: str = "", kind: str = "95 % CI") -> str:
    if m["value"] is None:
        return "undefined"
    if m["low"] is None:
        return f"{m['value']:{sign}.3f} ({m['method']})"
    return f"{m['value']:{sign}.3f} ({kind} {m['low']:{sign}.3f} to {m['high']:{sign}.3f})"


def _p(p: float) -> str:
    return f"= {p:.4f}" if p >= 0.0001 else "< 0.0001"
