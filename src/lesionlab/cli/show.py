"""`lesionlab show`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import (
    Bar,
    answer,
    json_option,
    path_argument,
    path_option,
    seed_option,
)

EPILOG = """\b
Example:
  lesionlab show data/ham --out ham.png --per-class 8
"""


@click.command("show", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@path_option("--out", help="An .html or .png file  [default: DIR/show.html]")
@click.option("--per-class", type=int, default=6, show_default=True, help="Samples per class.")
@click.option("--split", default="", help="Take the samples from this split.")
@seed_option
@json_option
def command(
    folder: Path, out: Path | None, per_class: int, split: str, seed: int, as_json: bool
) -> None:
    """Show samples of each class of DIR, and class counts and proportions of each split."""
    from lesionlab.api.show import show

    result = show(folder, out, per_class=per_class, split=split, seed=seed, progress=Bar())
    answer(result, as_json, lambda: print(result["out"]))
