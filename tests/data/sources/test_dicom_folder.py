from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from pydicom.dataset import Dataset

from helpers.dicom_files import dicom_file
from lesionlab.api.split import split
from lesionlab.data.importing import import_source
from lesionlab.data.sources.table import source_named

RNG = np.random.default_rng(0)


def picture(**tags: Any) -> bytes:
    pixels = RNG.integers(0, 4096, (24, 20)).astype(np.uint16)
    return dicom_file(pixels, BitsStored=12, Modality="MG", BurnedInAnnotation="NO", **tags)


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Any]:
    def make(files: dict[str, bytes], source: str | None = "dicom") -> Any:
        for name, data in files.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        kind = source_named(source) if source else None
        return import_source(kind, tmp_path / "src", tmp_path / "out", max_rejected=0.5)

    return make


@pytest.mark.parametrize("source", ["dicom", None])
def test_files_are_known_by_their_bytes(imported: Callable[..., Any], source: str | None) -> None:
    """Named by UID, without suffix, below a folder with a dot, in capitals, without preamble."""
    names = ["1.2.840.1137.10.7", "1.2.840.1137.10.70.dcm", "case.1/IM0001", "case.2/IM0001",
             "A.DCM", "B.ima", "00000001"]  # fmt: skip
    files = {f"{label}/{n}": picture(PatientID=f"{label}{n}") for n in names
             for label in ("benign", "malignant")}  # fmt: skip
    files["benign/bare"] = dicom_file(np.eye(16, dtype=np.uint8), preamble=None, PatientID="b")
    files |= {"DICOMDIR": b"x", "benign/readme.txt": b"no", "benign/notes": b"no DICOM"}
    dataset = imported(files, source)
    assert dataset.info.source == "dicom"
    assert len(dataset.table) == 2 * len(names) + 1
    assert dataset.info.counts["rejected"] == []
    assert dataset.table["image_id"].is_unique


def test_what_holds_no_picture_is_counted(imported: Callable[..., Any]) -> None:
    report = dicom_file(np.eye(16, dtype=np.uint8), Modality="SR", PixelData=b"\0\0", Rows=None)
    files = {f"{label}/{n}": picture(PatientID=f"{label}{n}") for n in range(2)
             for label in ("benign", "malignant")}  # fmt: skip
    dataset = imported({**files, "benign/report": report})
    assert len(dataset.table) == 4
    assert "1 DICOM file holds no picture (SR 1): left out" in dataset.info.notes
    assert dataset.info.counts["rejected"] == []


def both(n: int, **tags: Any) -> tuple[bytes, bytes]:
    """A view FOR PRESENTATION and FOR PROCESSING."""
    shared = {"PatientID": f"P{n}", "ImageLaterality": "L", "ViewPosition": "CC", **tags}
    return (picture(PresentationIntentType="FOR PRESENTATION", **shared),
            picture(PresentationIntentType="FOR PROCESSING", **shared))  # fmt: skip


def test_of_a_view_the_presented_picture_is_kept(imported: Callable[..., Any]) -> None:
    files = {}
    for n in range(4):
        label = ("benign", "malignant")[n % 2]
        files[f"{label}/{n}a"], files[f"{label}/{n}b"] = both(n)
    dataset = imported(files)
    assert sorted(dataset.table["image_id"]) == ["0a", "1a", "2a", "3a"]
    assert set(dataset.table["intent"]) == {"for presentation"}
    assert any(n.startswith("4 images are FOR PROCESSING and left out") for n in dataset.info.notes)
    assert dataset.info.counts["rejected"] == []


def test_a_raw_view_is_known_by_what_was_made_of_it(imported: Callable[..., Any]) -> None:
    """Without side and view the presented file names its source; else the file names tell."""
    source = Dataset()
    source.ReferencedSOPInstanceUID = "1.2.77"
    made = picture(PresentationIntentType="FOR PRESENTATION", SourceImageSequence=[source])
    raw = picture(PresentationIntentType="FOR PROCESSING", SOPInstanceUID="1.2.77")
    other = picture(PresentationIntentType="FOR PROCESSING", SOPInstanceUID="1.2.78")
    named = {
        f"malignant/{n}_{kind}.dcm": picture(PresentationIntentType=f"FOR {word}", PatientID="")
        for n in (1, 2)
        for kind, word in (("PRES", "PRESENTATION"), ("RAW", "PROCESSING"))
    }
    dataset = imported({"benign/a": made, "benign/b": raw, "benign/c": other, **named})
    assert sorted(dataset.table["image_id"]) == ["1_PRES", "2_PRES", "a", "c"]
    assert any(n.startswith("3 images are FOR PROCESSING and left") for n in dataset.info.notes)
    assert any(n.startswith("WARNING: 1 image is FOR PROCESSING, raw") for n in dataset.info.notes)


@pytest.mark.parametrize("word", ["ANONYMOUS", "removed", "STUDY7"])
def test_one_patient_id_for_everybody(
    imported: Callable[..., Any], word: str, tmp_path: Path
) -> None:
    files = {f"{label}/{n}": picture(PatientID=word) for n in range(6)
             for label in ("benign", "malignant")}  # fmt: skip
    dataset = imported(files)
    assert set(dataset.table["patient_id"]) == {""}
    (warning,) = [n for n in dataset.info.notes if n.startswith("WARNING: PatientID")]
    assert "images of one patient may cross the splits" in warning
    parts = split(tmp_path / "out", test=0.25, valid=0.25)
    assert all(parts[p]["images"] > 0 for p in ("train", "valid", "test"))


def test_without_a_patient_a_study_stays_together(
    imported: Callable[..., Any], tmp_path: Path
) -> None:
    files = {
        f"{label}/{study}{view}": picture(PatientID="removed", StudyInstanceUID=f"1.2.{label[0]}9"
                                          .replace("b", "1").replace("m", "2") + str(study))
        for study in range(6)
        for view in "abcd"
        for label in ("benign", "malignant")
    }  # fmt: skip
    dataset = imported(files)
    assert dataset.table["twin_group"].nunique() == 12
    assert "1.2." not in str(dataset.table["twin_group"].tolist())
    assert any("kept together by study: 12 studies" in n for n in dataset.info.notes)
    assert split(tmp_path / "out", test=0.25, valid=0.25)["train"]["groups"] <= 8
