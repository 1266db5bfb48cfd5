"""May the threshold still be chosen? The run's own record and the ledger: either locks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lesionlab.config import Settings, Stage
from lesionlab.data import ledger
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo
from lesionlab.errors import BadInput
from lesionlab.evaluation.locked_points import (
    Choice,
    operating_points,
    store_points,
    stored_points,
)
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.run_folder import BEST, DatasetReference, Run, RunConfig

CLASSES = ("mel", "nv")


def predictions(n: int = 300) -> Predictions:
    generator = np.random.default_rng(0)
    y_true = np.arange(n) % 2
    p = np.clip(0.7 - 0.4 * y_true + generator.normal(0, 0.15, n), 0.01, 0.99)
    ids = np.array([f"i{i}" for i in range(n)], dtype=object)
    none = np.full(n, "", dtype=object)
    return Predictions(ids, none, none, CLASSES, y_true, np.stack([p, 1 - p], axis=1))


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A run on validation, with a data set whose ledger is empty."""
    import pandas as pd

    for name in ("run", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / BEST).write_bytes(b"weights")
    reference = DatasetReference(
        folder=str(tmp_path / "data"), name="set", source="test", classes=CLASSES,
        malignant=("mel",), fingerprint="f" * 64, images={},
    )  # fmt: skip
    config = RunConfig(settings=Settings(stages=(Stage(name="head", epochs=1),)), dataset=reference)
    info = DatasetInfo(name="set", source="test", classes=CLASSES, malignant=("mel",))
    table = pd.DataFrame(columns=list(COLUMNS))
    data = predictions()
    return Subject(
        title="run", part="valid", predictions=data, out=tmp_path, malignant=("mel",),
        dataset=Dataset(tmp_path / "data", table, info), run=Run(tmp_path / "run", config),
        chooser=("valid", data),
    )  # fmt: skip


def seen(subject: Subject, folder: Path) -> None:
    """What `evaluate`, `explain` and `repeat` do before they show anything of test."""
    assert subject.dataset is not None
    ledger.record_test_access(subject.dataset.folder, "renamed since", {}, (folder,))


def refused(subject: Subject) -> None:
    with pytest.raises(BadInput, match="its operating point is locked"):
        operating_points(subject, Choice(policy="youden"))
    assert operating_points(subject, Choice())[0], "the default is nobody's choice"


def test_the_default_is_chosen_until_a_point_is_stored(subject: Subject) -> None:
    assert subject.run is not None
    (point,), refusal = operating_points(subject, Choice())
    assert (point.policy, point.target, refusal) == ("sensitivity_bound", 0.95, "")
    (other,), _ = operating_points(subject, Choice(policy="youden"))
    store_points(subject.run.folder, [other])
    assert stored_points(subject.run.folder) == [other]
    assert operating_points(subject, Choice())[0] == [other]


@pytest.mark.parametrize("lost", [ledger.LEDGER, ledger.TEST_ACCESS])
def test_either_record_locks(subject: Subject, lost: str) -> None:
    assert subject.run is not None
    assert subject.dataset is not None
    seen(subject, subject.run.folder)
    refused(subject)
    folder = subject.dataset.folder if lost == ledger.LEDGER else subject.run.folder
    (folder / lost).unlink()
    refused(subject)


def test_without_the_data_set_the_runs_record_is_asked(subject: Subject) -> None:
    assert subject.run is not None
    seen(subject, subject.run.folder)
    refused(dataclasses.replace(subject, dataset=None))


def test_other_weights_do_not_lock(subject: Subject, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / BEST).write_bytes(b"other weights")
    seen(subject, other)
    assert operating_points(subject, Choice(policy="youden"))[0]
