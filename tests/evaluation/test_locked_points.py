"""May the threshold still be chosen? The run's own record and the ledger: either locks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab import files
from lesionlab.config import Settings, Stage
from lesionlab.data import ledger
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo
from lesionlab.errors import BadInput
from lesionlab.evaluation import locked_points
from lesionlab.evaluation.locked_points import (
    TEST_RECORDS,
    Choice,
    operating_points,
    store_points,
    stored_points,
)
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.run import BEST, DatasetReference, Run, RunConfig

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


def opened(subject: Subject, **entry: Any) -> None:
    """An access to test, as `evaluate`, `explain` and `repeat` record it."""
    assert subject.dataset is not None
    ledger.append(
        subject.dataset.folder, {"event": "opened", "split": "test", "result": "", **entry}
    )


def weights(subject: Subject) -> str:
    assert subject.run is not None
    return files.sha256_file(subject.run.folder / BEST)


def refused(subject: Subject, where: str) -> None:
    with pytest.raises(BadInput, match=rf"{where}.*its operating point stays as it is"):
        operating_points(subject, Choice(policy="youden"))


def test_the_default_is_chosen_until_a_point_is_stored(subject: Subject) -> None:
    assert subject.run is not None
    (point,), refusal = operating_points(subject, Choice())
    assert (point.policy, point.target, refusal) == ("sensitivity_bound", 0.95, "")
    (other,), _ = operating_points(subject, Choice(policy="youden"))
    store_points(subject.run.folder, [other])
    assert stored_points(subject.run.folder) == [other]
    assert operating_points(subject, Choice())[0] == [other]


@pytest.mark.parametrize("record", TEST_RECORDS)
def test_the_runs_own_record_locks(subject: Subject, record: str) -> None:
    assert subject.run is not None
    files.write_json(subject.run.folder / record, {})
    refused(subject, record)
    assert operating_points(subject, Choice())[0]  # the default is nobody's choice


@pytest.mark.parametrize("several", [False, True])
def test_the_ledger_locks_whatever_the_run_is_called(subject: Subject, several: bool) -> None:
    model = weights(subject)
    named: dict[str, Any] = {"models": ["0" * 64, model]} if several else {"model": model}
    opened(subject, run="renamed since", **named)
    refused(subject, "ledger.jsonl, line 1")


def test_other_weights_and_other_parts_do_not_lock(subject: Subject) -> None:
    opened(subject, run="run", model="0" * 64)
    assert subject.dataset is not None
    ledger.append(subject.dataset.folder, {"event": "split", "model": weights(subject)})
    assert operating_points(subject, Choice(policy="youden"))[0]


def test_an_entry_without_weights_locks_by_name(subject: Subject) -> None:
    opened(subject, run="another")
    assert operating_points(subject, Choice(policy="youden"))[0]
    opened(subject, run="run")
    refused(subject, "ledger.jsonl, line 2")


def test_without_the_data_set_the_runs_record_is_asked(subject: Subject) -> None:
    import dataclasses

    opened(subject, run="run", model=weights(subject))
    assert subject.run is not None
    alone = dataclasses.replace(subject, dataset=None)
    assert locked_points.test_access(subject.run, None) == ""
    assert operating_points(alone, Choice(policy="youden"))[0]
    files.write_json(subject.run.folder / TEST_RECORDS[0], {})
    refused(alone, TEST_RECORDS[0])
