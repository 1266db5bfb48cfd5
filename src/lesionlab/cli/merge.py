"""`lesionlab merge`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.errors import counted

EPILOG = """\b
Example:
  lesionlab merge data/ham data/isic2019 --to data/both
  lesionlab split data/both --leave-out ham10000
"""


@click.command("merge", epilog=EPILOG)
@path_argument("folders", nargs=-1, required=True, metavar="DIR DIR ...")
@path_option("--to", required=True, help="The new dataset folder.")
@click.option(
    "--labels",
    type=click.Choice(("auto", "same", "family", "malignancy")),
    default="auto",
    show_default=True,
    help="Keep the classes, or map them with the taxonomy of diagnoses.",
)
@json_option
def command(folders: tuple[Path, ...], to: Path, labels: str, as_json: bool) -> None:
    """Merge data sets: labels of one taxonomy, each duplicate once, with its source."""
    from lesionlab.api.merge import merge

    result = merge(folders, to, labels=labels, progress=Bar())

    def show() -> None:
        classes = ", ".join(f"{name} {n:,}" for name, n in result["classes"].items())
        print(f"{counted(result['images'], 'image')}: {classes}")
        print("sources: " + ", ".join(f"{s} {n:,}" for s, n in result["sources"].items()))
        print(
            f"{counted(result['united'], 'duplicate')} merged, "
            f"{counted(len(result['conflicts']), 'image')} excluded because of conflicting labels"
        )

    answer(result, as_json, show)
