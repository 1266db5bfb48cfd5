"""Reading and writing a manifest: what is absent stays absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.manifest import (
    COLUMNS,
    MANIFEST,
    Dataset,
    DatasetInfo,
    read_dataset,
    write_dataset,
)
from lesionlab.errors import BadInput


def written(folder: Path, **columns: list[str]) -> Dataset:
    """A data set of three images, as it is read back."""
    rows = {"image_id": ["c", "a", "b"], "label": ["x", "y", "x"], **columns}
    table = pd.DataFrame({name: rows.get(name, [""] * 3) for name in COLUMNS})
    folder.mkdir(exist_ok=True)
    info = DatasetInfo(name="d", source="test", classes=("x", "y"))
    write_dataset(Dataset(folder, table, info))
    return read_dataset(folder)


def test_an_absent_size_stays_empty_and_a_known_one_stays_whole(tmp_path: Path) -> None:
    dataset = written(tmp_path, width=["600", "", "450"], height=["450", "", ""])
    assert dataset.table["width"].isna().tolist() == [False, True, False]
    assert np.isnan(dataset.table["height"][2])
    before = (tmp_path / MANIFEST).read_bytes()
    write_dataset(dataset)
    assert (tmp_path / MANIFEST).read_bytes() == before
    cells = pd.read_csv(tmp_path / MANIFEST, dtype=str, keep_default_na=False)
    assert cells["width"].tolist() == ["600", "", "450"]


def test_a_zero_of_version_0_1_0_is_read_as_absent(tmp_path: Path) -> None:
    dataset = written(tmp_path, width=["0", "600", "0"])
    assert dataset.table["width"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("width", "600.5", "width '600.5' in row 3 is not a whole number"),
        ("height", "tall", "height 'tall' in row 3 is not a whole number"),
        ("age", "old", "age 'old' in row 3 is not a number"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, column: str, value: str, told: str) -> None:
    written(tmp_path)
    table = pd.read_csv(tmp_path / MANIFEST, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(tmp_path / MANIFEST, index=False)
    with pytest.raises(BadInput, match=told):
        read_dataset(tmp_path)


def test_in_order_sorts_by_image_id_and_rows_of_counts_there(tmp_path: Path) -> None:
    dataset = written(tmp_path, split=["test", "train", "test"]).in_order()
    assert dataset.table["image_id"].tolist() == ["a", "b", "c"]
    assert dataset.table.index.tolist() == [0, 1, 2]
    assert dataset.rows_of("test").tolist() == [1, 2]
    with pytest.raises(BadInput, match="no images in part 'valid'"):
        dataset.rows_of("valid")
