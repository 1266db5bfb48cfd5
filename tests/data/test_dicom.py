from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian  # noqa: E402

from lesionlab.data.dicom import age_in_years, read_dicom  # noqa: E402
from lesionlab.data.images import UnreadableImage  # noqa: E402
from lesionlab.data.importing import import_source  # noqa: E402
from lesionlab.data.sources.table import source_named  # noqa: E402
from lesionlab.errors import BadInput  # noqa: E402

RAMP = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) * 10


def dicom(pixels: np.ndarray = RAMP, preamble: bytes = bytes(128), **tags: Any) -> bytes:
    """A DICOM file of these pixels; tags that are None are left out."""
    stored = Dataset()
    stored.file_meta = FileMetaDataset()
    stored.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    stored.SOPClassUID = stored.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    stored.SOPInstanceUID = stored.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    stored.Rows, stored.Columns = pixels.shape[:2]
    stored.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    stored.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        stored.PlanarConfiguration = 0
    stored.BitsAllocated = stored.BitsStored = 8 * pixels.dtype.itemsize
    stored.HighBit, stored.PixelRepresentation = stored.BitsStored - 1, 0
    stored.PixelData = pixels.tobytes()
    stored.PatientID, stored.PatientName = "SECRET-77", "Doe^Jane"
    for name, value in tags.items():
        if value is None:
            delattr(stored, name)
        else:
            setattr(stored, name, value)
    stream = io.BytesIO()
    stored.save_as(stream, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return preamble + stream.getvalue()[128:]


def grey(data: bytes) -> np.ndarray:
    return np.asarray(read_dicom(data, "x.dcm").image).astype(int)


def test_without_a_window_the_whole_range_is_shown() -> None:
    seen = grey(dicom())
    assert (seen.min(), seen.max()) == (0, 255)
    assert (np.diff(seen.ravel()) >= 0).all()


def test_monochrome1_is_inverted() -> None:
    flipped = grey(dicom(PhotometricInterpretation="MONOCHROME1"))
    assert (flipped == 255 - grey(dicom())).all()


def test_the_window_is_applied() -> None:
    seen = grey(dicom(WindowCenter=1600, WindowWidth=400, BitsStored=12, HighBit=11))
    assert (seen[RAMP < 1300] == 0).all()
    assert (seen[RAMP > 1900] == 255).all()
    assert 100 < seen[RAMP == 1600][0] < 155


def test_rescaling_comes_before_the_window() -> None:
    seen = grey(dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=2200,
                      WindowWidth=400, BitsStored=12, HighBit=11))  # fmt: skip
    assert 100 < seen[RAMP == 1600][0] < 155


def test_colour_stays_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    assert (np.asarray(read_dicom(dicom(pixels), "x").image) == pixels).all()


def test_only_allowed_tags_are_read() -> None:
    read = read_dicom(dicom(PatientSex="F", PatientAge="045Y", BurnedInAnnotation="NO"), "x")
    assert read.patient == ""
    assert "Doe" not in repr(read)
    assert read.tags["PatientSex"] == "F"
    assert read_dicom(dicom(), "x", grouping=True).patient == "SECRET-77"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"text", "not a DICOM file"),
        (dicom()[:-100], "not a readable DICOM image"),
        (dicom(preamble=b"MZ" + bytes(126)), "program"),
        (dicom(preamble=b"\x7fELF" + bytes(124)), "program"),
        (dicom(NumberOfFrames=2), "multi-frame"),
        (dicom(Rows=60000, Columns=60000), "too many"),
        (dicom(Rows=2), "no usable picture"),
        (dicom(SamplesPerPixel=7), "neither grey nor RGB"),
        (dicom(BitsAllocated=1), "unsupported number of bits"),
        (dicom(PixelData=b"\0\0"), "not a readable DICOM image"),
        (dicom(syntax="1.2.3.4.5"), "not a readable DICOM image"),
    ],
)
def test_what_is_hostile_or_of_no_use_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UnreadableImage, match=why) as error:
        read_dicom(data, "x.dcm")
    assert "SECRET" not in str(error.value)
    assert "Doe" not in str(error.value)


def test_ages() -> None:
    assert age_in_years("006W") == "0.115"
    assert age_in_years("45") == ""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: bytes) -> Path:
        for name, data in files.items():
            path = tmp_path / "src" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".dcm").write_bytes(data)
        return tmp_path / "src"

    return make


def test_a_folder_of_dicom_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder(
        benign__a=dicom(PatientSex="M", PatientAge="061Y", BodyPartExamined="SKIN"),
        benign__b=dicom(RAMP[::-1].copy()),
        malignant__c=dicom(RAMP[:, ::-1].copy(), PatientID="OTHER", BurnedInAnnotation="YES"),
        malignant__d=dicom(RAMP + 1, PatientID=None),
        malignant__e=dicom(NumberOfFrames=3),
    )
    dataset = import_source(None, src, tmp_path / "out", max_rejected=0.3)
    table = dataset.table.set_index("image_id")
    assert dataset.info.source == "dicom"
    assert table.loc["a", "patient_id"] == table.loc["b", "patient_id"] != ""
    assert table.loc["c", "patient_id"] not in ("", table.loc["a", "patient_id"])
    assert table.loc["d", "patient_id"] == ""
    assert tuple(table.loc["a", ["age", "sex", "site"]]) == (61, "male", "skin")
    assert all(p.endswith(".png") for p in table["path"])
    assert any("1 image declares burned-in text" in n for n in dataset.info.notes)
    assert [r["reason"] for r in dataset.info.counts["rejected"]] == [
        "multi-frame files are not supported"]  # fmt: skip
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert b"SECRET" not in everything
    assert b"Doe" not in everything


def test_a_folder_without_readable_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no readable DICOM files"):
        import_source(source_named("dicom"), folder(a__b=b"x"), tmp_path / "out")
