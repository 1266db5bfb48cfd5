"""`lesionlab reproductions`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option


@click.command(
    "reproductions", epilog="Example: lesionlab reproductions runs/ --to docs/reproductions.md"
)
@path_argument("runs", required=False)
@path_option(
    "--to", required=True, help="The page (.md); its numbers are written beside it as JSON."
)
@json_option
def command(runs: Path | None, to: Path, as_json: bool) -> None:
    """Collect the results below RUNS, and write a page that compares them with the claims."""
    from lesionlab.api.reproduce import reproductions

    told = reproductions(runs, to)
    records = ", ".join(told["records"])
    answer(told, as_json, lambda: print(f"{told['page']} from {records}"))
