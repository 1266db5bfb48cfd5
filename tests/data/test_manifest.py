"""The dataset folder as it is written and read, and each way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.manifest import (
    COLUMNS,
    MANIFEST,
    Dataset,
    DatasetInfo,
    group_ids,
    read_dataset,
    with_table,
    write_dataset,
)
from lesionlab.errors import BadInput

CLASSES = ("mel", "nv")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four images in two parts, written; "c" knows nothing but its label."""
    rows = [
        {"image_id": "b", "label": "mel", "split": "train", "age": 40.0, "lesion_id": "L1"},
        {"image_id": "a", "label": "nv", "split": "train", "age": 0.0, "patient_id": "P1"},
        {"image_id": "d", "label": "nv", "split": "test", "age": 71.5, "lesion_id": "L1"},
        {"image_id": "c", "label": "mel", "split": "test"},
    ]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype(object)
    numbers = {"age", "roi_x", "roi_y", "roi_size", "width", "height"}
    table = table.fillna({c: "" for c in COLUMNS if c not in numbers})
    table = table.assign(width=64, height=48, extra=["x", "", "y", "z"])
    info = DatasetInfo(name="set", source="test", classes=CLASSES, malignant=("mel",))
    made = Dataset(tmp_path, table, info)
    write_dataset(made)
    return made


def test_what_is_written_is_read(dataset: Dataset) -> None:
    found = read_dataset(dataset.folder)
    assert found.info == dataset.info
    assert list(found.table.columns) == [*COLUMNS, "extra"]
    assert list(found.table["extra"]) == ["x", "", "y", "z"]
    assert found.table["width"].tolist() == [64] * 4
    write_dataset(found)
    assert read_dataset(dataset.folder).table.equals(found.table)


def test_an_absent_number_is_nan_and_zero_stays_zero(dataset: Dataset) -> None:
    found = read_dataset(dataset.folder).table
    assert found["age"].tolist()[:3] == [40.0, 0.0, 71.5]
    assert np.isnan(found["age"].iloc[3])
    assert found["roi_x"].isna().all()
    assert found["patient_id"].tolist() == ["", "P1", "", ""]


def test_parts_and_class_indices(dataset: Dataset) -> None:
    found = read_dataset(dataset.folder)
    assert found.part("test")["image_id"].tolist() == ["d", "c"]
    assert found.label_indices(found.part("test")).tolist() == [1, 0]
    with pytest.raises(BadInput, match=r"no images in split 'tset'.*'test'"):
        found.part("tset")
    with pytest.raises(BadInput, match=r"has not been split.*lesionlab split"):
        with_table(found, found.table.assign(split="")).part("test")


def test_the_group_is_the_patient_else_the_lesion_else_the_image(dataset: Dataset) -> None:
    wanted = ["lesion:L1", "patient:P1", "lesion:L1", "image:c"]
    assert group_ids(dataset.table).tolist() == wanted


def test_another_table_leaves_the_first_as_it_was(dataset: Dataset) -> None:
    other = with_table(dataset, dataset.table.head(1), leaky=True, leak_reason="a test")
    assert (len(other.table), other.info.leaky) == (1, True)
    assert (len(dataset.table), dataset.info.leaky) == (4, False)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("image_id", "a", "image_id 'a' is repeated"),
        ("label", "nvv", "label 'nvv' in row 2 is not a class.*'nv'"),
        ("split", "validation", "split 'validation' in row 2 is none of train, valid, test, calib"),
        ("age", "forty", "age 'forty' in row 2 is not a number"),
        ("height", "tall", "height 'tall' in row 2 is not a whole number"),
    ],
)
def test_a_wrong_cell_is_named(dataset: Dataset, column: str, value: str, said: str) -> None:
    path = dataset.folder / "manifest.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(BadInput, match=said):
        read_dataset(dataset.folder)


def test_a_missing_column_and_a_table_without_rows(dataset: Dataset) -> None:
    path = dataset.folder / "manifest.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.head(0).to_csv(path, index=False)
    with pytest.raises(BadInput, match="no rows"):
        read_dataset(dataset.folder)
    table.rename(columns={"lesion_id": "lesion"}).to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"column 'lesion_id' is missing.*'lesion'"):
        read_dataset(dataset.folder)
    path.write_bytes(b"image_id\n\xff\xfe")
    with pytest.raises(BadInput, match="not a readable CSV"):
        read_dataset(dataset.folder)
    path.unlink()
    with pytest.raises(BadInput, match="no such file"):
        read_dataset(dataset.folder)


def test_a_wrong_description_is_named(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.folder / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "schema_version": 99}))
    with pytest.raises(BadInput, match=r"schema_version 99 is newer than 1.*upgrade"):
        read_dataset(dataset.folder)
    path.write_text(json.dumps({**content, "classes": 3}))
    with pytest.raises(BadInput, match=r"classes: "):
        read_dataset(dataset.folder)
    path.write_text(json.dumps({**content, "colour": "red"}))
    with pytest.raises(BadInput, match=r"colour: "):
        read_dataset(dataset.folder)
    with pytest.raises(BadInput, match=r"not a dataset folder.*lesionlab import"):
        read_dataset(tmp_path / "elsewhere")


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


def test_a_size_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    table = pd.read_csv(tmp_path / MANIFEST, dtype=str, keep_default_na=False)
    table.loc[1, "width"] = "600.5"
    table.to_csv(tmp_path / MANIFEST, index=False)
    with pytest.raises(BadInput, match=r"width '600\.5' in row 3 is not a whole number"):
        read_dataset(tmp_path)


def test_in_order_sorts_by_image_id_and_rows_of_counts_there(tmp_path: Path) -> None:
    dataset = written(tmp_path, split=["test", "train", "test"]).in_order()
    assert dataset.table["image_id"].tolist() == ["a", "b", "c"]
    assert dataset.table.index.tolist() == [0, 1, 2]
    assert dataset.rows_of("test").tolist() == [1, 2]
    with pytest.raises(BadInput, match="no images in split 'valid'"):
        dataset.rows_of("valid")
