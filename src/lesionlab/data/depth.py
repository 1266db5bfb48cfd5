"""Greys of more than 8 bits, and floating point: by which rule they become 0 to 255.

Detectors give 10, 12 or 14 bits in files of 16. Their upper 8 bits alone are nearly black, so the
depth is that of the whole data set: the smallest of `DEPTHS` that holds every value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lesionlab.array_types import UInt8

DEPTHS = (8, 10, 12, 14, 16)
WHITE_IS_ZERO, BITS, LEAST, MOST = 262, 258, 340, 341  # tags of TIFF


class NotShowable(ValueError):
    """Stored values that have no place on a scale from black to white; the message says why."""


def depth_needed(peak: int) -> int:
    """The smallest depth that holds a value; 16 also for a larger one.

    >>> depth_needed(255), depth_needed(4095), depth_needed(4096)
    (8, 12, 14)
    """
    return next((d for d in DEPTHS if peak < 2**d), DEPTHS[-1])


def peak_of(image: Image.Image) -> int | None:
    """The largest value of a picture of integers of more than 8 bits; None for any other."""
    return int(np.asarray(image).max()) if image.mode.startswith("I") else None


def eight_bit_grey(image: Image.Image, depth: int) -> Image.Image:
    """Mode "L" of a picture of integers: the upper 8 of `depth` bits.

    Raises `NotShowable` for negative values and for values of more bits.
    """
    values = np.asarray(image).astype(np.int64)
    least, most = int(values.min()), int(values.max())
    if least < 0:
        raise NotShowable(f"negative values ({least}): save 8 or 16 bits without a sign")
    if most >= 2 ** DEPTHS[-1]:
        raise NotShowable(f"values up to {most}, more than 16 bits: save 8 or 16 bits")
    if most >= 2**depth:
        raise NotShowable(f"values up to {most} need {depth_needed(most)} bits, not {depth}")
    if _is_inverted(image):
        values = 2**depth - 1 - values
    return Image.fromarray((values >> (depth - 8)).astype(np.uint8))


def _is_inverted(image: Image.Image) -> bool:
    """Pillow inverts a TIFF whose 0 is white up to 8 bits, and not above."""
    return image.format == "TIFF" and _tag(image, WHITE_IS_ZERO) == 0


def eight_bit_float(image: Image.Image) -> Image.Image:
    """Mode "L" of a picture of floating point, by the range that its TIFF declares.

    Raises `NotShowable` where it declares none, or holds a value that is no number.
    """
    low, high = (_first(_tag(image, tag)) for tag in (LEAST, MOST))
    if low is None or high is None or not high > low:
        raise NotShowable("floating point without a declared range: save 8 or 16 bits")
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise NotShowable("floating point with values that are no numbers")
    return Image.fromarray(_scaled(values, low, high))


def _scaled(values: npt.NDArray[np.float64], low: float, high: float) -> UInt8:
    grey = ((values - low) / (high - low)).clip(0, 1) * 255
    return np.asarray(grey.round(), np.uint8)


def _tag(image: Image.Image, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)


def _first(value: Any) -> float | None:
    one = value[0] if isinstance(value, tuple) and value else value
    return None if one is None or isinstance(one, tuple) else float(one)


def is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether a colour file has 16 bits a channel, of which Pillow reads the upper 8."""
    if image.format == "PNG":
        return data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")
    bits = _tag(image, BITS)
    return isinstance(bits, tuple) and len(bits) > 1 and max(bits) == 16
