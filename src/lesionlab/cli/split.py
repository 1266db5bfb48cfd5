"""`lesionlab split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import answer, json_option, path_argument, seed_option

EPILOG = """\b
Example:
  lesionlab split data/ham --test 0.2 --valid 0.15 --seed 0
"""


@click.command("split", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@click.option("--test", type=float, default=0.2, show_default=True, help="Share of the test part.")
@click.option("--valid", type=float, default=0.15, show_default=True, help="Of validation.")
@click.option("--calib", type=float, default=0.0, show_default=True, help="Of calibration.")
@click.option(
    "--stratify",
    multiple=True,
    help="Balance this column too (source, age, sex, ...); may be repeated.",
)
@click.option("--allow-leak", is_flag=True, help="Deal by image; marks the set LEAKY for good.")
@click.option(
    "--max-duplicates", type=int, default=20, show_default=True, help="Largest chain of twins."
)
@seed_option
@json_option
def command(folder: Path, as_json: bool, **options: Any) -> None:
    """Deal the images of DIR into train, valid, test (and calib), so that no group crosses.

    A group is a patient, else a lesion, together with all byte-identical images.
    """
    from lesionlab.api.split import split

    result = split(folder, **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    parts = [p for p in ("train", "valid", "test", "calib") if p in result]
    table = Table(title=f"split: {result['groups_crossing']} groups cross")
    table.add_column("")
    for part in parts:
        table.add_column(part, justify="right")
    for row in ("images", "groups"):
        table.add_row(row, *(f"{result[p][row]:,}" for p in parts))
    for name in result[parts[0]]["classes"]:
        shares = (result[p]["classes"][name] / result[p]["images"] for p in parts)
        numbers = (
            f"{result[p]['classes'][name]:,} ({s:.1%})" for p, s in zip(parts, shares, strict=True)
        )
        table.add_row(escape(name), *numbers)
    Console().print(table)
    if result["leaky"]:
        Console().print("[bold red]LEAKY: results on this data set are no honest estimate")
