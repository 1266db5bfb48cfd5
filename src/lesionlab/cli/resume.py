"""`lesionlab resume`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument
from lesionlab.cli.train import show


@click.command(epilog="Example: lesionlab resume runs/ham")
@path_argument("run")
@json_option
def command(run: Path, as_json: bool) -> None:
    """Go on with the interrupted RUN, at the very step where it stopped."""
    from lesionlab.api.train import resume

    result = resume(run, progress=Bar())
    answer(result, as_json, lambda: show(result))
