"""`lesionlab lr-find`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.errors import counted


@click.command(
    epilog="Example: lesionlab lr-find data/ham --preset ham10000-resnet34 --stage all "
    "--from runs/ham@head --out rates"
)
@path_argument("dataset")
@click.option("--preset", required=True, help="A preset's name, or a TOML file of your own.")
@path_option("--out", required=True, help="A new folder for the figure and its data.")
@click.option("--stage", help="Stage whose learning rate is tested  [default: the first]")
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option(
    "--from", "start", metavar="RUN[@STAGE]", help="Start from the weights of another run."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="Processor threads; 0: all cores."
)
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Find a learning rate for DATASET: record the loss while the learning rate rises.

    `lesionlab train --lr auto` does this automatically and uses the suggestion 'valley'.
    """
    from lesionlab.api.lr_find import lr_find

    result = lr_find(dataset, progress=Bar(), **options)
    answer(result, as_json, lambda: show(result))


def show(result: dict[str, Any]) -> None:
    """The suggestions, and where the figure lies."""
    print(f"stage {result['stage']}, {counted(result['steps'], 'step')}")
    for name, rate in result["suggestions"].items():
        print(f"  {name:<12} {'none' if rate is None else f'{rate:.2e}'}")
    print(f"figure: {result['figure']}")
