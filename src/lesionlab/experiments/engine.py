"""Jobs done one after the other here, or spread over a Ray cluster; never a scheduler of our own.

A job must be able to begin again where it stopped: then a killed process or worker costs only
what it did since its last checkpoint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from lesionlab import extras
from lesionlab.errors import BadInput, one_line
from lesionlab.progress import SILENT, Progress

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "ray")
ATTEMPTS = 2  # of a job that raises; what is wrong twice is not chance
STARTS = 2  # of a Ray of this machine, which waits 30 s for its own parts
KILLED = 3  # times that a job may lose its worker and is begun again
J = TypeVar("J")


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its result, or the error of its last attempt."""

    name: str
    result: dict[str, Any] | None
    error: str = ""
    attempts: int = 1
    lost: int = 0  # how often the worker that did it died

    def again(self) -> str:
        """Why it was begun more than once; empty where it was not.

        >>> Outcome("a", {}, attempts=2, lost=1).again()
        'lost its worker once, crashed once'
        """
        told = (("lost its worker", self.lost), ("crashed", self.attempts - 1))
        return ", ".join(f"{what} {_times(n)}" for what, n in told if n)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


@dataclass(frozen=True)
class Cluster:
    """How to reach Ray: `address` of a cluster, else `workers` processes of this machine."""

    address: str | None = None
    workers: int = 2
    cpus: int = 1  # that a job takes
    gpus: float = 0.0


def run_jobs(
    jobs: Sequence[tuple[str, J]],
    work: Callable[[J, Progress], dict[str, Any]],
    *,
    engine: Engine = "local",
    cluster: Cluster = Cluster(),
    attempts: int = ATTEMPTS,
    progress: Progress = SILENT,
) -> Iterator[Outcome]:
    """Do `work` on each `(name, job)`, yielding outcomes as they come.

    A job that raises is tried again (`attempts` in all), but for a `BadInput`, which will not
    heal; the other jobs go on. Raises `BadInput` for an unknown engine or where Ray is absent.
    """
    if engine not in ENGINES:
        raise BadInput(f"no engine '{engine}'", where="--engine", remedy="known: local, ray")
    if engine == "local":
        for name, job in progress(list(jobs), "runs", len(jobs)):
            yield _attempted(name, job, work, attempts, progress)
        return
    yield from _on_ray(jobs, work, cluster, attempts, progress)


def _attempted(
    name: str,
    job: J,
    work: Callable[[J, Progress], dict[str, Any]],
    attempts: int,
    progress: Progress,
) -> Outcome:
    for attempt in range(1, attempts + 1):
        try:
            return Outcome(name, work(job, progress), attempts=attempt)
        except BadInput as error:
            return Outcome(name, None, str(error), attempt)
        except Exception as error:  # noqa: BLE001 (one crashed run must not end the others)
            told = one_line(f"{type(error).__name__}: {error}")
            again = "trying again" if attempt < attempts else "giving up"
            progress.say(f"{name} crashed ({told}): {again}")
    return Outcome(name, None, told, attempts)


def need_ray() -> Any:
    """The module, or `BadInput` that names the extra."""
    extras.need("ray", "this engine", "--engine ray", "--engine local needs nothing")
    import ray

    return ray


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, connected: to a session that runs already, to `address`, or to one made here."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # the workers have our packages
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = need_ray()
    if ray.is_initialized():
        yield ray
        return
    _begin(ray, cluster)
    try:
        yield ray
    finally:
        ray.shutdown()


def _begin(ray: Any, cluster: Cluster) -> None:
    """Connect to the cluster, or start one here: on a crowded machine Ray may give up at first."""
    made: dict[str, Any] = {"address": cluster.address} if cluster.address else {
        "address": "local",
        "num_cpus": cluster.workers * cluster.cpus,
        "include_dashboard": False,
    }  # fmt: skip
    for _ in range(1 if cluster.address else STARTS):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **made)
            return
        except Exception as error:  # noqa: BLE001 (Ray raises plain ones where a node is slow)
            ray.shutdown()
            told = str(error).splitlines() or [type(error).__name__]
    what = one_line(told[0])
    if cluster.address:
        raise BadInput(f"no Ray cluster answers ({what})", where="--address")
    again = "try again when the machine is less busy, or use --engine local"
    raise BadInput(f"Ray did not start here ({what})", where="--engine", remedy=again)


def _on_ray(
    jobs: Sequence[tuple[str, J]],
    work: Callable[[J, Progress], dict[str, Any]],
    cluster: Cluster,
    attempts: int,
    progress: Progress,
) -> Iterator[Outcome]:
    # Ray tells of a dead worker on stdout, where a user of --json looks for one object alone.
    with redirect_stdout(sys.stderr), connected(cluster) as ray:
        # Ray could begin a lost job again by itself, but would not say so: nobody could be told.
        task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus or None, max_retries=0)(
            _remote
        )
        waiting = {task.remote(name, job, work, attempts): (name, job, 0) for name, job in jobs}
        bar = iter(progress(range(len(jobs)), "jobs on Ray", len(jobs)))
        next(bar, None)  # the clock runs from here
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            name, job, lost = waiting.pop(done[0])
            outcome, died = _fetched(ray, done[0], name)
            if died and lost < KILLED:
                progress.say(f"{name} lost its worker and is restarted")
                waiting[task.remote(name, job, work, attempts)] = (name, job, lost + 1)
                continue
            next(bar, None)
            yield replace(outcome, lost=lost + died)


def _fetched(ray: Any, reference: Any, name: str) -> tuple[Outcome, bool]:
    """What a worker made of a job, and whether it died over it."""
    errors = ray.exceptions
    gone = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError)
    try:
        return ray.get(reference), False
    except errors.RayError as error:
        first, died = one_line(str(error).splitlines()[0]), isinstance(error, gone)
        what = f"lost its worker {KILLED + 1} times" if died else "failed on its worker"
        return Outcome(name, None, f"{what} ({first})"), died


def _remote(
    name: str, job: J, work: Callable[[J, Progress], dict[str, Any]], attempts: int
) -> Outcome:
    """What runs on a worker."""
    return _attempted(name, job, work, attempts, SILENT)
