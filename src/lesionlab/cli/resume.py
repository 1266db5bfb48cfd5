"""`lesionlab resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.cli.train import show


@click.command(epilog="Example: lesionlab resume runs/ham")
@path_argument("run")
@path_option("--data", help="The dataset folder, if it has moved.")
@click.option("--device", help="cpu or cuda  [default: that of the run]")
@click.option(
    "--threads", type=click.IntRange(1), help="Processor threads  [default: those of the run]"
)
@json_option
def command(run: Path, as_json: bool, **options: Any) -> None:
    """Resume the interrupted RUN at the exact step where it stopped.

    On the same machine the result is bit-identical to that of an uninterrupted run.
    """
    from lesionlab.api.train import resume

    result = resume(run, progress=Bar(), **options)
    if result:  # of several processes only the first one answers
        answer(result, as_json, lambda: show(result))
