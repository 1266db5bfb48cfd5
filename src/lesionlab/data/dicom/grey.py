"""From stored greys to what a screen shows: modality, padding, VOI, inversion (PS3.3 C.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lesionlab.array_types import Bools, Floats, UInt8
from lesionlab.data.dicom.elements import items, number, numbers, places, refused, text
from lesionlab.data.dicom.layout import Layout, Pixels
from lesionlab.data.dicom.luts import Lut, lut_of
from lesionlab.data.images import UnreadableImage

MOST_DISTINCT = 2**17  # above it values are sorted, which takes longer


def eight_bit_grey(
    stored: Any, cells: Pixels, values: Pixels, layout: Layout, little: bool
) -> UInt8:
    """(H, W) as a screen would show it; padding is black.

    `cells` are the pixel cells as they are stored, `values` the bits of them that count. What
    follows is computed once for each distinct value, which spares time and memory.
    """
    padding = _padding(stored, cells, values)
    distinct, place = _distinct(values)
    seen = np.zeros(len(distinct), bool)
    seen[place[~padding]] = True
    if not seen.any():
        raise refused("PixelPaddingValue", number(stored, "PixelPaddingValue"), "all pixels are")
    shown = _modality(stored, distinct, layout, little)
    grey = _brightness(stored, shown, seen, layout, little) * 255
    if layout.kind == "MONOCHROME1" or text(stored, "PresentationLUTShape") == "INVERSE":
        grey = 255 - grey
    picture = np.asarray(grey.round(), np.uint8)[place]
    picture[padding] = 0
    return picture


def _distinct(values: Pixels) -> tuple[Pixels, npt.NDArray[np.int32]]:
    """The distinct values in ascending order, and (H, W) the place of each pixel's among them."""
    least, most = int(values.min()), int(values.max())
    if most - least > MOST_DISTINCT:
        distinct, place = np.unique(values, return_inverse=True)
        return distinct, place.reshape(values.shape).astype(np.int32)
    offset = (values.astype(np.int64 if values.itemsize > 2 else np.int32) - least).astype(np.int32)
    known = np.bincount(offset.ravel(), minlength=most - least + 1) > 0
    return (np.flatnonzero(known) + least), (np.cumsum(known, dtype=np.int32) - 1)[offset]


def _padding(stored: Any, cells: Pixels, values: Pixels) -> Bools:
    """(H, W) what fills the rectangle around the image (PS3.3 C.7.5.1.1.2).

    The padding value is compared with the values, and with the whole cells too: it may lie
    beyond the bits that count.
    """
    first = number(stored, "PixelPaddingValue")
    if first is None:
        return np.zeros(values.shape, bool)
    last = number(stored, "PixelPaddingRangeLimit")
    last = first if last is None else last
    low, high = sorted((_in_range(first, values), _in_range(last, values)))
    inside = (values >= low) & (values <= high)
    return np.asarray(inside | (cells == _in_range(first, cells)))


def _in_range(found: float, values: Pixels) -> int:
    """Its element may be written without a sign for signed pixels, or the other way round."""
    limits = np.iinfo(values.dtype)
    span = int(limits.max) - int(limits.min) + 1
    place = int(found)
    return place if limits.min <= place <= limits.max else (place - limits.min) % span + limits.min


def _modality(stored: Any, values: Pixels, layout: Layout, little: bool) -> Pixels:
    """(N,) in the units of the modality: a table, or rescaled (PS3.3 C.11.1)."""
    table = _modality_lut(stored, layout, little)
    if table is not None:
        return table(values)
    slope, offset = _rescale(stored)
    return values if (slope, offset) == (1, 0) else values.astype(np.float64) * slope + offset


def _modality_lut(stored: Any, layout: Layout, little: bool) -> Lut | None:
    found = (
        lut_of(item, signed=layout.signed, little=little)
        for item in items(stored, "ModalityLUTSequence")
    )
    return next((table for table in found if table is not None), None)


def _rescale(stored: Any) -> tuple[float, float]:
    for place in places(stored, "PixelValueTransformationSequence"):
        slope, offset = number(place, "RescaleSlope"), number(place, "RescaleIntercept")
        if slope == 0:
            raise refused("RescaleSlope", slope)
        if slope is not None or offset is not None:
            return 1.0 if slope is None else slope, offset or 0.0
    return 1.0, 0.0


def _brightness(stored: Any, values: Pixels, seen: Bools, layout: Layout, little: bool) -> Floats:
    """(N,) from 0 (black) to 1: by VOI table, else by window, else by the range of the image."""
    negative = bool(values.min() < 0)
    for place in places(stored, "FrameVOILUTSequence"):
        for item in items(place, "VOILUTSequence"):
            table = lut_of(item, signed=negative, little=little)
            if table is not None:
                return np.asarray(table(values) / table.full_scale, np.float64)
        window = _window(place)
        if window is not None:
            function = text(place, "VOILUTFunction").upper() or "LINEAR"
            shown = windowed(values.astype(np.float64), *window, function)
            _refuse_blank(values[seen], *window)
            return shown
    return _stretched(stored, values.astype(np.float64), seen, layout)


def _refuse_blank(values: Pixels, centre: float, width: float) -> None:
    """A window that shows none of the values was meant for others: the picture would be blank."""
    low, high = float(values.min()), float(values.max())
    if low < high and (high < centre - width / 2 or low > centre + width / 2):
        why = f"with width {width:g} it shows none of the values, {low:g} to {high:g}"
        raise refused("WindowCenter", centre, why)


def _window(place: Any) -> tuple[float, float] | None:
    """The first window that has a centre and a width; the first of several is the default."""
    centres, widths = numbers(place, "WindowCenter"), numbers(place, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if centre is not None and width is not None:
            return centre, width
    return None


def windowed(values: Floats, centre: float, width: float, function: str = "LINEAR") -> Floats:
    """Brightness from 0 to 1 by a window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Raises `UnreadableImage` for a width that the function does not allow.

    >>> windowed(np.array([0.0, 127.5, 255.0]), 128, 256).tolist()
    [0.0, 0.5, 1.0]
    """
    if function == "LINEAR":
        if width < 1:
            raise refused("WindowWidth", width, "LINEAR needs at least 1")
        if width == 1:
            return np.asarray(values > centre - 0.5, np.float64)
        return np.asarray(((values - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1))
    if function not in ("LINEAR_EXACT", "SIGMOID"):
        raise refused("VOILUTFunction", function, "not one of the standard")
    if width <= 0:
        raise refused("WindowWidth", width, f"{function} needs more than 0")
    if function == "SIGMOID":
        return np.asarray(expit(4 * (values - centre) / width))
    return np.asarray(((values - centre) / width + 0.5).clip(0, 1))


def _stretched(stored: Any, values: Floats, seen: Bools, layout: Layout) -> Floats:
    """Without a window: the lowest value that is no padding is black, the highest white."""
    low, high = float(values[seen].min()), float(values[seen].max())
    if low == high:  # nothing to stretch: its place in what the file could hold
        slope, offset = _rescale(stored)
        low, high = sorted((layout.least * slope + offset, layout.most * slope + offset))
    if not np.isfinite(high - low):
        raise UnreadableImage("its values have no finite range")
    return np.asarray(((values - low) / (high - low)).clip(0, 1))
