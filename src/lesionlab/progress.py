"""Progress is an argument: the library reports, the caller decides what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable; shows how far it is, at what rate, and what is left."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]: ...

    def say(self, line: str) -> None:
        """One line to the person who waits."""


class Silent:
    """Shows nothing: for tests, servers and `--json` in a pipeline."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        return iter(items)

    def say(self, line: str) -> None:
        return None


SILENT = Silent()
