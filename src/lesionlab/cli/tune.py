"""`lesionlab tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option

EPILOG = """\b
Example:
  lesionlab tune data/ham --preset ham10000-mobilenetv2-frozen --trials 30 \\
      --out runs/tune
  lesionlab repeat data/ham --preset runs/tune/best.toml --out runs/tuned ...
"""


@click.command("tune", epilog=EPILOG)
@path_argument("dataset")
@click.option("--preset", required=True, help="The recipe to begin with.")
@path_option("--out", required=True, help="Where study.db, runs and best.toml go; resumed.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="In all.")
@path_option("--space", help="A TOML file; else the one beside the preset.")
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--epochs", type=click.IntRange(1), help="At most so many epochs in each stage.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Of a trial; 0: all cores.")
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True)
@click.option("--address", help="Of a Ray cluster; without it one is made here.")
@click.option("--workers", type=click.IntRange(1), default=2, help="Of a Ray made here.")
@seed_option
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Search better settings for PRESET on the validation part of DATASET; never sees test."""
    from lesionlab.api.tune import tune

    result = tune(dataset, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    print(result["sentence"])
    for key, value in result["best"]["params"].items():
        print(f"  {key} = {value}")
    counts = f"{result['pruned']} pruned, {len(result['failed'])} failed"
    print(f"{len(result['trials'])} trials, {counts}; {result['recipe']}")
