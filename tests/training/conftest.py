"""A tiny synthetic data set, a recipe with everything that has state, and a run never stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from helpers.faults import Crash  # noqa: E402
from lesionlab.api.import_dataset import import_dataset  # noqa: E402
from lesionlab.api.split import split  # noqa: E402
from lesionlab.config import Settings, parse  # noqa: E402
from lesionlab.training import step as step_module  # noqa: E402
from lesionlab.training import train as engine  # noqa: E402
from lesionlab.training.device import Machine, choose_machine  # noqa: E402
from lesionlab.training.train import train  # noqa: E402

T = TypeVar("T")

# Dropout, stochastic depth, batch norm, an average, momenta, a cycle, resampling augmentation.
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "batch_size": 8,
    "micro_batch": 4,
    "ema": 0.9,
    "precision": "float32",
    "monitor": "valid_loss",
    "checkpoint_seconds": 0.0,
    "model": {
        "name": "test_efficientnet",
        "pretrained": False,
        "dropout": 0.2,
        "drop_path": 0.1,
    },
    "input": {
        "size": 32,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bilinear",
        "crop": 1.0,
    },
    "optim": {"name": "adamw", "clip": 1.0},
    "stages": [
        {"name": "head", "trainable": "head", "epochs": 2, "cached_views": 2},
        {
            "name": "all",
            "epochs": 2,
            "max_lr": [1e-4, 1e-3],
            "augment": {
                "flips": "dihedral",
                "rotation": 20,
                "zoom": 0.1,
                "brightness": 0.2,
                "saturation": 0.2,
            },
        },
    ],
}


class Lines:
    """Progress that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterator[T]:
        return iter(items)

    def say(self, line: str) -> None:
        self.said.append(line)


def recipe(**changes: Any) -> Settings:
    """The tiny recipe with top-level changes."""
    return parse(Settings, {**RECIPE, **changes})


def results(run: Path) -> dict[str, Any]:
    """All that must be the same bits: weights as bytes, tables as text, without any time."""
    weights = [run / "best.safetensors", run / "last.safetensors", *run.glob("stages/*")]
    found: dict[str, Any] = {str(p.relative_to(run)): p.read_bytes() for p in weights}
    for name in ("predictions-valid.csv", "calibration.json"):
        found[name] = (run / name).read_text()
    times = ("seconds", "images_per_second", "frozen_features")  # the latter: whence they came
    with (run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found["history"] = [{k: v for k, v in row.items() if k not in times} for row in rows]
    summary = json.loads((run / "summary.json").read_text())
    found["summary"] = {k: v for k, v in summary.items() if k not in (*times, "finished")}
    return found


@pytest.fixture(scope="session")
def machine() -> Machine:
    return choose_machine("cpu", "float32", 1)


@pytest.fixture(autouse=True)
def one_thread(machine: Machine) -> None:
    """Other tests choose other numbers of threads, and bits depend on them."""
    torch.set_num_threads(machine.threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 50 images of 24 lesions, two classes, split; never changed by a test."""
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    import_dataset("synthetic", None, folder, lesions=24, seed=0)
    split(folder, test=0.2, valid=0.25, seed=0, search=False)
    return folder


@pytest.fixture(scope="session")
def reference(data: Path, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe that was never stopped."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    train(data, recipe(), folder, machine=machine)
    return folder


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Settings]:
    """`tiny(key=value, ...)`: the recipe, changed."""
    return recipe


@pytest.fixture(scope="session")
def outcome() -> Callable[[Path], dict[str, Any]]:
    """`outcome(run)`: what must be the same bits in two runs that are the same."""
    return results


@pytest.fixture
def stopped(data: Path, tiny: Callable[..., Settings], machine: Machine, tmp_path: Path) -> Path:
    """A run that died at its eighth step, in the second stage."""
    out, left = tmp_path / "run", iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 8:
            raise Crash
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, tiny(), out, machine=machine)
    return out
