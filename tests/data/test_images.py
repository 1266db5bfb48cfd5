"""The network's view of an image: filter and crop as timm has them, against values by hand."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.data import images
from lesionlab.data.file_kinds import FORMATS
from lesionlab.data.images import Preprocessing, Roi, open_image, prepare
from lesionlab.errors import BadInput


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "crop"), [(224, 0.875), (240, 0.882), (260, 0.89), (224, 0.9), (32, 0.85), (64, 1.0)]
)
@pytest.mark.parametrize("side", [450, 150, 256])
def test_the_bytes_are_those_of_timm(interpolation: Any, size: int, crop: float, side: int) -> None:
    data = pytest.importorskip("timm.data")
    transform = data.create_transform((3, size, size), interpolation=interpolation, crop_pct=crop)
    cut = type(transform)(transform.transforms[:2])  # resize and crop, before they become floats
    image = noise(side, side)
    how = Preprocessing(size=size, interpolation=interpolation, crop=crop)
    assert np.array_equal(prepare(image, how), np.asarray(cut(image)))


def test_by_hand() -> None:
    """4 pixels of 0 and 4 of 240 become 16, of which the middle 8 are kept."""
    row = np.repeat(np.array([0, 240], np.uint8), 4)
    image = Image.fromarray(np.tile(row, (8, 1)))
    one: dict[str, Any] = {"size": 8, "channels": 1, "mean": (0.0,), "std": (1.0,), "crop": 0.5}
    flat, round_ = (
        prepare(image, Preprocessing(**one, interpolation=name))[3, :, 0].tolist()
        for name in ("bilinear", "bicubic")
    )
    # Output 7 lies at 3.75: a quarter of the way from pixel 3 (0) to pixel 4 (240).
    assert flat == [0, 0, 0, 60, 180, 240, 240, 240]
    # Keys' cubic with a = -1/2: pixels 4 and 5 have the weights 29/128 and -3/128 there:
    # 240 * 26/128 = 48.75. Output 8: 111/128 - 9/128, 191.25. Outputs 9 and 10 overshoot, as
    # pixel 3 (0) has -9/128 and -3/128: 256.9, clipped, and 245.6.
    assert round_ == [0, 0, 0, 49, 191, 255, 246, 240]


@pytest.mark.parametrize(
    ("size", "crop", "side", "margin"),
    [(224, 0.875, 256, 16), (240, 0.882, 272, 16), (260, 0.89, 292, 16), (224, 1.0, 224, 0),
     (16, 0.9, 17, 0), (16, 0.84, 19, 2), (16, 0.76, 21, 2)],
)  # fmt: skip
def test_sides_and_margins(size: int, crop: float, side: int, margin: int) -> None:
    """Half a pixel goes to the even number: 0.5 to 0, 1.5 and 2.5 to 2, as torchvision rounds."""
    how = Preprocessing(size=size, crop=crop)
    assert (how.resized_side, how.margin) == (side, margin)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (200, 100)])
def test_defaults_are_the_pixels_of_0_1_0(size: tuple[int, int]) -> None:
    image = noise(*size)
    plain = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(prepare(image, Preprocessing(size=16)), plain)
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    square = image.crop((left, top, left + side, top + side))
    wanted = np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(prepare(image, Preprocessing(size=16, fit="crop")), wanted)


def test_the_shared_pattern_has_the_hash_of_0_1_0() -> None:
    """The first vector of tests/deployment/resize_vectors.json: 600 x 450 to 224 x 224."""
    i = np.arange(600 * 450 * 3, dtype=np.int64)
    pixels = ((7 * i * i + 13 * i + i // 97) % 256).astype(np.uint8).reshape(450, 600, 3)
    seen = prepare(Image.fromarray(pixels), Preprocessing())
    wanted = "5aaf85ae359287d549278a1ef5ff1842890919f91d267d7a8a7af9cd2f602b8f"
    assert hashlib.sha256(seen.tobytes()).hexdigest() == wanted


def test_a_region_is_resized_and_cropped_like_a_picture() -> None:
    image, how = noise(90, 70), Preprocessing(size=16, interpolation="bicubic", crop=0.8)
    region = image.crop((20, 10, 60, 50))
    assert np.array_equal(prepare(image, how, Roi(40, 30, 40)), prepare(region, how))


def test_a_crop_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BadInput, match=r"input\.crop: .*more than 100 megapixels"):
        Preprocessing(size=224, crop=0.001)


def damaged(seed: int) -> Iterator[bytes]:
    """Files of every format and several modes, cut off or with some bytes changed."""
    rng = random.Random(seed)
    whole = []
    for name in set(FORMATS) - {"HEIF"}:  # which its extra only reads
        for mode in ("RGB", "L", "P", "RGBA", "1", "LA", "CMYK"):
            stream = io.BytesIO()
            with contextlib.suppress(OSError):  # not every format writes every mode
                Image.effect_noise((24, 32), 90).convert(mode).save(stream, name)
                whole.append(stream.getvalue())
    for data in whole * 20:
        broken = bytearray(data)
        if rng.random() < 0.2:
            yield data[: rng.randrange(1, len(data))]
            continue
        for _ in range(rng.randint(1, 6)):
            broken[rng.randrange(min(len(broken), 200))] = rng.randrange(256)
        yield bytes(broken)


def test_a_damaged_file_is_decoded_or_refused_in_one_line() -> None:
    outcomes: Counter[str] = Counter()
    for data in damaged(0):
        try:
            outcomes[open_image(data).mode] += 1
        except images.UnreadableImage as refused:
            outcomes["refused"] += bool(refused.reason)
    assert min(outcomes["refused"], outcomes["RGB"], outcomes["L"]) > 20


def test_a_tiff_whose_reader_fails_with_a_type_error_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (24, 32)).save(stream, "TIFF")
    data = bytearray(stream.getvalue())
    at = data.index((257).to_bytes(2, "little"), 8)  # the tag ImageLength becomes another one
    data[at : at + 2] = (60000).to_bytes(2, "little")
    with pytest.raises(images.UnreadableImage, match=r"truncated or corrupt|allowed format"):
        open_image(bytes(data))


@pytest.mark.parametrize("step", ["_check_size", "_check_shape", "_eight_bit"])
@pytest.mark.parametrize("error", [TypeError, AttributeError, AssertionError])
def test_a_bug_of_ours_is_not_told_as_a_corrupt_image(
    step: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "PNG")

    def broken(*_: object) -> None:
        raise error("ours")

    monkeypatch.setattr(images, step, broken)
    with pytest.raises(error, match="ours"):
        open_image(stream.getvalue())


def test_a_pixel_format_that_cannot_be_converted_is_refused() -> None:
    premultiplied = Image.new("LA", (16, 16)).convert("La")
    with pytest.raises(images.UnreadableImage, match="pixel format not supported"):
        images._eight_bit(premultiplied, images.USUAL, "a.tif")
