"""`lesionlab join`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import answer, json_option, path_argument
from lesionlab.errors import counted

EPILOG = """\b
Examples:
  lesionlab join data/ham readers.csv --prefix readers_
  lesionlab join data/isic2018 ISIC2018_Task3_Training_LesionGroupings.csv
"""


@click.command("join", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@path_argument("table", metavar="CSV")
@click.option("--on", default="", help="Id column of the table, if it is not recognised.")
@click.option("--prefix", default="", help="Prefix for the names of the new columns.")
@click.option(
    "--input", "inputs", multiple=True, help="A new column that may be a model input; repeatable."
)
@json_option
def command(
    folder: Path, table: Path, on: str, prefix: str, inputs: tuple[str, ...], as_json: bool
) -> None:
    """Join a second table to DIR by id: reader votes, lesion groupings, more metadata.

    Known columns (age, sex, site, patient, lesion) fill missing values. Other columns are added
    and may not be model inputs.
    """
    from lesionlab.api.join import join

    result = join(folder, table, on=on, prefix=prefix, inputs=inputs)

    def show() -> None:
        print(
            f"{counted(result['matched'], 'row')} matched; added: "
            f"{', '.join(result['added']) or 'none'}"
        )
        for column, n in result["filled"].items():
            print(f"{column}: {n:,} filled, {result['differing'][column]:,} differ (not changed)")
        if result["unmatched"]:
            lost = counted(
                result["unmatched"], "row of the table matches", "rows of the table match"
            )
            print(f"{lost} no image")
        for note in result["notes"]:
            print(f"note: {note}")
        if result["split_reset"]:
            print(
                "the split was removed because the new groups cross it; run lesionlab split again"
            )

    answer(result, as_json, show)
