"""What all peers of the speed benchmark share: the trial, the clock of a job, the result file.

Runs in each peer's own environment: the standard library and numpy only.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
JOBS = ("speed", "frozen-speed", "frozen-stage", "quality")
LIGHTING = 0.1  # brightness and contrast, either way
WARM_UP = 3  # steps that are not counted
QUIET_SECONDS = 50.0  # the longest time at real-time priority
PAUSE_SECONDS = 8.0  # for everybody else, after it
LOCK = "TRAINING_SPEED_LOCK"  # names the lock file of all measurements


def arguments() -> argparse.Namespace:
    """Of a peer's script: `--trial FILE --job JOB --seed N --out FILE`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trial", type=Path, required=True)
    parser.add_argument("--job", choices=JOBS, required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--variant", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", action="store_true", help="real-time priority for the counting")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def read_trial(path: Path) -> dict[str, Any]:
    """Data, weights and epochs of the trial; `train`, `valid`: lists of (image path, class)."""
    trial: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return trial


class Enough(Exception):
    """The clock has counted as many steps as are wanted."""


_turn: list[int] = []


def wait_for_turn() -> None:
    """Take the lock of all measurements, once; it is let go when the process ends."""
    if os.environ.get(LOCK) and not _turn:
        _turn.append(os.open(os.environ[LOCK], os.O_CREAT | os.O_RDWR, 0o666))
        fcntl.flock(_turn[0], fcntl.LOCK_EX)


class Quiet:
    """A measurement: its wall clock and processor time, alone on the machine where that is asked.

    It waits for the lock of all measurements, and with `wanted` runs at real-time priority (Linux,
    root), so that other work does not count as ours. `breathe()` lets the others have the
    machine after QUIET_SECONDS for a while, which is not counted.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.seconds = self.cpu = 0.0

    def begin(self) -> None:
        """Wait for the other measurements, then start to count."""
        wait_for_turn()
        self._go_on()

    def _go_on(self) -> None:
        if self.wanted:
            set_priority(real_time=True)
        self.since, self.cpu_since = time.perf_counter(), cpu_seconds()

    def _pause(self) -> None:
        self.seconds += time.perf_counter() - self.since
        self.cpu += cpu_seconds() - self.cpu_since
        if self.wanted:
            set_priority(real_time=False)

    def breathe(self) -> None:
        """To be called now and then."""
        if self.wanted and time.perf_counter() - self.since > QUIET_SECONDS:
            self._pause()
            time.sleep(PAUSE_SECONDS)
            self._go_on()

    def end(self) -> None:
        """Stop to count."""
        self._pause()

    def so_far(self) -> float:
        """Counted seconds."""
        return self.seconds + time.perf_counter() - self.since


class Clock:
    """Times the steps of a job after the warm-up; `tick()` once a step, after it.

    It says True when as many steps are counted as are wanted.
    """

    def __init__(self, quiet: bool, steps: int) -> None:
        self.quiet, self.steps = Quiet(quiet), steps
        self.seconds: list[float] = []
        self.done = 0
        self.last = 0.0

    def tick(self) -> bool:
        now = time.perf_counter()
        self.done += 1
        if self.done > WARM_UP:
            self.seconds.append(now - self.last)
        if self.done == WARM_UP:
            self.quiet.begin()
        if len(self.seconds) >= self.steps:
            self.quiet.end()
            return True
        if self.seconds:
            self.quiet.breathe()
        self.last = time.perf_counter()
        return False

    def result(self, images: int = BATCH) -> dict[str, Any]:
        """Images per second by the median step, and by all counted steps."""
        steps = np.array(self.seconds)
        return {
            "steps": len(steps),
            "images_per_second": round(images / float(np.median(steps)), 2),
            "images_per_second_mean": round(images * len(steps) / float(steps.sum()), 2),
            "images_per_two_core_seconds": round(2 * images * len(steps) / self.quiet.cpu, 2),
        }


def rate(quiet: bool, images: int, do: Callable[[], object]) -> float:
    """Images per second of `do`, measured alone."""
    alone = Quiet(quiet)
    alone.begin()
    do()
    alone.end()
    return round(images / alone.seconds, 2)


def cpu_seconds() -> float:
    """Of this process and its children that ended, and of those that live."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    living = sum(_ticks(pid) for pid in descendants() if pid != os.getpid())
    return mine.ru_utime + mine.ru_stime + living


def _ticks(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / float(os.sysconf("SC_CLK_TCK"))


def descendants() -> list[int]:
    """This process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(words[1]), []).append(int(path.parent.name))
    found, todo = [], [os.getpid()]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def set_priority(real_time: bool) -> None:
    """Round-robin real time, or back to the usual; for every thread below this process."""
    policy = os.SCHED_RR if real_time else os.SCHED_OTHER
    for pid in descendants():
        for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
            try:
                os.sched_setscheduler(int(task.name), policy, os.sched_param(2 * real_time))
            except OSError:
                continue


def reached(began: float, cpu: float, auc: float) -> list[float]:
    """Seconds since `began`, seconds of two cores since `cpu`, and the macro AUC then."""
    two_cores = (cpu_seconds() - cpu) / 2
    return [round(time.perf_counter() - began, 2), round(two_cores, 2), round(auc, 5)]


def write_result(options: argparse.Namespace, peer: str, version: str, **values: Any) -> None:
    """One JSON file a job, written aside and moved."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "schema_version": 1,
        "peer": peer,
        "version": version,
        "job": options.job,
        "precision": options.precision,
        "variant": options.variant,
        "seed": options.seed,
        "threads": options.threads,
        "quiet": options.quiet,
        "peak_mib": round(peak),
        "load": [round(x, 1) for x in os.getloadavg()],
        "when": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        **values,
    }
    aside = options.out.with_suffix(".aside")
    aside.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    aside.replace(options.out)


def macro_auc(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Mean over the classes of the one-v-rest AUC, by midranks: the same scorer for all."""
    values = []
    for k in range(y_prob.shape[1]):
        positive = y_true == k
        order = np.argsort(y_prob[:, k], kind="stable")
        _, inverse, counts = np.unique(y_prob[order, k], return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        ranks = np.empty(len(order))
        ranks[order] = (last - (counts - 1) / 2)[inverse]
        n = int(positive.sum())
        values.append((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(order) - n)))
    return float(np.mean(values))
