"""How predictions are joined to the rows of a data set, and what is refused before any work."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab import files
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset, DatasetInfo
from lesionlab.data.masks import LesionMasks
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.methods import ExplainedNetwork
from lesionlab.explanation.session import ExplainOptions, ExplainSession, _rows_of, open_session
from lesionlab.training.members import ENSEMBLE

SIDE = 16
HOW = Preprocessing(size=SIDE, channels=1, mean=(0.0,), std=(1.0,))
NOTHING: Any = SimpleNamespace()


def dataset(folder: Path) -> Dataset:
    table = pd.DataFrame({"image_id": ["0", "1", "2", "3"], "label": ["b", "a", "b", "a"]})
    return Dataset(folder, table, DatasetInfo(name="s", source="here", classes=("a", "b")))


def predictions(*names: str) -> Predictions:
    ids, none = np.array(names, object), np.array([""] * len(names), object)
    prob = np.tile([0.3, 0.7], (len(names), 1))
    return Predictions(ids, none, none, ("a", "b"), np.zeros(len(names), np.int64), prob)


def session(folder: Path, rows: list[int], masked: tuple[int, ...] | None) -> ExplainSession:
    """Pixels that hold their row's number; masks of `masked`, lit in the upper half."""
    array = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, SIDE, SIDE, 1), np.uint8
    )
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[: SIDE // 2] = 255
    content = _png(picture)
    masks = None
    if masked is not None:
        readers = tuple((lambda: content) if k in masked else None for k in range(4))
        masks = LesionMasks(readers, (None,) * 4, (None,) * 4, HOW)
    subject = ExplainedNetwork(NOTHING, CachedPixels(array), HOW)
    return ExplainSession(
        NOTHING, dataset(folder), predictions(*map(str, rows)), None, subject,
        np.array(rows, np.int64), np.array(list("pqrs"), object), masks, ExplainOptions(),
    )  # fmt: skip


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_rows_follow_the_predictions_and_not_the_table(tmp_path: Path) -> None:
    assert _rows_of(predictions("2", "0", "3"), dataset(tmp_path)).tolist() == [2, 0, 3]
    assert _rows_of(predictions(), dataset(tmp_path)).tolist() == []


def test_ids_that_were_read_as_numbers_are_found(tmp_path: Path) -> None:
    table = predictions("2", "0")
    table.image_id[:] = [2, 0]
    assert _rows_of(table, dataset(tmp_path)).tolist() == [2, 0]


def test_the_first_image_that_is_not_in_the_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="image 'x9' of the predictions is not in the data set"):
        _rows_of(predictions("1", "x9", "y9"), dataset(tmp_path))


def test_classes_are_those_of_the_data_set_in_its_order(tmp_path: Path) -> None:
    found = session(tmp_path, [3, 0], None)
    assert found.y.tolist() == [1, 0, 1, 0]
    assert found.predicted.tolist() == [1, 1]


def test_places_count_in_the_predictions_and_masks_in_the_table(tmp_path: Path) -> None:
    found = session(tmp_path, [3, 0, 2], masked=(2, 3, 1))
    assert found.views(np.array([2, 0]))[:, 0, 0, 0].tolist() == [2, 3]
    assert found.masked_rows.tolist() == [3, 2]
    assert found.mask(1) is None
    mask = found.mask(2)
    assert mask is not None
    assert mask.tolist() == [[True] * SIDE] * 8 + [[False] * SIDE] * 8


def test_without_masks_no_row_has_one(tmp_path: Path) -> None:
    found = session(tmp_path, [3, 0], None)
    assert found.masked_rows.tolist() == []
    assert found.mask(0) is None


def test_an_ensemble_is_refused_before_any_work(tmp_path: Path) -> None:
    files.write_text(tmp_path / ENSEMBLE, "{}")
    run: Any = SimpleNamespace(folder=tmp_path)
    with pytest.raises(BadInput, match="no single network to explain") as refusal:
        open_session(run, NOTHING, NOTHING, None, ExplainOptions())
    assert "explain its members" in str(refusal.value)
