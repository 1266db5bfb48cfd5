"""`lesionlab train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option

SHOWN = ("balanced_accuracy_prior_corrected", "balanced_accuracy", "accuracy", "roc_auc")


@click.command(
    epilog="Example: lesionlab train data/ham --preset ham10000-mobilenetv2-frozen "
    "--out runs/ham-frozen"
)
@path_argument("dataset")
@click.option("--preset", required=True, help="A preset's name, or a TOML file of your own.")
@path_option("--out", required=True, help="The new run folder.")
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
@click.option("--epochs", type=click.IntRange(1), help="Maximum number of epochs per stage.")
@click.option(
    "--lr", metavar="RATE|auto", help="Learning rate of every stage; auto: found with a range test."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Random seed  [default: that of the preset, 0]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="Processor threads; 0: all cores."
)
@json_option
def command(dataset: Path, as_json: bool, **options: Any) -> None:
    """Train a classifier on DATASET, a split dataset folder.

    Ctrl-C saves after the current step and prints the command that resumes the run.
    """
    from lesionlab.api.train import train

    result = train(dataset, progress=Bar(), **options)
    if result:  # of several processes only the first one answers
        answer(result, as_json, lambda: show(result))


def show(result: dict[str, Any]) -> None:
    """The headline numbers, and where to go on."""
    print(f"run        {result['run']}")
    best, speed = result["best_epoch"] + 1, result["images_per_second"]
    watched = f"{result['monitor']} {result['best_value']:.3f} before the temperature was fitted"
    print(f"best epoch {best} of {result['epochs']} ({watched}), {speed} images/s")
    for name in SHOWN:
        m = result["valid"].get(name)
        if m and m["value"] is not None:
            ends = f" ({m['low']:.3f} to {m['high']:.3f})" if m["low"] is not None else ""
            print(f"  {name:<36} {m['value']:.3f}{ends}")
    print(f"on validation, n = {result['n']}; 95 % CI, resampled by {result['resampled']}.")
    for note in result["notes"]:
        print(f"note: {note}")
    print(f"next: lesionlab evaluate {result['run']}")
