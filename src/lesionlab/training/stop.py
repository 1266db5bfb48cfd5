"""Ctrl-C and SIGTERM (Ctrl-Break on Windows) stop a run at the next step; a second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

from lesionlab.errors import Interrupted
from lesionlab.platforms import STOP_SIGNALS
from lesionlab.progress import Progress

T = TypeVar("T")


class StopRequest:
    """A context in which `requested` turns true at the first signal.

    The second signal meets the handler that was there before, which ends the process: a
    checkpoint is written aside and moved, so even then the older one is whole.
    """

    SIGNALS = STOP_SIGNALS

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}


class Watchful:
    """Progress that ends a long loop at the first item after a stop was requested."""

    def __init__(self, progress: Progress, stop: StopRequest, message: str) -> None:
        self.progress, self.stop, self.message = progress, stop, message

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        for item in self.progress(items, description, total):
            if self.stop.requested:
                raise Interrupted(self.message)
            yield item

    def say(self, line: str) -> None:
        self.progress.say(line)
