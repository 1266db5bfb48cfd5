"""`lesionlab augmentations`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option, seed_option


@click.command(
    epilog="Example: lesionlab augmentations data/ham --preset ham10000-mobilenetv2-finetuned "
    "--out views.png --folder views"
)
@path_argument("dataset")
@click.option("--preset", required=True, help="A preset's name, or a TOML file of your own.")
@path_option("--out", default="augmentations.png", show_default=True, help="The sheet (.png).")
@path_option("--folder", help="A folder to be made, for each view as a file of its own.")
@click.option("--stage", help="Which stage's augmentation (the last that augments).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting.")
@click.option("--images", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option("--views", type=click.IntRange(1, 50), default=7, show_default=True)
@seed_option
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Show what the network sees of DATASET in training: each image plain, then its views."""
    from lesionlab.api.augmentations import augmentations

    result = augmentations(dataset, **options)
    answer(
        result,
        as_json,
        lambda: print(
            f"{result['out']}: {len(result['images'])} images, {result['views']} views each, "
            f"as stage {result['stage']} draws them"
        ),
    )
