"""A lesion mask becomes black and white, and takes the shape of the picture that it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lesionlab.array_types import Bools
from lesionlab.data.images import TURNS, USUAL, decoded, eight_bits, orientation_of
from lesionlab.errors import BadInput

HALF = 127  # of 255


def read_mask(data: bytes, name: str) -> Image.Image:
    """A mask as mode "L" of 0 and 255, turned by its own EXIF data; `binary` says what is white.

    What is transparent is black.
    """
    stored = decoded(data, name)
    values, opaque = _values(stored, name)
    inside = opaque & _bright(values, opaque)
    if not opaque.all() and not inside.any():  # drawn in black on nothing
        inside = opaque
    mask = Image.fromarray(inside.astype(np.uint8) * 255)
    turn = TURNS.get(orientation_of(stored, name))
    return mask if turn is None else mask.transpose(turn)


def binary(picture: Image.Image) -> Image.Image:
    """Mode "L" of 0 and 255: white is above the middle of 0 to 255.

    Where nothing is (a mask of 0 and 1, or the dark colour of a palette), it is above the middle
    of the mask's own values; so too for more than 8 bits.
    """
    values = np.asarray(picture.convert("L"))
    return Image.fromarray(_bright(values, np.ones(values.shape, bool)).astype(np.uint8) * 255)


def _bright(values: npt.NDArray[Any], seen: Bools) -> Bools:
    most = float(values[seen].max()) if seen.any() else 0.0
    return np.asarray(values > (HALF if HALF < most <= 255 else most / 2), bool)


def _values(stored: Image.Image, name: str) -> tuple[npt.NDArray[Any], Bools]:
    """(H, W) brightness in the mask's own scale, and where it is not transparent."""
    if stored.mode.startswith(("I", "F")):
        values: npt.NDArray[Any] = np.asarray(stored)
        return values, np.ones(values.shape, bool)
    if "A" in stored.getbands() or "transparency" in stored.info:
        rgba = stored.convert("RGBA")
        opaque = np.asarray(rgba.getchannel("A")) > HALF
        return np.asarray(rgba.convert("RGB").convert("L")), opaque
    values = np.asarray(eight_bits(stored, USUAL, name).convert("L"))
    return values, np.ones(values.shape, bool)


def fitted(
    mask: Image.Image, size: tuple[int, int], orientation: int = 1, drawn_as_stored: bool = True
) -> Image.Image:
    """A mask in the shape of its upright picture of `size` (width, height), nearest neighbour.

    A mask of the shape of the picture as it is stored is turned as the picture is, by its EXIF
    `orientation`. Where both shapes are the same, `drawn_as_stored` decides. Raises `BadInput`
    for any other aspect: squeezed into the picture, the mask would show another place.
    """
    upright, stored = _shapes(mask.size, size, orientation)
    if stored and (drawn_as_stored or not upright):
        turn = TURNS.get(orientation)
        mask = mask if turn is None else mask.transpose(turn)
    elif not upright:
        raise BadInput(
            f"a mask of {mask.width} x {mask.height} pixels does not fit its image of "
            f"{size[0]} x {size[1]}"
        )
    return mask if mask.size == size else mask.resize(size, Image.Resampling.NEAREST)


def how_drawn(mask: tuple[int, int], size: tuple[int, int], orientation: int) -> str:
    """On which pixels a mask was drawn by its shape: "stored", "upright", or "" where both fit.

    >>> how_drawn((160, 120), (120, 160), 6), how_drawn((120, 160), (120, 160), 6)
    ('stored', 'upright')
    """
    upright, stored = _shapes(mask, size, orientation)
    return "" if upright == stored else "upright" if upright else "stored"


def _shapes(mask: tuple[int, int], size: tuple[int, int], orientation: int) -> tuple[bool, bool]:
    """Whether a mask has the aspect of its picture upright, and as it is stored."""
    stored = (size[1], size[0]) if orientation >= 5 else size
    return same_aspect(mask, size), same_aspect(mask, stored)


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two (width, height) agree, to the pixel that rounding takes from a side."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)
