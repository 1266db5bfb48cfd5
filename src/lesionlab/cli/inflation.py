"""`lesionlab inflation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option

EPILOG = """\b
Example:
  lesionlab inflation data/ham --preset ham10000-mobilenetv2-frozen \\
      --out runs/inflation
"""


@click.command("inflation", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@click.option("--preset", required=True, help="The preset of both arms.")
@path_option("--out", required=True, help="Output folder for the runs and inflation.json.")
@click.option(
    "--seeds", type=click.IntRange(2), default=3, show_default=True, help="Number of repeats."
)
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable."
)
@json_option
def command(
    folder: Path,
    preset: str,
    out: Path,
    seeds: int,
    weights: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure how much a random split by image inflates the results on DIR.

    Two arms use the same test images and the same number of training images. One arm has images
    of the same groups as the test images in training. The other has images of the same class from
    other groups instead.
    """
    from lesionlab.api.inflation import inflation

    result = inflation(
        folder, preset, out, seeds=seeds, weights=weights, overrides=overrides, progress=Bar()
    )
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['seeds']} seeds")
    for column in ("metric", "leaky", "clean", "difference"):
        table.add_column(column, overflow="fold")
    for name, row in result["metrics"].items():
        told = row["difference"]
        table.add_row(
            name,
            f"{row['leaky']:.3f}",
            f"{row['clean']:.3f}",
            f"{told['value']:+.3f}{_ends(told)}",
        )
    Console().print(table)
    print(result["sentence"])


def _ends(told: dict[str, Any]) -> str:
    return "" if told["low"] is None else f" ({told['low']:+.3f} to {told['high']:+.3f})"
