"""What training costs beside the network: input, memory, resuming, importing the command line.

    python bench/training_input.py data/ham --weights mobilenetv2.safetensors --work SCRATCH

Prints one JSON object, and with `--page docs/benchmarks.md` puts a table there: images per second
of the input side (gather, augmentation, normalisation) beside what MobileNetV2 consumes in
fine-tuning, at 224 px, batch 64; peak memory without file-backed pages at 256 px; seconds from the
command to the first step of a resumed run; seconds to import the command line. With `--quiet` the
seconds that count run at real-time priority.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from preset_runs import replace_between

from lesionlab import numerics

BEGIN, END = "<!-- training input: begin -->", "<!-- training input: end -->"
AUGMENT = {"flips": "dihedral", "brightness": 0.1, "contrast": 0.1}  # flips and lighting
STEPS, WARM = 5, 2
FIRST_STEP = """
import sys, time
since = lambda: time.time() - float(sys.argv[2])
class Now(BaseException): pass
from lesionlab.training import train as engine
imported = since()
def first(*_): raise Now
engine.do_step = first
from pathlib import Path
try:
    engine.resume(Path(sys.argv[1]))
except Now:
    print(imported, since())
"""


@contextmanager
def quiet(wanted: bool) -> Iterator[None]:
    """All threads at real-time priority for a few seconds (Linux, root): other work waits."""
    if wanted:
        _schedule(os.SCHED_FIFO, 2)
    try:
        yield
    finally:
        if wanted:
            _schedule(os.SCHED_OTHER, 0)


def _schedule(policy: int, priority: int) -> None:
    for task in Path("/proc/self/task").iterdir():
        os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))


class Peak:
    """The largest RssAnon (memory that no file backs) while the context lasts, bytes."""

    def __enter__(self) -> Peak:
        self.value, self.going = 0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.going:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
            self.value = max(self.value, now)
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.going = False
        self.thread.join()


def recipe(size: int) -> Any:
    from lesionlab.config import Settings, parse

    stage = {"name": "all", "epochs": 1, "max_lr": 1e-3, "augment": AUGMENT}
    values = {"input": {"size": size}, "stages": [stage], "checkpoint_seconds": 1e6, "ema": 0.99}
    return parse(Settings, values)


def leg(data: Path, weights: Path, size: int) -> Any:
    """The stage of the recipe, ready for its steps, and the order of its first epoch."""
    import torch

    from lesionlab.data.randomness import epoch_order
    from lesionlab.models.freeze import set_mode
    from lesionlab.progress import SILENT
    from lesionlab.training.begin import initial_network
    from lesionlab.training.checkpoint import State
    from lesionlab.training.device import choose_machine
    from lesionlab.training.optim import set_rates
    from lesionlab.training.prepared_stage import StageResources, prepare_stage
    from lesionlab.training.setup import open_parts

    settings, machine = recipe(size), choose_machine()
    parts = open_parts(data)
    network, _ = initial_network(settings, parts, None, weights, None)
    network.to(memory_format=torch.channels_last)
    made = StageResources(Path(), settings, parts, None, network, machine, SILENT)
    ready = prepare_stage(made, 0, State())
    order = epoch_order(0, 0, 0, made.labels, balanced=False)
    ready.inputs.begin_epoch(0, 0, 0, order)
    set_mode(network, "all", "eval")
    set_rates(ready.context.optimizer, ready.peaks, 0.1, 0.9)
    return ready, order


def speeds(data: Path, weights: Path, size: int, hush: bool) -> dict[str, float]:
    """Images per second of the input side and of whole steps, and the peak memory."""
    from lesionlab.training.step import do_step, micro_batches

    with Peak() as peak:
        ready, order = leg(data, weights, size)
        batch = ready.batch
        slots = [np.arange(i * batch, (i + 1) * batch) % len(order) for i in range(WARM + STEPS)]
        given = timed(
            lambda s: [ready.inputs.images(m) for m in micro_batches(s, ready.micro)], slots, hush
        )
        step = lambda s: do_step(ready.inputs, ready.context, s, order, ready.micro, (0, 0, 0))  # noqa: E731
        used = timed(step, slots, hush)
    return {
        "input_images_per_second": round(batch / given, 1),
        "trained_images_per_second": round(batch / used, 1),
        "ratio": round(used / given, 1),
        "peak_anonymous_mib": round(peak.value / 2**20),
        "precision": ready.context.machine.precision,
    }


def timed(work: Any, slots: list[Any], hush: bool) -> float:
    """Median seconds of a batch, after the warm-up."""
    for some in slots[:WARM]:
        work(some)
    seconds = []
    with quiet(hush):
        for some in slots[WARM:]:
            started = time.perf_counter()
            work(some)
            seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def resumed(data: Path, weights: Path, work: Path, hush: bool) -> dict[str, float]:
    """Seconds from the start of a process to the first step of a resumed run."""
    from lesionlab.training import train as engine
    from lesionlab.training.step import do_step

    done = iter(range(10))

    def stopping(*args: Any) -> float:
        if next(done) == 2:
            raise KeyboardInterrupt
        return do_step(*args)

    engine.do_step = stopping  # type: ignore[assignment]
    run = work / f"resumed-{os.getpid()}"
    settings = recipe(224).model_copy(update={"checkpoint_seconds": 0.0})
    with suppress(KeyboardInterrupt):
        engine.train(data, settings, run, weights=weights)
    command = ["chrt", "-f", "2"] * hush + [sys.executable, "-c", FIRST_STEP, str(run)]
    command += [str(time.time())]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split()
    imported, total = float(told[0]), float(told[1])
    return {"resume_total": round(total, 2), "resume_after_imports": round(total - imported, 2)}


def importing(hush: bool) -> dict[str, float]:
    """Seconds of a process that imports the command line, and of `lesionlab --help`: best of 5."""
    cases = {"import": ["-c", "import lesionlab.cli.main"], "help": ["-m", "lesionlab", "--help"]}
    found = {}
    for name, arguments in cases.items():
        command = ["chrt", "-f", "2"] * hush + [sys.executable, *arguments]
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
        found[name] = round(min(seconds), 3)
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """The goals of the input side, memory, resuming and importing, and what was measured."""
    at, large, again = found["input"], found["memory"], found["resume"]
    after = f"{again['resume_total']:.1f}, {again['resume_after_imports']:.1f} after the imports"
    rows = (
        ("input side at 224 px, of what fine-tuning consumes", "10 times", f"{at['ratio']:.0f}",
         at["ratio"] >= 10),
        ("peak memory without file-backed pages, 256 px, MiB", "under 3,072",
         f"{large['peak_anonymous_mib']:,}", large["peak_anonymous_mib"] < 3072),
        ("from the command to a resumed run's first step, s", "under 5", after,
         again["resume_total"] < 5),
        ("importing the command line, s", "under 0.5", f"{found['import']['import']:.2f}",
         found["import"]["import"] < 0.5),
    )  # fmt: skip
    lines = [
        f"{len(os.sched_getaffinity(0))} cores, {at['precision']}, {time.strftime('%Y-%m-%d')}."
    ]
    lines += ["", "| | goal | measured | |", "|---|---|---|---|"]
    lines += [f"| {a} | {b} | {c} | {'reached' if d else 'missed'} |" for a, b, c, d in rows]
    return "\n".join(lines)


PIECES = ("import", "input", "memory", "resume")


def main() -> None:
    numerics.ask_for_exact_numerics()  # as the command line does; torch is not loaded yet
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--only", choices=PIECES)
    parser.add_argument("--page", type=Path, help="put the table between this page's marks")
    given = parser.parse_args()
    pieces = {
        "import": lambda: importing(given.quiet),
        "input": lambda: speeds(given.data, given.weights, 224, given.quiet),
        "memory": lambda: speeds(given.data, given.weights, 256, given.quiet),
        "resume": lambda: resumed(given.data, given.weights, given.work, given.quiet),
    }
    chosen = [given.only] if given.only else PIECES
    found = {name: pieces[name]() for name in chosen}
    print(json.dumps(found, indent=2))
    if given.page and not given.only:
        replace_between(given.page, BEGIN, END, table(found))


if __name__ == "__main__":
    main()
