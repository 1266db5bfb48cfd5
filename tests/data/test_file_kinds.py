"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.picture_files import TURNED_HEIC, boxes, multi_picture, noise, saved
from lesionlab.data.file_kinds import FORMATS, kind_of, suffix_of
from lesionlab.data.images import UnreadableImage, open_image


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"HEIF"}))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_format_that_pillow_writes_is_known_and_read(form: str, mode: str) -> None:
    data = saved(noise(1).convert(mode), form)
    assert kind_of(data[:4096]).format == form
    assert open_image(data).size == (32, 24)


def test_a_multi_picture_jpeg_is_its_first_picture() -> None:
    image = noise(2, (64, 48))
    data = multi_picture(image)
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    assert np.array_equal(open_image(data), open_image(saved(image)))


def test_a_turned_multi_picture_jpeg_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(multi_picture(noise(2, (64, 48)), exif=exif)).size == (48, 64)


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "PNG", "AVIF"])
def test_other_files_of_several_pictures_are_refused(form: str) -> None:
    data = saved(noise(1), form, save_all=True, append_images=[noise(2)])
    with pytest.raises(UnreadableImage, match="animated or multi-page"):
        open_image(data)


def test_heic_is_read_upright() -> None:
    pytest.importorskip("pi_heif")
    image = open_image(TURNED_HEIC)
    assert image.size == (16, 24)
    pixels = np.asarray(image).astype(int)
    assert np.abs(pixels[2:10] - (200, 40, 40)).max() <= 4  # the left half is above now
    assert np.abs(pixels[-10:-2] - (40, 60, 200)).max() <= 4


def test_heic_without_its_decoder_is_known_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    kind = kind_of(TURNED_HEIC)
    assert (kind.format, kind.is_picture) == ("HEIF", True)
    assert "extra 'heic'" in kind.reason
    with pytest.raises(UnreadableImage, match=r"x\.heic: a HEIC file needs the extra 'heic'") as no:
        open_image(TURNED_HEIC, "x.heic")
    assert no.value.status == 415


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"", "an empty file"),
        (bytes(64), "nothing but zeros"),
        (b"GIF89a\1\0\1\0", "GIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0", "JPEG 2000"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "SVG"),
        (b"<!DOCTYPE html><title>Not found", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "run git lfs pull"),
        (b"\0\x05\x16\x07\0\2\0\0", "macOS"),
        (b"PK\3\4\x14\0", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x1f\x8b\x08\0", "a gzip file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "thumbnails"),
        (boxes(b"qt  "), "a video"),
        (boxes(b"mp42", b"isom"), "a video"),
        (boxes(b"crx ", b"isom"), "raw"),
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (b"II*\0\x10\0\0\0CR\2\0", "raw"),
        ("Müller: naevus\n".encode(), "text"),
        (b"BMI,age\n22,40\n", "text"),  # no bitmap
        (b"P3 is the third patient\n", "text"),  # no pixmap
        (b"\x93\xfa\x96\x7b", "of an unknown format"),
    ],
)
def test_what_is_no_image_is_named(head: bytes, told: str) -> None:
    kind = kind_of(head)
    assert not kind.is_picture
    assert told in kind.reason
    if head:
        with pytest.raises(UnreadableImage, match="not an image of an allowed format") as refused:
            open_image(head)
        assert kind.reason in refused.value.reason


@pytest.mark.parametrize(("tag", "value"), [(50706, 0x0401), (254, 1)])
def test_the_preview_in_a_camera_s_raw_file_is_not_taken_for_the_picture(
    tag: int, value: int
) -> None:
    """DNG says so by its version, NEF and ARW by a first picture of reduced resolution."""
    entries = [(254, 4, value)] if tag == 254 else [(254, 4, 0), (tag, 1, value)]
    table = b"".join(
        t.to_bytes(2, "little") + k.to_bytes(2, "little") + (1).to_bytes(4, "little")
        + v.to_bytes(4, "little") for t, k, v in entries
    )  # fmt: skip
    head = b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + table + bytes(4)
    assert "raw" in kind_of(head).reason
    assert kind_of(saved(noise(1), "TIFF")).format == "TIFF"


@pytest.mark.parametrize(
    "head",
    [bytes(128) + b"DICM\2\0", b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
     b"\x08\0\0\0\4\0\0\0\x9a\1\0\0\x08\0"],
)  # fmt: skip
def test_dicom_is_known_with_and_without_a_preamble(head: bytes) -> None:
    assert kind_of(head).format == "DICOM"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a/b.JPG", ".jpg"), ("x.jpg_large", ".jpg_large"), ("a.b/e", ""), (".hidden", ""),
     ("._a.JPG", ".jpg"), ("a.", "."), ("a.tar.gz", ".gz")],
)  # fmt: skip
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix
