"""`lesionlab resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.cli.train import show


@click.command(epilog="Example: lesionlab resume runs/ham")
@path_argument("run")
@path_option("--data", help="The dataset folder, where it has moved.")
@click.option("--device", help="cpu or cuda (the run's own).")
@click.option("--threads", type=click.IntRange(1), help="Of the processor (the run's own).")
@json_option
def command(run: Path, as_json: bool, **options: Any) -> None:
    """Go on with the interrupted RUN, at the very step where it stopped.

    On the same machine the result has the bits of a run that was never stopped.
    """
    from lesionlab.api.train import resume

    result = resume(run, progress=Bar(), **options)
    if result:  # of several processes only the first one answers
        answer(result, as_json, lambda: show(result))
