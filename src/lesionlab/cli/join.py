"""`lesionlab join`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import answer, json_option, path_argument

EPILOG = """\b
Examples:
  lesionlab join data/ham readers.csv --prefix readers_
  lesionlab join data/isic2018 ISIC2018_Task3_Training_LesionGroupings.csv
"""


@click.command("join", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@path_argument("table", metavar="CSV")
@click.option("--on", default="", help="The table's id column, if it is not recognised.")
@click.option("--prefix", default="", help="Stands before the names of the new columns.")
@click.option(
    "--input", "inputs", multiple=True, help="This new column may be a model input (repeatable)."
)
@json_option
def command(
    folder: Path, table: Path, on: str, prefix: str, inputs: tuple[str, ...], as_json: bool
) -> None:
    """Join a second table to DIR by id: reader votes, lesion groupings, more metadata.

    Known columns (age, sex, site, patient, lesion) fill what is absent; others are added and
    may not be model inputs.
    """
    from lesionlab.api.join import join

    result = join(folder, table, on=on, prefix=prefix, inputs=inputs)

    def show() -> None:
        print(f"{result['matched']:,} rows matched; added: {', '.join(result['added']) or 'none'}")
        for column, n in result["filled"].items():
            print(f"{column}: {n:,} filled, {result['differing'][column]:,} differ (kept ours)")
        if result["unmatched"]:
            print(f"{result['unmatched']:,} rows of the table belong to no image here")
        if result["split_reset"]:
            print("the split was undone, for the new groups cross it: run lesionlab split again")

    answer(result, as_json, show)
