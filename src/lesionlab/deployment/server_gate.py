"""Admission control: a bounded number of images waits or runs; the rest is refused with 503."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from lesionlab.deployment.http_errors import Problem

T = TypeVar("T")
SMOOTHING = 0.05  # weight of the newest job in the mean time of a job


class Gate:
    """At most `capacity` images wait or run; `workers` run at once, one thread each.

    One-thread jobs side by side answer more requests a second than many threads on one job.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self.workers = workers
        self.capacity = workers + queue
        self.inside = 0
        self.seconds = 0.05  # mean time of a job, smoothed
        self.draining = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="predict")

    @contextmanager
    def admit(self, count: int = 1) -> Iterator[None]:
        """Hold `count` places; `Problem` 503 with Retry-After where they are not free."""
        with self._lock:
            if self.draining or self.inside + count > self.capacity:
                raise Problem(
                    503, "capacity", "the server is busy: try again later", Retry_After=self.retry()
                )
            self.inside += count
        try:
            yield
        finally:
            with self._lock:
                self.inside -= count

    def retry(self) -> str:
        """Whole seconds until the queue is likely to have moved."""
        return str(max(1, math.ceil(self.inside * self.seconds / self.workers)))

    def submit(self, job: Callable[[float], T]) -> Future[T]:
        """Run `job(seconds it waited)` on a worker."""
        submitted = time.monotonic()

        def run() -> T:
            started = time.monotonic()
            try:
                return job(started - submitted)
            finally:
                spent = time.monotonic() - started
                self.seconds += SMOOTHING * (spent - self.seconds)

        return self._pool.submit(run)

    def close(self) -> None:
        """Finish what runs, take nothing more."""
        self.draining = True
        self._pool.shutdown(wait=True)
