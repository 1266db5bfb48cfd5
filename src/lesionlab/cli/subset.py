"""`lesionlab subset`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option
from lesionlab.errors import counted

EPILOG = """\b
Examples:
  lesionlab subset data/ham --to data/small --per-class 100 --seed 0
  lesionlab subset data/ham --to data/two --per-class mel=200,nv=400
  lesionlab subset data/ham --to data/women --where sex=female --fraction 0.5
"""


@click.command("subset", epilog=EPILOG)
@path_argument("folder", metavar="DIR")
@path_option("--to", required=True, help="The new dataset folder.")
@click.option("--per-class", metavar="N|A=N,B=M", help="Images of each class, or of these classes.")
@click.option("--fraction", type=float, help="Proportion of each class.")
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only rows with this value; repeatable, all must hold.",
)
@click.option("--by-image", is_flag=True, help="Draw single images; groups may be cut.")
@seed_option
@json_option
def command(
    folder: Path,
    to: Path,
    per_class: str | None,
    fraction: float | None,
    where: tuple[str, ...],
    by_image: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Copy some images of the data set DIR into a new one: whole groups, same splits."""
    from lesionlab.api.subset import subset

    result = subset(
        folder,
        to,
        per_class=_per_class(per_class),
        fraction=fraction,
        where=[_pair(text, "--where") for text in where],
        by_image=by_image,
        seed=seed,
        progress=Bar(),
    )

    def show() -> None:
        classes = ", ".join(f"{name} {n:,}" for name, n in result["classes"].items())
        print(f"{counted(result['images'], 'image')}: {classes}")
        for note in result["notes"]:
            print(f"note: {note}")

    answer(result, as_json, show)


def _per_class(text: str | None) -> int | dict[str, int] | None:
    if text is None or text.strip().isdecimal():
        return None if text is None else int(text)
    pairs = [_pair(part, "--per-class") for part in text.split(",") if part.strip()]
    if not all(n.strip().isdecimal() for _, n in pairs):
        raise click.UsageError(f"--per-class {text}: give N, or A=N,B=M with whole numbers")
    return {name.strip(): int(n) for name, n in pairs}


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.UsageError(f"{option} {text}: the form is NAME=VALUE")
    return name, value
