from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.api.merge import merge
from lesionlab.api.split import split
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import (
    COLUMNS,
    Dataset,
    DatasetInfo,
    read_dataset,
    write_dataset,
)
from lesionlab.errors import BadInput
from lesionlab.files import sha256_file

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(name, classes, rows)`: a dataset folder; a row is (id, label, picture, extra)."""

    def build(name: str, classes: tuple[str, ...], rows: list[tuple], **info: object) -> Path:  # type: ignore[type-arg]
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        table = []
        for image_id, label, seed, extra in rows:
            path = folder / "images" / f"{image_id}.png"
            pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
            Image.fromarray(pixels).save(path)
            table.append({"image_id": image_id, "label": label, "path": f"images/{image_id}.png",
                          "source": name, "sha256": sha256_file(path), **extra})  # fmt: skip
        frame = pd.DataFrame(table).reindex(
            columns=[*COLUMNS, *sorted({k for r in table for k in r} - set(COLUMNS))]
        )
        numbers = ("roi_x", "roi_y", "roi_size", "age", "width", "height")
        text = [c for c in frame if c not in numbers]
        frame[text] = frame[text].astype(object).fillna("")
        frame[["width", "height"]] = (16, 12)
        write_dataset(Dataset(folder, frame, DatasetInfo(name=name, source=name, classes=classes,
                                                         **info)))  # type: ignore[arg-type]  # fmt: skip
        return folder

    return build


def test_labels_meet_in_the_taxonomy_and_sources_stay(make: Make, tmp_path: Path) -> None:
    a = make("ham10000", ("mel", "nv"), [("ISIC_1", "mel", 1, {}), ("ISIC_2", "nv", 2, {})],
             malignant=("mel",), licence="X")  # fmt: skip
    b = make("pad-ufes-20", ("ACK", "NEV"), [("PAT_1", "ACK", 3, {}), ("PAT_2", "NEV", 4, {})],
             malignant=("ACK",), licence="Y")  # fmt: skip
    told = merge([a, b], tmp_path / "c")
    dataset = read_dataset(tmp_path / "c")
    assert told["classes"] == {"AKIEC": 1, "MEL": 1, "NV": 2}
    assert dataset.info.malignant == ("AKIEC", "MEL")
    assert told["sources"] == {"ham10000": 2, "pad-ufes-20": 2}
    assert dataset.info.licence == "X; Y"
    assert all((tmp_path / "c" / p).is_file() for p in dataset.table["path"])
    assert list(dataset.table["source_label"]) == ["mel", "nv", "ACK", "NEV"]
    merge([a, b], tmp_path / "d", labels="malignancy")
    assert read_dataset(tmp_path / "d").info.classes == ("benign", "malignant")


def test_the_same_picture_stays_once_and_learns_what_it_did_not_know(
    make: Make, tmp_path: Path
) -> None:
    a = make("isic2017", ("mel", "nv"), [("ISIC_1", "mel", 1, {}), ("ISIC_2", "nv", 2, {})])
    b = make("isic2019", ("mel", "nv"), [
        ("ISIC_1_downsampled", "mel", 7, {"lesion_id": "IL_1", "age": 40.0}),  # other bytes
        ("other", "nv", 2, {"lesion_id": "IL_2"}),  # the same bytes
        ("ISIC_9", "nv", 9, {"lesion_id": "IL_1"}),
    ])  # fmt: skip
    told = merge([a, b], tmp_path / "c")
    table = read_dataset(tmp_path / "c").table.set_index("image_id")
    assert sorted(table.index) == ["ISIC_1", "ISIC_2", "ISIC_9"]
    assert told["united"] == 2
    assert (table.loc["ISIC_1", "lesion_id"], table.loc["ISIC_1", "age"]) == ("IL_1", 40)
    assert list(table["also_in"]) == ["isic2019", "isic2019", ""]
    groups = dict(zip(table.index, united_groups(table.reset_index()), strict=True))
    assert groups["ISIC_1"] == groups["ISIC_9"] != groups["ISIC_2"]


def test_a_united_picture_ties_the_lesions_of_both_sets(make: Make, tmp_path: Path) -> None:
    a = make("a", ("mel", "nv"), [("x", "nv", 1, {"lesion_id": "1"}),
                                  ("y", "nv", 2, {"lesion_id": "1"})])  # fmt: skip
    b = make("b", ("mel", "nv"), [("u", "nv", 1, {"lesion_id": "1"}),
                                  ("v", "nv", 3, {"lesion_id": "1"}),
                                  ("w", "mel", 4, {"lesion_id": "2"})])  # fmt: skip
    merge([a, b], tmp_path / "c")
    table = read_dataset(tmp_path / "c").table
    groups = dict(zip(table["image_id"], united_groups(table), strict=True))
    assert groups["x"] == groups["y"] == groups["v"] != groups["w"]


def test_local_ids_of_two_sets_are_not_confused(make: Make, tmp_path: Path) -> None:
    row = {"patient_id": "1", "lesion_id": "1"}
    a = make("a", ("mel", "nv"), [("1", "nv", 1, row)])
    b = make("b", ("mel", "nv"), [("1", "nv", 2, row), ("2", "mel", 3, {})])
    merge([a, b], tmp_path / "c")
    table = read_dataset(tmp_path / "c").table
    assert sorted(table["image_id"]) == ["2", "a-1", "b-1"]
    assert len(set(united_groups(table))) == 3


def test_two_labels_for_one_picture_leave_it_out(make: Make, tmp_path: Path) -> None:
    a = make("a", ("mel", "nv"), [("ISIC_1", "mel", 1, {}), ("ISIC_2", "nv", 2, {})])
    b = make("b", ("mel", "nv"), [("ISIC_1", "nv", 5, {}), ("ISIC_3", "mel", 3, {})])
    told = merge([a, b], tmp_path / "c")
    assert told["conflicts"] == ["ISIC_1"]
    assert sorted(read_dataset(tmp_path / "c").table["image_id"]) == ["ISIC_2", "ISIC_3"]
    assert told["rejected"] == [{"path": "ISIC_1", "reason": "the sets label it differently"}]


def test_regions_of_one_film_are_not_united(make: Make, tmp_path: Path) -> None:
    region = {"roi_x": 5.0, "roi_y": 5.0, "roi_size": 4.0}
    a = make("a", ("benign", "malignant"), [("f", "benign", 1, region)])
    b = make("b", ("benign", "malignant"), [("g", "malignant", 1, {**region, "roi_x": 9.0})])
    merge([a, b], tmp_path / "c")
    table = read_dataset(tmp_path / "c").table
    assert len(table) == 2
    assert len(set(united_groups(table))) == 1


def test_a_merged_set_can_be_split_by_source(make: Make, tmp_path: Path) -> None:
    rows = [(f"i{n}", ("mel", "nv")[n % 2], n, {}) for n in range(12)]
    a, b = make("a", ("mel", "nv"), rows[:6]), make("b", ("mel", "nv"), rows[6:])
    merge([a, b], tmp_path / "c")
    told = split(tmp_path / "c", leave_out="b", valid=0.34)
    assert told["test"]["images"] == 6


def test_patients_of_two_tables_stay_two_people(make: Make, tmp_path: Path) -> None:
    rows = [
        (f"i{n}", ("mel", "nv")[n % 2], n, {"source": "csv", "patient_id": str(n % 3)})
        for n in range(12)
    ]
    a, b = make("a", ("mel", "nv"), rows[:6]), make("b", ("mel", "nv"), rows[6:])
    merge([a, b], tmp_path / "c")
    table = read_dataset(tmp_path / "c").table
    assert set(table["source"]) == {"csv", "csv-2"}
    assert table["patient_id"].nunique() == 6
    told = split(tmp_path / "c", leave_out="csv-2", valid=0.34)
    assert told["test"]["images"] == 6
    with pytest.raises(BadInput, match="the only source"):
        split(a, leave_out="csv")


def test_what_cannot_be_merged_is_refused(make: Make, tmp_path: Path) -> None:
    a = make("a", ("mel", "nv"), [("x", "nv", 1, {})])
    b = make("b", ("foo", "nv"), [("y", "foo", 2, {})])
    with pytest.raises(BadInput, match="does not know what class 'foo'"):
        merge([a, b], tmp_path / "c")
    with pytest.raises(BadInput, match="different classes"):
        merge([a, b], tmp_path / "c", labels="same")
    with pytest.raises(BadInput, match="at least two"):
        merge([a], tmp_path / "c")
    with pytest.raises(BadInput, match="no labels 'best'"):
        merge([a, a], tmp_path / "c", labels="best")
    assert not (tmp_path / "c").exists()
