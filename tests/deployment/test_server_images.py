"""Images that the server reads or refuses (bad inputs 1 to 19)."""

from __future__ import annotations

import io
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from helpers.dicom_files import dicom_file
from helpers.picture_files import TURNED_HEIC, multi_picture
from helpers.serving import encoded, post, refused


def header_of(png: bytes, side: int) -> bytes:
    """A PNG whose header claims side x side pixels, with a checksum that fits."""
    head = png[12:16] + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4, "big") + png[33:]


def picture_files(tmp: Any = None) -> dict[str, tuple[bytes, int]]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    huge = bytearray(encoded(image, "BMP"))
    huge[18:26] = (50_000).to_bytes(4, "little") * 2
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 0.0, 0.0)}
    return {
        "1 empty": (b"", 422),
        "2 text": (b"this is no image", 415),
        "3 truncated": (encoded(image, "JPEG")[:-200], 422),
        "4 50,000 x 50,000": (bytes(huge), 413),
        "5 tiny file, huge dimensions": (header_of(encoded(image, "PNG"), 30_000), 413),
        "6 PDF": (b"%PDF-1.4 ...", 415),
        "6 SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        "6 FITS": (b"SIMPLE  =                    T" + b" " * 2850, 415),
        "6 PSD": (b"8BPS\0\1" + b"\0" * 40, 415),
        "7 animated": (
            encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
            422,
        ),
        "7 multi-picture JPEG of a phone": (multi_picture(image), 200),
        "7 AVIF": (encoded(image, "AVIF"), 200),
        "7 pages": (encoded(image, "TIFF", save_all=True, append_images=[image]), 422),
        "8 16-bit": (encoded(Image.fromarray(np.full((40, 40), 40_000, np.uint16)), "PNG"), 200),
        "9 CMYK": (encoded(image.convert("CMYK"), "JPEG"), 200),
        "9 palette": (encoded(image.convert("P"), "PNG"), 200),
        "9 alpha": (encoded(image.convert("RGBA"), "PNG"), 200),
        "11 GPS": (encoded(image, "JPEG", exif=exif), 200),
        "12 one pixel": (encoded(image.resize((1, 1)), "PNG"), 422),
        "12 extreme": (encoded(image.resize((2000, 10)), "PNG"), 422),
        "13 blank": (encoded(Image.new("RGB", (40, 40), "white"), "PNG"), 200),
        "14 polyglot": (encoded(image, "JPEG") + b"<script>alert(1)</script>", 200),
    }


@pytest.mark.parametrize("case", picture_files())
def test_images(web: TestClient, case: str) -> None:
    data, status = picture_files()[case]
    answer = post(web, data)
    if status != 200:
        refused(answer, status, "image")
        return
    assert answer.status_code == 200, answer.text
    assert b"<script>" not in answer.content
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_heic_without_its_decoder(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    answer = post(web, TURNED_HEIC)
    refused(answer, 415, "image")
    assert "extra 'heic'" in answer.text


def dicom(preamble: bytes = bytes(128), syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> bytes:
    """A DICOM file of 40 x 40 greys that names a person, with changes."""
    pydicom = pytest.importorskip("pydicom")
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = pydicom.uid.UID(syntax)
    head.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    head.MediaStorageSOPInstanceUID = "1.2.3"
    stored = pydicom.dataset.FileDataset("a", {}, file_meta=head, preamble=preamble)
    values = {"Rows": 40, "Columns": 40, "SamplesPerPixel": 1, "BitsAllocated": 8}
    values |= {"BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    values |= {"PhotometricInterpretation": "MONOCHROME2", "PatientName": "Secret^Name"}
    values |= {"PixelData": bytes(range(40)) * 40, **tags}
    for name, value in values.items():
        setattr(stored, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, stored, enforce_file_format=True, implicit_vr=False, little_endian=True
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("case", "changes", "status"),
    [
        ("15 names a person", {}, 200),
        ("16 burned-in text", {"BurnedInAnnotation": "YES"}, 200),
        ("18 absurd dimensions", {"Rows": 60_000, "Columns": 60_000}, 413),
        ("18 wrong bits", {"BitsAllocated": 1}, 422),
        ("18 less data than it says", {"PixelData": b"\0\0"}, 422),
        ("19 unknown transfer syntax", {"syntax": "1.2.3.4.5"}, 422),
        ("20 MONOCHROME1", {"PhotometricInterpretation": "MONOCHROME1"}, 200),
        ("21 program", {"preamble": b"MZ" + bytes(126)}, 415),
        ("21 program", {"preamble": b"\x7fELF" + bytes(124)}, 415),
        ("more than one frame", {"NumberOfFrames": 2}, 422),
    ],
)
def test_dicom(
    web: TestClient,
    case: str,
    changes: dict[str, Any],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = dicom(**changes)
    with caplog.at_level("DEBUG"):
        answer = post(web, data, headers={"content-type": "application/dicom"})
    assert answer.status_code == status, answer.text
    assert "Secret" not in answer.text + caplog.text
    if case == "16 burned-in text":
        assert answer.json()["predictions"][0]["note"] == "text is burned into the image"
    if case == "20 MONOCHROME1":
        plain = post(web, dicom()).json()["predictions"][0]
        assert answer.json()["predictions"][0]["logits"] != plain["logits"]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"])
def test_a_dicom_has_the_pixels_that_import_wrote(
    web: TestClient, syntax: str, tmp_path: Path
) -> None:
    """The PNG that import makes of a file gets the logits that the file itself gets."""
    pytest.importorskip("pydicom")

    from lesionlab.data.importing import import_source
    from lesionlab.data.sources.table import source_named

    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "src" / label).mkdir(parents=True)
        pixels = rng.integers(0, 255, (40, 48), np.uint8)
        data = dicom_file(pixels, syntax, WindowCenter=120, WindowWidth=90)
        (tmp_path / "src" / label / "1.2.3").write_bytes(data)
    out = import_source(source_named("dicom"), tmp_path / "src", tmp_path / "out")
    for path, source in zip(out.table["path"], out.table["original_file"], strict=True):
        one = post(web, (tmp_path / "src" / source).read_bytes())
        other = post(web, (tmp_path / "out" / path).read_bytes())
        assert one.json()["predictions"][0]["logits"] == other.json()["predictions"][0]["logits"]


def test_17_a_dicomdir_that_points_elsewhere(web: TestClient) -> None:
    """A directory of files is no image; nothing that it names is opened."""
    pydicom = pytest.importorskip("pydicom")
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "..", "etc", "passwd"]
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    head.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    head.MediaStorageSOPInstanceUID = "1.2.3"
    stored = pydicom.dataset.FileDataset("DICOMDIR", {}, file_meta=head, preamble=bytes(128))
    stored.DirectoryRecordSequence = [record]
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, stored, enforce_file_format=True, implicit_vr=False, little_endian=True
    )
    refused(post(web, stream.getvalue()), 422, "image")


def test_13_a_blank_image_is_not_like_the_training_images(web: TestClient) -> None:
    said = post(web, encoded(Image.new("RGB", (40, 40), "white"))).json()["predictions"][0]
    assert said["ood"]["flagged"]
    assert said["decision"]["positive"] is None


def test_10_a_turned_image_is_turned_back(web: TestClient, tiny: Any) -> None:
    image = tiny.picture("nv", np.random.default_rng(4), 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(image.rotate(90, expand=True), "PNG", exif=exif)
    plain = post(web, encoded(image)).json()["predictions"][0]["logits"]
    assert post(web, turned).json()["predictions"][0]["logits"] == pytest.approx(plain, abs=1e-5)
