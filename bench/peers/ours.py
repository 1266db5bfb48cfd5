"""lesionlab through its public functions, on the trial's data set folders."""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import common

from lesionlab import __version__
from lesionlab.config import Settings, parse
from lesionlab.run_folder import read_history, read_run
from lesionlab.training.device import choose_machine
from lesionlab.training.train import train

T = TypeVar("T")
SIGHT = {"flips": "both", "brightness": common.LIGHTING, "contrast": common.LIGHTING}


class Ticks:
    """Progress that hands the training steps to the clock, and remembers when epochs ended."""

    def __init__(self, clock: common.Clock | None, alone: common.Quiet) -> None:
        self.clock, self.alone = clock, alone
        self.ended: dict[tuple[str, int], list[float]] = {}
        self.began, self.cpu = time.perf_counter(), common.cpu_seconds()

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        for item in items:
            yield item
            if self.clock is None:
                self.alone.breathe()
            elif re.search(r" \d+/\d+$", description) and self.clock.tick():
                raise common.Enough

    def say(self, line: str) -> None:
        """An epoch's line, such as `all epoch 2 of 3: ...`."""
        found = re.match(r"(\S+) epoch (\d+) of \d+", line)
        if found:
            self.ended[found[1], int(found[2])] = common.reached(self.began, self.cpu, 0.0)


def recipe(options: argparse.Namespace, trial: dict[str, Any]) -> Settings:
    """The benchmark's settings for a job."""
    frozen = {
        "name": "frozen",
        "trainable": "head",
        "epochs": trial["frozen_epochs"],
        "max_lr": 3e-3,
        "cached_views": 1,
    }
    tuned = {
        "name": "all",
        "epochs": trial["tuned_epochs"],
        "max_lr": (5e-4, 1e-3),
        "augment": SIGHT,
    }
    stages = {"speed": [{**tuned, "epochs": 9}], "quality": [frozen, tuned]}
    return parse(
        Settings,
        {
            "name": "speed",
            "seed": options.seed,
            "batch_size": common.BATCH,
            "precision": "auto" if options.precision == "bfloat16" else "float32",
            "compile": options.variant == "compiled",
            "model": {"name": "mobilenetv2_100"},
            "input": {"size": trial["size"], "mean": trial["mean"], "std": trial["std"]},
            "stages": stages.get(options.job, [frozen]),
        },
    )


def main() -> None:
    """One job."""
    options = common.arguments()
    trial = common.read_trial(options.trial)
    whole = options.job == "frozen-stage"
    data = Path(trial["whole" if options.variant in ("cold", "warm") else "dataset"])
    out = options.out.with_suffix(".run")
    shutil.rmtree(out, ignore_errors=True)
    if whole and options.variant == "cold":
        shutil.rmtree(data / "cache", ignore_errors=True)
    clock = common.Clock(options.quiet, trial["steps"]) if options.job == "speed" else None
    settings = recipe(options, trial)
    machine = choose_machine("cpu", settings.precision, options.threads)
    alone = common.Quiet(options.quiet and whole)
    ticks = Ticks(clock, alone)
    if whole:
        alone.begin()
    try:
        weights = Path(trial["weights"])
        train(data, settings, out, weights=weights, machine=machine, progress=ticks)
    except common.Enough:
        pass
    values = clock.result() if clock else {"reached": reached(out, ticks)}
    if whole:
        alone.end()
        values |= {"seconds": round(alone.seconds, 2), "cpu": round(alone.cpu, 2)}
    values["micro_batch"] = read_run(out).config.settings.micro_batch
    options.precision = machine.precision
    common.write_result(options, "lesionlab", __version__, **values)
    shutil.rmtree(out, ignore_errors=True)


def reached(out: Path, ticks: Ticks) -> list[list[float]]:
    """Seconds, two-core seconds (decoding and features included) and macro AUC, by epoch said."""
    rows: list[list[float]] = []
    counts: dict[str, int] = {}
    for row in read_history(out):
        stage = str(row["stage"])
        counts[stage] = counts.get(stage, 0) + 1
        at = ticks.ended.get((stage, counts[stage]))
        if at is not None:
            rows.append([*at[:2], round(float(row["valid_roc_auc"]), 5)])
    return rows


if __name__ == "__main__":
    main()
