"""`lesionlab predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.errors import counted

if TYPE_CHECKING:
    from lesionlab.experiments.engine import Engine

EXAMPLE = """\b
Examples:
  lesionlab predict bundles/ham photos/ --csv out.csv
  lesionlab predict bundles/ham lesion.jpg
"""


@click.command(epilog=EXAMPLE)
@path_argument("bundle")
@path_argument("sources", nargs=-1, required=True)
@path_option("--csv", help="Write a table here, row by row. A second call continues it.")
@click.option("--operating-point", help="One of the bundle's operating points. Default: its first.")
@click.option(
    "--abstain",
    type=click.Choice(["none", "ood", "ood_or_set"]),
    default="ood",
    show_default=True,
    help="When to abstain: never; on images unlike the training images; or also where the"
    " prediction set holds both positive and negative classes.",
)
@path_option(
    "--heatmaps", help="Folder for one PNG per image: the evidence for its most probable class."
)
@click.option(
    "--draft/--no-draft",
    default=True,
    help="Decode JPEGs of 4 megapixels or more at reduced size (differs by up to 3 grey levels).",
)
@click.option(
    "--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads. 0: all cores."
)
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True)
@click.option("--address", help="Address of a Ray cluster. Default: start one here.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, help="Workers of a Ray cluster started here."
)
@click.option("--shard", type=click.IntRange(1), default=1000, help="Images per shard with Ray.")
@json_option
def command(
    bundle: Path,
    sources: tuple[Path, ...],
    csv: Path | None,
    operating_point: str | None,
    abstain: str,
    heatmaps: Path | None,
    draft: bool,
    threads: int,
    engine: Engine,
    address: str | None,
    workers: int,
    shard: int,
    as_json: bool,
) -> None:
    """Classify SOURCES (images, folders, or CSV tables with a column 'path') with BUNDLE.

    A table may also have roi_x, roi_y, roi_size and, for a model that reads them, age, sex, site.

    Research use only. Nothing here is advice to a patient.
    """
    from lesionlab.api.predict import predict

    result = predict(
        bundle,
        sources,
        csv=csv,
        operating_point=operating_point,
        abstain=abstain,
        heatmaps=heatmaps,
        draft=draft,
        threads=threads,
        engine=engine,
        address=address,
        workers=workers,
        shard=shard,
        progress=Bar(),
    )
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    from lesionlab.data.left_out import LeftOut

    for one in result["predictions"]:
        print(_line(one))
    if result["resumed"]:
        print(f"{counted(result['resumed'], 'row was', 'rows were')} already in the table")
    if result["csv"]:
        print(f"{counted(result['n'], 'image')}, {result['errors']} unreadable: {result['csv']}")
    for found in result["left_out"]:
        print(f"left out: {LeftOut(**found).line}")
    if result["no_operating_point"]:
        print(f"No decision: the model has no operating point. {result['no_operating_point']}")
    if result["leaky"]:
        print("LEAKY: training and test data overlap. Do not report results of this model.")
    if result["synthetic"]:
        print("SYNTHETIC: this model was trained on drawn pictures, not on images of skin.")
    print("Research use only. Not a medical device. Nothing here is advice to a patient.")


def _line(one: dict[str, Any]) -> str:
    name = one["path"] if one["path"].isprintable() else repr(one["path"])
    if one["error"]:
        return f"{name}: {one['error']}"
    ranked = sorted(one["probabilities"].items(), key=lambda pair: -pair[1])[:3]
    parts = [", ".join(f"{c} {p:.3f}" for c, p in ranked)]
    decision = one["decision"]
    if decision is not None:
        verdict = {True: "positive", False: "negative", None: "no decision"}[decision["positive"]]
        why = f" ({decision['reason']})" if decision["reason"] else ""
        parts.append(f"{verdict} at {decision['operating_point']}{why}")
    if one["note"]:
        parts.append(one["note"])
    if decision is None and one["ood"] is not None and one["ood"]["flagged"]:
        parts.append("not like the training images")
    return f"{name}: " + "; ".join(parts)
