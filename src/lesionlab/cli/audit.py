"""`lesionlab audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.errors import counted

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim", "good": "green"}
LEAK_OR_CONFLICT = 3
EPILOG = """\b
Example:
  lesionlab audit data/ham
  lesionlab audit data/isic2017 --against data/ham --strict
"""


@click.command("audit", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@path_option("--against", metavar="OTHER", help="A second data set, to find what the two share.")
@click.option("--strict", is_flag=True, help="Exit with code 3 if a leak or a conflict is found.")
@click.option("--drop", metavar="KEY", default="", help="Remove the rows that this finding names.")
@path_option("--out", help="Output folder  [default: DIR]")
@json_option
def command(folder: Path, strict: bool, as_json: bool, **options: Any) -> int:
    """Check the data set DIR, and write DIR/audit.html.

    The audit looks for duplicates (rotated, cropped and re-encoded ones too), conflicting labels,
    leakage between splits, columns that reveal the label, shortcuts to the label, damaged files,
    and counts that differ from the published ones. It writes the pairs of duplicates to
    DIR/duplicates.csv, which split uses (--pairs).
    """
    from lesionlab.api.audit import audit

    result = audit(folder, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))
    return LEAK_OR_CONFLICT if strict and result["fails_strict"] else 0


def _show(result: dict[str, Any]) -> None:
    table = Table(title=f"audit of {escape(result['name'])}", title_justify="left")
    table.add_column("")
    table.add_column("finding")
    table.add_column("count", justify="right")
    table.add_column("remedy")
    for finding in result["findings"]:
        style = STYLES[finding["severity"]]
        table.add_row(
            f"[{style}]{finding['severity']}[/]",
            escape(finding["title"]),
            f"{finding['count']:,}" if finding["total"] else "",
            escape(finding["remedy"]),
        )
    console = Console()
    console.print(table)
    if result["dropped"]:
        console.print(f"{counted(result['dropped'], 'row')} removed from the manifest")
    console.print(escape(result["html"]), soft_wrap=True)
