"""`lesionlab augmentations`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option, seed_option
from lesionlab.errors import counted


@click.command(
    epilog="Example: lesionlab augmentations data/ham --preset ham10000-mobilenetv2-finetuned "
    "--out views.png --folder views"
)
@path_argument("dataset")
@click.option("--preset", required=True, help="A preset's name, or a TOML file of your own.")
@path_option(
    "--out", default="augmentations.png", show_default=True, help="The contact sheet (.png)."
)
@path_option("--folder", help="A new folder, for each view as a separate file.")
@click.option(
    "--stage", help="Stage whose augmentation is shown  [default: the last one that augments]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
@click.option("--images", type=click.IntRange(1, 50), default=5, show_default=True,
              help="Number of images.")  # fmt: skip
@click.option("--views", type=click.IntRange(1, 50), default=7, show_default=True,
              help="Augmented views per image.")  # fmt: skip
@seed_option
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Show augmented training images of DATASET: each original, then its augmented views."""
    from lesionlab.api.augmentations import augmentations

    result = augmentations(dataset, **options)
    answer(
        result,
        as_json,
        lambda: print(
            f"{result['out']}: {counted(len(result['images']), 'image')}, "
            f"{counted(result['views'], 'view')} each, "
            f"augmented as in stage {result['stage']}"
        ),
    )
