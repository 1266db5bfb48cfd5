"""`lesionlab figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.data.split_names import SPLITS
from lesionlab.errors import counted

EPILOG = """\b
Examples:
  lesionlab figures runs/ham --to figures/
  lesionlab figures runs/ham --to figures/ --format pdf --tables
"""


@click.command("figures", epilog=EPILOG)
@path_argument("source", metavar="RUN|PREDICTIONS.csv")
@path_option("--to", required=True, metavar="DIR", help="A new folder for the files.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["svg", "png", "pdf"]),
    multiple=True,
    default=["svg"],
    show_default=True,
    help="Repeatable; png and pdf need the extra 'figures'.",
)
@click.option("--tables", is_flag=True, help="Also write the data of each figure, as CSV.")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    help="Split of the run, already evaluated (default valid).",
)
@click.option("--malignant", default="", metavar="A,B", help="Malignant classes of a table.")
@path_option("--data", metavar="DIR", help="The dataset folder, if it has moved.")
@click.option("--lang", default="en", show_default=True, help="Language of the labels: en, zh.")
@json_option
def command(source: Path, as_json: bool, malignant: str, **options: Any) -> None:
    """Write every figure of the report as a separate file, for a paper."""
    from lesionlab.api.figures import figures

    names = [name.strip() for name in malignant.split(",") if name.strip()]
    result = figures(source, malignant=names, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    for figure in result["figures"]:
        print(f"{', '.join(figure['files'])}: {figure['title']}")
    print(f"{counted(len(result['figures']), 'figure')} in {result['to']}")
