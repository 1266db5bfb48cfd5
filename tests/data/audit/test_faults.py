"""Each planted fault is found, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import pictures
from helpers.audits import by_key, copy_of, twin_in_test
from lesionlab.api import audit as verb
from lesionlab.data.audit import DROPPABLE, LOOKED_FOR, Audit, audit_dataset
from lesionlab.data.audit.inventory import grids
from lesionlab.data.manifest import Dataset, read_dataset, with_table, write_dataset
from lesionlab.data.sources import ham10000
from lesionlab.errors import BadInput


def test_a_clean_set_reports_no_fault(clean_audit: Audit) -> None:
    assert not clean_audit.fails
    assert {f.key for f in clean_audit.findings if f.severity in ("error", "warning")} == set()
    assert set(by_key(clean_audit)) == {"gaps", "artefacts", "shortcuts"}  # always told
    assert by_key(clean_audit)["shortcuts"].count == 0
    assert not set(by_key(clean_audit)) & set(LOOKED_FOR)


# Each fault changes the rows and files of a copy of the clean set; then this key is found.
Row = dict[str, object]


def with_cell(column: str, value: object, row: int = 5) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return fault


def new_bytes(data: Callable[[bytes], bytes]) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        path = folder / str(table.loc[5, "path"])
        path.write_bytes(data(path.read_bytes()))
        return table

    return fault


def picture_in_row(image: Image.Image) -> Callable[..., pd.DataFrame]:
    def fault(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        row = dict(table.loc[5])
        pictures.add_file(folder, row, pictures.encoded(image))
        table.loc[5] = row
        return table

    return fault


def conflicting_twin(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    table = twin_in_test(folder, table, "near")
    table.loc[len(table) - 1, "split"] = "train"
    first = table[table["split"] == "train"].iloc[3]["label"]
    table.loc[len(table) - 1, "label"] = {"nevus": "melanoma", "melanoma": "nevus"}[first]
    return table


def extra_file(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    (folder / "images" / "stray.png").write_bytes(pictures.encoded(pictures.skin(777)))
    return table


def missing_file(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    (folder / str(table.loc[5, "path"])).unlink()
    return table


def same_patient(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    tests = table.index[table["split"] == "test"]
    table.loc[tests, "patient_id"] = table["patient_id"][table["split"] == "train"].iloc[0]
    table.loc[tests, "sex"] = table["sex"][table["split"] == "train"].iloc[0]
    return table


def same_lesion(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    row = table[table["split"] == "train"].iloc[0]
    tests = table.index[table["split"] == "test"][:1]
    table["patient_id"] = ""
    table.loc[tests, ["lesion_id", "label"]] = [row["lesion_id"], row["label"]]
    return table


def small_class(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    keep = (table["label"] == "nevus") | (table["label"] == "melanoma").cumsum().lt(4)
    return table[keep].reset_index(drop=True)


FAULTS: dict[str, tuple[str, bool, Callable[..., pd.DataFrame]]] = {
    # name: (key that must be found, whether --strict fails, the fault)
    "the same file twice": ("duplicates_bytes", True, lambda f, t: twin_in_test(f, t, "bytes")),
    "the same pixels": ("duplicates_pixels", True, lambda f, t: twin_in_test(f, t, "pixels")),
    "a turned, re-encoded twin": ("duplicates_near", True, lambda f, t: twin_in_test(f, t, "near")),
    "a twin in the test part": ("leak_test", True, lambda f, t: twin_in_test(f, t, "near")),
    "a picture with two labels": ("label_conflict_image", True, conflicting_twin),
    "a lesion with two labels": ("label_conflict_lesion", True, lambda f, t: _relabel(t)),
    "a patient of two sexes": ("sex_conflict_patient", False, lambda f, t: _resex(t)),
    "a patient on both sides": ("leak_test", True, same_patient),
    "a lesion on both sides": ("leak_test", True, same_lesion),
    "half a JPEG": ("unreadable", False, new_bytes(lambda b: b[: len(b) // 2])),
    "an empty file": ("unreadable", False, new_bytes(lambda b: b"")),
    "a text named .jpg": ("unreadable", False, new_bytes(lambda b: b"no image")),
    "a missing file": ("unreadable", False, missing_file),
    "another file under the name": (
        "changed",
        False,
        new_bytes(lambda b: pictures.encoded(pictures.skin(888), "JPEG")),
    ),
    "a blank image": ("blank", False, picture_in_row(Image.new("RGB", (160, 120), (90, 90, 90)))),
    "a tiny image": ("tiny", False, picture_in_row(pictures.skin(5, 40, 30))),
    "a stray file": ("orphans", False, extra_file),
    "an index column": ("index_column", False, lambda f, t: t.assign(Unnamed=range(len(t)))),
    "a suffix in an id": ("suffixed_ids", False, with_cell("image_id", "I-x.jpg")),
    "a column that holds the answer": (
        "post_diagnosis",
        False,
        lambda f, t: t.assign(dx_type=np.where(t["label"] == "nevus", "follow_up", "histo")),
    ),
    "a class of three": ("small_classes", False, small_class),
}


def _relabel(table: pd.DataFrame) -> pd.DataFrame:
    other = {"nevus": "melanoma", "melanoma": "nevus"}[table.loc[0, "label"]]
    table.loc[0, "label"] = other
    return table


def _resex(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[0, "sex"] = "male" if table.loc[0, "sex"] == "female" else "female"
    return table


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, clean: Dataset, tmp_path: Path) -> None:
    key, fails, plant = FAULTS[fault]
    dataset = copy_of(clean, tmp_path / "set")
    dataset = with_table(dataset, plant(dataset.folder, dataset.table.copy()))
    write_dataset(dataset)
    audit = audit_dataset(read_dataset(dataset.folder))
    found = by_key(audit)
    assert key in found
    assert audit.fails == fails
    assert found[key].why or key in ("changed",)
    assert found[key].count
    assert {f.key for f in audit.findings if f.drop} <= set(DROPPABLE)
    assert json.loads(json.dumps(audit.to_json(), allow_nan=False))["findings"]


def test_only_rows_that_a_finding_names_are_removed(clean: Dataset, tmp_path: Path) -> None:
    dataset = copy_of(clean, tmp_path / "set")
    dataset = with_table(dataset, twin_in_test(dataset.folder, dataset.table.copy(), "bytes"))
    write_dataset(dataset)
    assert set(DROPPABLE) >= {f.key for f in audit_dataset(dataset).findings if f.drop}
    with pytest.raises(BadInput, match="did you mean 'duplicates_bytes'"):
        verb.audit(dataset.folder, drop="duplicate_bytes")
    with pytest.raises(BadInput, match="'blank' was not found here"):
        verb.audit(dataset.folder, drop="blank")
    told = verb.audit(dataset.folder, drop="duplicates_bytes", out=tmp_path / "out")
    assert told["dropped"] == 1
    assert (tmp_path / "out" / "audit.html").is_file()
    left = read_dataset(dataset.folder)
    assert len(left.table) == len(dataset.table) - 1
    assert left.info.counts["rejected"][-1]["reason"] == "removed by audit: duplicates_bytes"
    assert "leak_test" not in by_key(audit_dataset(left))


def test_counts_that_are_not_the_published_ones(clean: Dataset) -> None:
    names = {"nevus": "nv", "melanoma": "mel"}
    table = clean.table.assign(label=clean.table["label"].map(names), source="ham10000")
    dataset = with_table(clean, table, source="ham10000", classes=ham10000.CLASSES)
    counts = by_key(audit_dataset(dataset))["published_counts"]
    assert "10015" in counts.grids[0].rows[0][0]
    chosen = with_table(dataset, table, counts={"expected": {}})  # only a part was asked for
    assert "published_counts" not in by_key(audit_dataset(chosen))


def test_the_inventory_counts_everything(clean: Dataset, clean_audit: Audit) -> None:
    stock = clean_audit.inventory
    assert stock["images"] == len(clean.table) == 64
    assert stock["lesions"] == stock["patients"] == stock["groups"] == 48
    assert sum(c["images"] for c in stock["classes"].values()) == 64
    for words in stock["by"].values():
        assert sum(n for counts in words.values() for n in counts.values()) == 64
    assert list(stock["by"]["split"]) == ["train", "valid", "test"]
    assert stock["sizes"] == {"160 x 120": 64}
    assert sum(stock["aspects"].values()) == 64
    titles = [g.caption for g in grids(stock)]
    assert titles[0] == "Classes"
    assert "By split" in titles
    assert "By skin type" not in titles
