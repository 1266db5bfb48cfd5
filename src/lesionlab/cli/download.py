"""`lesionlab download`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import Bar, answer, json_option, path_option
from lesionlab.errors import counted

# Named here and not taken from the catalogue, which is slow to load (a test compares).
NAMES = ("isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024",
         "udacity-isic2017", "ham10000", "malignant-vs-benign", "breastmnist",
         "isic-archive")  # fmt: skip
HELP = f"""Download a public data set into a folder, for import.

NAME is one of {", ".join(NAMES)}. An interrupted download resumes where it stopped. Size and hash
are checked. Data sets on Kaggle need your own credentials file.
"""
EPILOG = """\b
Examples:
  lesionlab download isic2018 --to raw/isic2018 --accept-licence
  lesionlab download isic-archive --query "diagnosis_1:Malignant" --limit 500 --to raw/mal \\
      --accept-licence
"""


@click.command("download", help=HELP, epilog=EPILOG)
@click.argument("name")
@path_option("--to", required=True, help="The folder to download into.")
@click.option(
    "--accept-licence", is_flag=True, help="Confirm that you have read and accept the licence."
)
@click.option("--query", default="", help="isic-archive: search query.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=0,
    help="isic-archive: maximum number of images; 0: all.",
)
@path_option("--kaggle", help="Your Kaggle credentials  [default: ~/.kaggle/kaggle.json]")
@json_option
def command(
    name: str,
    to: Path,
    accept_licence: bool,
    query: str,
    limit: int,
    kaggle: Path | None,
    as_json: bool,
) -> None:
    """Parse, call, print (the help text is HELP)."""
    from lesionlab.api.download import download

    result = download(
        name,
        to,
        accept_licence=accept_licence,
        query=query,
        limit=limit,
        kaggle=kaggle,
        progress=Bar(),
    )

    def show() -> None:
        size = sum(f["size"] for f in result["files"])
        print(
            f"{counted(len(result['files']), 'file')}, {size / 2**20:,.1f} MiB, in "
            f"{result['folder']}"
        )
        print(f"licence: {result['licence']}")
        print(f"next: {result['next']}")

    answer(result, as_json, show)
