"""A tiny data set and a recipe of a frozen random body: seconds, with everything a run has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from lesionlab.api.import_dataset import import_dataset  # noqa: E402
from lesionlab.api.split import split  # noqa: E402
from lesionlab.config import Settings, parse  # noqa: E402

T = TypeVar("T")
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "batch_size": 16,
    "micro_batch": 16,
    "precision": "float32",
    "model": {"name": "test_resnet", "pretrained": False},
    "input": {"size": 32},
    "stages": [
        {"name": "head", "trainable": "head", "epochs": 3, "cached_views": 1, "max_lr": 0.05}
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


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Settings]:
    return lambda **changes: parse(Settings, {**RECIPE, **changes})


@pytest.fixture(scope="session")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, about 60 lesions, split; tests read it only (but for its cache)."""
    folder = tmp_path_factory.mktemp("lesions") / "data"
    import_dataset("synthetic", to=folder, lesions=60, seed=0)
    split(folder, test=0.2, valid=0.2, seed=0, search=False)
    return folder
