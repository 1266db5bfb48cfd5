"""`lesionlab split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option
from lesionlab.data.split_names import SPLITS
from lesionlab.errors import counted

EPILOG = """\b
Examples:
  lesionlab split data/ham --test 0.2 --valid 0.15 --seed 0
  lesionlab split data/isic2017 --official
  lesionlab split data/both --leave-out ham10000
  lesionlab split data/mias --folds 5 --fold 0 --valid 0.2 --balance class
"""


@click.command("split", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@click.option("--test", type=float, help="Proportion of the test split  [default: 0.2]")
@click.option("--valid", type=float, help="Proportion of the validation split  [default: 0.15]")
@click.option("--calib", type=float, default=0.0, help="Proportion of a calibration split.")
@click.option(
    "--official/--own",
    "keep_official",
    default=None,
    help="Use the official split (the default if there is one and no proportion is given).",
)
@click.option(
    "--leave-out", default="", metavar="SOURCE", help="Use this source as the test split."
)
@click.option("--folds", type=int, default=0, help="Number of folds, one of them the test split.")
@click.option(
    "--fold",
    type=int,
    default=0,
    show_default=True,
    help="The fold that is the test split, from 0.",
)
@click.option(
    "--stratify",
    multiple=True,
    help="Also stratify by this column (source, age, sex, ...); repeatable.",
)
@click.option(
    "--balance",
    type=click.Choice(("class", "full")),
    help="Exclude training rows until benign and malignant are equally frequent.",
)
@path_option(
    "--pairs", help="A CSV of near-duplicates: two columns of image ids  [default: that of audit]"
)
@click.option(
    "--search/--no-search",
    default=None,
    help="Search for near-duplicates, and keep them together  [default: if none are known yet]",
)
@click.option(
    "--allow-leak",
    is_flag=True,
    help="Let groups cross the splits; marks the data set LEAKY permanently.",
)
@click.option(
    "--max-duplicates", type=int, default=20, show_default=True, help="Longest chain of duplicates."
)
@seed_option
@json_option
def command(
    folder: Path, as_json: bool, pairs: Path | None, balance: str | None, **options: Any
) -> None:
    """Split the images of DIR into train, valid, test (and calib) so that no group crosses.

    A group is a patient, else a lesion, together with all duplicates of its images.
    """
    from lesionlab.api.split import split

    result = split(folder, pairs=pairs, balance=balance or "", progress=Bar(), **options)  # type: ignore[arg-type]
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    parts = [p for p in SPLITS if p in result]
    patients = result["patients"]
    unknown = "patients unknown" if not patients["known"] and not result["groups_crossing"] else ""
    table = Table(
        title=f"{result['policy']} split: "
        + (unknown or counted(result["groups_crossing"], "group crosses", "groups cross"))
    )
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
        Console().print(
            f"{counted(result['dropped']['images'], 'image')} excluded; see the column 'dropped'"
        )
    near = result["near_duplicates"]
    if near["from"] == "not searched":
        Console().print("duplicates not searched (--search finds them and keeps them together)")
    else:
        Console().print(
            f"near-duplicates: {near['from']}, {counted(near['pairs'], 'pair')}", markup=False
        )
    if patients["note"]:
        Console().print(patients["note"], markup=False)
    if result["leaky"]:
        Console().print(
            "[bold red]LEAKY: results on this data set are too optimistic to be reported"
        )
