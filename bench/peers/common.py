"""What all peers of the speed benchmark share: the trial, the clock of a job, the result file.

Runs in each peer's own environment: the standard library and numpy only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
JOBS = ("speed", "frozen-speed", "frozen-stage", "quality")
LIGHTING = 0.1  # brightness and contrast, either way
WARM_UP = 3  # steps that are not counted
QUIET_SECONDS = 50.0  # the longest time at real-time priority


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
    trial: dict[str, Any] = json.loads(path.read_text())
    return trial


class Enough(Exception):
    """The clock has counted as many steps as are wanted."""


class Clock:
    """Times the steps of a job after the warm-up; `tick()` once a step, after it.

    With `quiet` the counted steps run at real-time priority (Linux, root), at most
    QUIET_SECONDS, so that other work on the machine does not count as ours. `tick` says True
    when that is over.
    """

    def __init__(self, quiet: bool, steps: int) -> None:
        self.quiet, self.steps = quiet, steps
        self.seconds: list[float] = []
        self.done = self.cpu = self.began = 0.0
        self.last: float | None = None

    def tick(self) -> bool:
        now = time.perf_counter()
        if self.last is not None and self.done > WARM_UP:
            self.seconds.append(now - self.last)
        self.done += 1
        if self.done == WARM_UP + 1:
            self.began, self.cpu = now, cpu_seconds()
            if self.quiet:
                set_priority(real_time=True)
        over = len(self.seconds) >= self.steps
        over |= self.quiet and self.done > WARM_UP + 1 and now - self.began > QUIET_SECONDS
        if over:
            self.stop()
        self.last = time.perf_counter()
        return over

    def stop(self) -> None:
        """Back to the usual priority; the processor's time ends here."""
        if self.quiet:
            set_priority(real_time=False)
        if self.cpu >= 0 and self.began:
            self.cpu = cpu_seconds() - self.cpu
            self.began = 0.0

    def result(self, images: int = BATCH) -> dict[str, Any]:
        """Images per second by the median step, and by all counted steps."""
        steps = np.array(self.seconds)
        return {
            "steps": len(steps),
            "images_per_second": round(images / float(np.median(steps)), 2),
            "images_per_second_mean": round(images * len(steps) / float(steps.sum()), 2),
            "images_per_two_core_seconds": round(2 * images * len(steps) / max(self.cpu, 1e-9), 2),
        }


def cpu_seconds() -> float:
    """Of this process and its children that ended, and of those that live."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    living = sum(_ticks(pid) for pid in descendants() if pid != os.getpid())
    return mine.ru_utime + mine.ru_stime + living


def _ticks(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / float(os.sysconf("SC_CLK_TCK"))


def descendants() -> list[int]:
    """This process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rsplit(")", 1)[1].split()
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
    aside.write_text(json.dumps(row, indent=1) + "\n")
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
