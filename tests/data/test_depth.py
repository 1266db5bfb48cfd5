"""Greys of more than 8 bits, and floating point, become 0 to 255 by the rule of their data set."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from helpers.picture_files import saved
from lesionlab.data.depth import DEPTHS, depth_needed
from lesionlab.data.images import LEGACY, Reading, UnreadableImage, open_image


def deep(most: int, dtype: str = "uint16", least: int = 0) -> np.ndarray:
    """(16, 16) values from `least` to `most`."""
    return np.linspace(least, most, 256).round().reshape(16, 16).astype(dtype)


def tiff(values: np.ndarray, **tags: object) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
        if tag in ("t340", "t341"):
            info.tagtype[int(tag[1:])] = 12  # double
    return saved(Image.fromarray(values), "TIFF", tiffinfo=info)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_upper_eight_bits_of_the_depth_are_shown(depth: int, form: str) -> None:
    values = deep(2**depth - 1)
    seen = np.asarray(open_image(saved(Image.fromarray(values), form), reading=Reading(depth)))
    assert np.array_equal(seen, values >> (depth - 8))
    assert (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize("peak", [0, 1, 254, 255, 256, 1023, 1024, 4095, 16383, 16384, 65535])
def test_the_depth_is_the_smallest_that_holds_the_value(peak: int) -> None:
    depth = depth_needed(peak)
    assert peak < 2**depth
    assert depth == 8 or peak >= 2 ** DEPTHS[DEPTHS.index(depth) - 1]


def test_a_value_of_more_bits_than_the_set_is_refused() -> None:
    data = saved(Image.fromarray(deep(9000)), "PNG")
    with pytest.raises(UnreadableImage, match="values up to 9000 need 14 bits, not 12"):
        open_image(data, reading=Reading(12))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (deep(200, "int16", -5), r"negative values \(-5\)"),
        (deep(200, "int32", -5), r"negative values \(-5\)"),
        (deep(70_000, "int32"), "more than 16 bits"),
        (deep(1, "float32"), "without a declared range"),
    ],
)
def test_what_has_no_place_between_black_and_white_is_refused(
    values: np.ndarray, told: str
) -> None:
    with pytest.raises(UnreadableImage, match=told):
        open_image(tiff(values))


def test_a_sixteen_bit_tiff_whose_zero_is_white_is_inverted() -> None:
    values = deep(4095)
    seen = np.asarray(open_image(tiff(values, t262=0), reading=Reading(12)))
    assert np.array_equal(seen, (4095 - values) >> 4)


def test_floating_point_by_its_declared_range() -> None:
    values = np.linspace(-1, 3, 256).reshape(16, 16).astype("float32")
    seen = np.asarray(open_image(tiff(values, t340=-1.0, t341=3.0)))
    assert np.array_equal(seen, np.rint((values + 1) / 4 * 255).astype(np.uint8))
    values[0, 0] = np.nan
    with pytest.raises(UnreadableImage, match="no numbers"):
        open_image(tiff(values, t340=-1.0, t341=3.0))


def test_a_pgm_of_twelve_bits_declares_its_range() -> None:
    values = deep(4095)
    data = b"P5 16 16 4095\n" + values.astype(">u2").tobytes()
    seen = np.asarray(open_image(data)).astype(int)
    assert np.abs(seen - values / 4095 * 255).max() <= 1


def test_data_sets_of_0_1_0_keep_their_pixels() -> None:
    data = saved(Image.fromarray(deep(4095)), "PNG")
    assert np.array_equal(np.asarray(open_image(data, reading=LEGACY)), deep(4095) >> 8)
    with Image.open(io.BytesIO(tiff(deep(300, "float32")))) as image:
        plain = np.asarray(image.convert("RGB"))
    assert np.array_equal(np.asarray(open_image(tiff(deep(300, "float32")), reading=LEGACY)), plain)
