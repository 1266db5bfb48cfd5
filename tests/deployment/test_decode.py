"""Draft decoding of huge JPEGs stays within its stated bound, and is used for nothing else."""

from __future__ import annotations

import contextlib
import io
import itertools
import time
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.images import Preprocessing, Roi, UnreadableImage, open_image, prepare
from lesionlab.deployment import decode
from lesionlab.deployment.decode import DRAFT_BOUND, read_view

HOW = Preprocessing(size=64)


def lesion(width: int, height: int) -> Image.Image:
    """A smooth blob with hairs and sensor noise: what a photograph's spectrum is like."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    r = np.hypot((x / width - 0.45) * 1.5, y / height - 0.55)
    base = np.where(r < 0.3, 90, 190)[..., None] + np.array([20, -10, -20])
    base = base + (np.sin(x / 7.3)[..., None] > 0.97) * -60.0
    return Image.fromarray((base + rng.normal(0, 3, base.shape)).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **{"quality": 90, **options})
    return stream.getvalue()


BIG = lesion(2501, 1703)  # no multiples of 8: the last blocks are padded


def read_pixels(*given: Any, **more: Any) -> Any:
    return read_view(*given, **more).pixels


def distance(data: bytes, how: Preprocessing) -> int:
    full = prepare(open_image(data), how)
    return int(np.abs(read_pixels(data, how).astype(int) - full).max())


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_within_the_bound(
    fit: Any, channels: Any, subsampling: int, interpolation: Any, crop: float
) -> None:
    one = (0.5,) * channels
    how = Preprocessing(64, fit, channels, one, one, interpolation, crop)
    data = jpeg(BIG, subsampling=subsampling)
    assert decode._drafted(data, how) is not None
    assert distance(data, how) <= DRAFT_BOUND


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("crop", [1.0, 0.89])  # 71 pixels, of which 64 are kept from 4 on
def test_each_orientation(orientation: int, fit: Any, crop: float) -> None:
    how = replace(HOW, fit=fit, crop=crop, interpolation="bicubic")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(BIG, exif=exif)
    assert decode._drafted(data, how) is not None
    assert distance(data, how) <= DRAFT_BOUND


def test_the_decode_follows_the_resized_side() -> None:
    """Of 1703 pixels: three times 64 allow an eighth, three times 256 none."""
    data = jpeg(BIG)
    assert decode._drafted(data, Preprocessing(size=64)) is not None
    assert decode._drafted(data, Preprocessing(size=224, crop=0.7)) is None
    assert decode._drafted(data, Preprocessing(size=224)) is not None


def test_what_lies_outside_the_square_does_not_reach_its_edge() -> None:
    """White on both sides of a black square whose sides fall between two scaled pixels."""
    image = Image.new("RGB", (2505, 1703), "white")
    image.paste((0, 0, 0), (401, 0, 401 + 1703, 1703))
    how = replace(HOW, fit="crop", interpolation="bicubic")
    data = jpeg(image, quality=100)
    assert prepare(open_image(data), how).max() == 0
    assert read_pixels(data, how).max() <= 8  # of the scaled pixels that lie across an edge


def test_draft_can_be_turned_off() -> None:
    data = jpeg(BIG)
    assert np.array_equal(read_pixels(data, HOW, draft=False), prepare(open_image(data), HOW))


def test_small_or_other_files_and_regions_are_decoded_in_full(tmp_path: Path) -> None:
    for image, name in ((lesion(600, 450), "a.jpg"), (BIG, "b.png")):
        image.save(tmp_path / name)
        full = prepare(open_image(tmp_path / name), HOW)
        assert np.array_equal(read_pixels(tmp_path / name, HOW), full)
    roi = Roi(800.0, 700.0, 300.0)
    data = jpeg(BIG)
    assert np.array_equal(read_pixels(data, HOW, roi), prepare(open_image(data), HOW, roi))
    cmyk = jpeg(BIG.convert("CMYK"))
    assert np.array_equal(read_pixels(cmyk, HOW), prepare(open_image(cmyk), HOW))


def test_a_truncated_one_is_refused_all_the_same() -> None:
    with pytest.raises(UnreadableImage, match="truncated"):
        read_pixels(jpeg(BIG)[:-20_000], HOW)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    """65 bytes more a scan, and every scan is a pass over all pixels: minutes of work."""
    data = jpeg(lesion(600, 450), progressive=True)
    assert read_pixels(data, HOW).shape == (64, 64, 3)
    last = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImage, match="more than 30 scans"):
        read_pixels(data[:-2] + last * 30 + data[-2:], HOW)


def test_what_a_phone_appends_to_a_jpeg_has_no_scans() -> None:
    """A motion photo ends in a video, in whose bytes the marker of a scan occurs by chance."""
    data = jpeg(lesion(600, 450))
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08" * 100
    assert np.array_equal(read_pixels(data + video, HOW), read_pixels(data, HOW))


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.truncate(decode.MAX_BYTES + 1)  # sparse
    with pytest.raises(UnreadableImage, match="more than 512 MiB") as caught:
        read_view(tmp_path / "a.jpg", HOW)
    assert caught.value.status == 413


def test_a_deflated_dicom_is_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 kB become 20 MB here; no more than the limit is ever held."""
    pytest.importorskip("pydicom")
    from lesionlab.data import dicom

    meta = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bytes(128) + b"DICM" + length + meta + packer.compress(bytes(20_000_000))
    monkeypatch.setattr(dicom, "MAX_INFLATED", 1_000_000)
    with pytest.raises(UnreadableImage, match="deflated DICOM of more than") as caught:
        read_view(data + packer.flush(), HOW)
    assert caught.value.status == 413


def test_a_damaged_jpeg_lossless_ends_its_own_process_only(tmp_path: Path) -> None:
    """A Huffman table of noise ends GDCM by an exception that nobody catches."""
    pytest.importorskip("gdcm")
    from helpers.dicom_files import JPEG_LOSSLESS, encapsulated, jpeg_lossless_frame

    pixels = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint16) * 30
    frame = jpeg_lossless_frame(pixels, JPEG_LOSSLESS, tmp_path)
    assert read_pixels(encapsulated(pixels, frame, JPEG_LOSSLESS), HOW).max() > 200
    rng, table = np.random.default_rng(0), frame.index(b"\xff\xc4") + 4
    for _ in range(4):
        damaged = bytearray(frame)
        damaged[table : table + 20] = rng.integers(0, 256, 20, np.uint8).tobytes()
        with contextlib.suppress(UnreadableImage):
            read_view(encapsulated(pixels, bytes(damaged), JPEG_LOSSLESS), HOW)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_damaged_files_are_refused_and_nothing_else(kind: str) -> None:
    """A bounded fuzz of the image reader: an answer or `UnreadableImage`, never another error."""
    rng, stream = np.random.default_rng(7), io.BytesIO()
    lesion(64, 48).save(stream, kind)
    good = stream.getvalue()
    for _ in range(120):
        data = bytearray(good)
        for place in rng.integers(0, min(len(data), rng.choice([64, len(data)])), 4):
            data[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            del data[rng.integers(1, len(data)) :]
        with contextlib.suppress(UnreadableImage):
            assert read_pixels(bytes(data), HOW).shape == (64, 64, 3)


@pytest.mark.slow
@pytest.mark.real
def test_real_images_at_ten_megapixels(shared: Path) -> None:
    """Grey levels apart, and milliseconds on one core, for a real image enlarged to 10 MP."""
    shown: list[dict[str, Any]] = [
        {}, {"fit": "crop"}, {"fit": "crop", "interpolation": "bicubic"}, {"crop": 0.875}
    ]  # fmt: skip
    with zipfile.ZipFile(shared / "data" / "ham10000-fullsize-30.zip") as archive:
        names = [n for n in sorted(archive.namelist()) if n.endswith(".jpg")][:3]
        for how, name in itertools.product([Preprocessing(**s) for s in shown], names):
            image = open_image(archive.read(name)).resize((3872, 2582), Image.Resampling.BICUBIC)
            data = jpeg(image)
            started = time.process_time()
            pixels = read_pixels(data, how)
            spent = time.process_time() - started
            full = prepare(open_image(data), how)
            assert np.abs(pixels.astype(int) - full).max() <= DRAFT_BOUND
            assert spent < 0.2  # 0.03 s where nothing else runs
