"""From stored colours to RGB of 8 bits: palettes and YCbCr (PS3.3 C.7.6.3.1.2 and C.7.9)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesionlab.array_types import UInt8
from lesionlab.data.dicom.elements import tag, value
from lesionlab.data.dicom.layout import Pixels
from lesionlab.data.dicom.luts import Lut, lut_of
from lesionlab.data.images import UnreadableImage

CHANNELS = ("Red", "Green", "Blue")


def eight_bit_colour(pixels: Pixels, bits: int, kind: str) -> UInt8:
    """(H, W, 3) RGB of samples with `bits` bits in the colour space `kind`."""
    eight = pixels if bits == 8 else np.rint(pixels * (255 / (2**bits - 1)))
    samples = np.asarray(eight.clip(0, 255), np.uint8)
    return samples if kind in ("RGB", "YBR_ICT", "YBR_RCT") else rgb_of_ycbcr(samples)


def rgb_of_ycbcr(samples: UInt8) -> UInt8:
    """(H, W, 3) RGB of YBR_FULL (ITU-T T.871)."""
    from pydicom.pixels.processing import convert_color_space

    return np.asarray(convert_color_space(samples, "YBR_FULL", "RGB"), np.uint8)


def eight_bit_palette(stored: Any, values: Pixels, signed: bool, little: bool) -> UInt8:
    """(H, W, 3) RGB of palette indices. The upper 8 bits of wider entries are kept."""
    tables = [_palette(stored, channel, signed, little) for channel in CHANNELS]
    shown = np.stack([table(values) for table in tables], axis=-1)
    # Entries of 8 bits also stand in tables that declare 16, so the entries themselves decide.
    wide = max(int(table.entries.max()) for table in tables) > 255
    return np.asarray(shown >> 8 if wide else shown, np.uint8)


def _palette(stored: Any, channel: str, signed: bool, little: bool) -> Lut:
    descriptor = f"{channel}PaletteColorLookupTableDescriptor"
    data = f"{channel}PaletteColorLookupTableData"
    table = lut_of(stored, descriptor, data, signed=signed, little=little)
    if table is None and value(stored, f"Segmented{data}") is not None:
        table = _segmented(stored, CHANNELS.index(channel), signed)
    if table is None:
        raise UnreadableImage(f"no palette in {tag(descriptor)} and {tag(data)}")
    return table


def _segmented(stored: Any, channel: int, signed: bool) -> Lut:
    """A palette that is written as straight lines between points, drawn by pydicom."""
    from pydicom.pixels.processing import apply_color_lut

    described = stored.RedPaletteColorLookupTableDescriptor
    n, first, bits = (int(d) for d in described)
    n, first = n % 65536 or 65536, first - 65536 if signed and first > 32767 else first
    if bits == 8 and n > 256:
        raise UnreadableImage(f"a segmented palette of {n} entries of 8 bits")
    drawn = apply_color_lut(np.arange(first, first + n, dtype=np.int32), stored)
    return Lut(first, np.asarray(drawn[:, channel], np.uint16), bits)
