"""What every verb shares: `--json`, progress on standard error, options that check themselves."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, TypeVar

import click

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any] | click.Command)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed."
)


def path_argument(name: str, **options: Any) -> Callable[[F], F]:
    """A positional path, as `pathlib.Path`; existence is checked by the library, in its words."""
    return click.argument(name, type=click.Path(path_type=Path), **options)


def path_option(*names: str, **options: Any) -> Callable[[F], F]:
    """An option that takes a path, as `pathlib.Path`."""
    return click.option(*names, type=click.Path(path_type=Path), **options)


def answer(result: Mapping[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    """Print the verb's result: one JSON object, or what `show` prints for a person."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        show()


def _names(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def table_options(function: F) -> F:
    """What the columns of a predictions table are, where names and values do not tell."""
    options = (
        click.option("--id-column", metavar="NAME", help="The column of image ids."),
        click.option("--label-column", metavar="NAME", help="The column of the true class."),
        click.option("--score-column", metavar="NAME",
                     help="The column that holds the probability of --positive."),
        click.option("--positive", metavar="CLASS", help="The class of a single score column."),
        click.option("--classes", metavar="A,B,C", callback=_names,
                     help="The order of columns that are only numbered (0, 1, 2; class_0 ...)."),
        click.option("--logits", is_flag=True, help="The scores are logits."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


class Bar:
    """Progress on standard error: a bar with rate and time left on a terminal, lines elsewhere."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        if total is None and isinstance(items, Sized):
            total = len(items)
        if sys.stderr.isatty():
            yield from _rich_bar(items, description, total)
        else:
            yield from _plain_lines(items, description, total)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _rich_bar(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task, start = bar.add_task(description, total=total, rate=""), time.monotonic()
        for n, item in enumerate(items, 1):
            yield item
            rate = n / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=1, rate=f"{rate:.1f}/s")


def _plain_lines(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    n = 0
    for n, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > 10:
            last = time.monotonic()
            rate = n / (last - start)
            left = f", {(total - n) / rate:.0f} s left" if total else ""
            print(
                f"{description}: {n}/{total or '?'}, {rate:.1f}/s{left}",
                file=sys.stderr,
                flush=True,
            )
    print(f"{description}: {n} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
