"""`lesionlab import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option

EPILOG = """\b
Examples:
  lesionlab import ham10000 archive.zip --to data/ham
  lesionlab import folder photos/ --to data/photos --malignant melanoma,bcc
  lesionlab import synthetic --to data/demo --lesions 150 --seed 0
"""


@click.command("import", epilog=EPILOG)
@click.argument("source")
@path_argument("src", required=False)
@path_option("--to", required=True, help="The dataset folder to make.")
@click.option("--classes", help="folder: take only these class folders (comma-separated).")
@click.option("--malignant", help="folder: which classes are malignant (comma-separated).")
@click.option("--valid-last", type=float, help="folder: last share of train as validation part.")
@click.option("--lesions", type=int, help="synthetic: how many lesions.")
@click.option("--seed", type=click.IntRange(0), help="synthetic: of all draws.")
@click.option(
    "--max-rejected",
    type=float,
    default=0.05,
    show_default=True,
    help="Fail where a larger share of the images cannot be used.",
)
@json_option
def command(
    source: str, src: Path | None, to: Path, max_rejected: float, as_json: bool, **options: Any
) -> None:
    """Make a dataset folder from SRC, a folder or an archive.

    SOURCE is the kind of data set, for example ham10000, folder or synthetic. Every image is
    decoded once; what cannot be used is listed with its reason.
    """
    from lesionlab.api.import_dataset import import_dataset

    given = {name: value for name, value in options.items() if value is not None}
    result = import_dataset(source, src, to, max_rejected=max_rejected, progress=Bar(), **given)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=escape(f"{result['name']}: {result['images']:,} images"))
    table.add_column("class")
    table.add_column("images", justify="right")
    for name, n in result["classes"].items():
        mark = " (malignant)" if name in result["malignant"] else ""
        table.add_row(escape(name + mark), f"{n:,}")
    console.print(table)
    console.print(f"patients {result['patients']:,}, lesions {result['lesions']:,} (0 = not given)")
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)
    for item in result["rejected"][:10]:
        console.print(f"left out: {item['path']}: {item['reason']}", markup=False)
    if len(result["rejected"]) > 10:
        console.print(f"... and {len(result['rejected']) - 10} more (dataset.json lists all)")
    console.print(f"licence: {result['licence']}", markup=False)
    console.print(f"next: lesionlab split {result['dataset']}", markup=False)
