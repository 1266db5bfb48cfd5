"""`lesionlab split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option

EPILOG = """\b
Examples:
  lesionlab split data/ham --test 0.2 --valid 0.15 --seed 0
  lesionlab split data/isic2017 --official
  lesionlab split data/both --leave-out ham10000
  lesionlab split data/mias --folds 5 --fold 0 --valid 0.2 --balance class
"""


@click.command("split", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@click.option("--test", type=float, help="Share of the test part  [default: 0.2]")
@click.option("--valid", type=float, help="Share of the validation part  [default: 0.15]")
@click.option("--calib", type=float, default=0.0, help="Share of a part for calibration.")
@click.option(
    "--official/--own",
    "keep_official",
    default=None,
    help="Keep the official parts (the default where there are some and no share is given).",
)
@click.option("--leave-out", default="", metavar="SOURCE", help="This source is the test part.")
@click.option("--folds", type=int, default=0, help="So many folds, one of them the test part.")
@click.option("--fold", type=int, default=0, show_default=True, help="Which one, from 0.")
@click.option(
    "--stratify",
    multiple=True,
    help="Balance this column too (source, age, sex, ...); may be repeated.",
)
@click.option(
    "--balance",
    type=click.Choice(("class", "full")),
    help="Leave out training rows until benign and malignant are equally many.",
)
@path_option(
    "--pairs", help="A CSV of near-duplicates: two columns of image ids  [default: audit's]"
)
@click.option("--search", is_flag=True, help="Search near-duplicates now, and unite them.")
@click.option("--allow-leak", is_flag=True, help="Let groups cross; marks the set LEAKY for good.")
@click.option(
    "--max-duplicates", type=int, default=20, show_default=True, help="Largest chain of twins."
)
@seed_option
@json_option
def command(
    folder: Path, as_json: bool, pairs: Path | None, balance: str | None, **options: Any
) -> None:
    """Deal the images of DIR into train, valid, test (and calib), so that no group crosses.

    A group is a patient, else a lesion, together with all images that are the same picture.
    """
    from lesionlab.api.split import split

    result = split(folder, pairs=pairs, balance=balance or "", progress=Bar(), **options)  # type: ignore[arg-type]
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    parts = [p for p in ("train", "valid", "test", "calib") if p in result]
    table = Table(title=f"{result['policy']} split: {result['groups_crossing']} groups cross")
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
    if result["dropped"]["images"]:
        Console().print(f"{result['dropped']['images']} images left out: see the column 'dropped'")
    near = result["near_duplicates"]
    hint = " (--search unites them too)" if near["from"] == "not searched" else ""
    Console().print(f"near-duplicates: {near['from']}, {near['pairs']} pairs{hint}", markup=False)
    if result["leaky"]:
        Console().print("[bold red]LEAKY: results on this data set are no honest estimate")
