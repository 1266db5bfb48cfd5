"""`lesionlab tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option
from lesionlab.errors import counted

EPILOG = """\b
Example:
  lesionlab tune data/ham --preset ham10000-mobilenetv2-frozen --trials 30 \\
      --out runs/tune
  lesionlab repeat data/ham --preset runs/tune/best.toml --out runs/tuned ...
"""


@click.command("tune", epilog=EPILOG)
@path_argument("dataset")
@click.option("--preset", required=True, help="The preset to start from.")
@path_option(
    "--out",
    required=True,
    help="Output folder for study.db, the runs and best.toml; an existing one is resumed.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Total number of trials.",
)
@path_option("--space", help="Search space, a TOML file  [default: that of the preset]")
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable."
)
@click.option("--epochs", type=click.IntRange(1), help="Maximum number of epochs per stage.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    help="Processor threads of a trial; 0: all cores.",
)
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True,
              help="Run here, or on a Ray cluster.")  # fmt: skip
@click.option("--address", help="Address of a Ray cluster; without it, a local one is started.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, help="Workers of a local Ray cluster."
)
@seed_option
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Search for better settings of PRESET on the validation split of DATASET.

    The test split is never used.
    """
    from lesionlab.api.tune import tune

    result = tune(dataset, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    print(result["sentence"])
    for key, value in result["best"]["params"].items():
        print(f"  {key} = {value}")
    counts = f"{result['pruned']} pruned, {len(result['failed'])} failed"
    print(f"{counted(len(result['trials']), 'trial')}, {counts}; {result['recipe']}")
