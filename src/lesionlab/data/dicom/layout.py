"""How the pixels of a DICOM file are stored, checked before any of them is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.data.dicom.elements import integer, refused, text
from lesionlab.data.images import MAX_ASPECT, MAX_PIXELS, MIN_SIDE, UnreadableImage

Pixels = npt.NDArray[Any]  # integers of the width and sign that the file declares

# photometric interpretation (PS3.3 C.7.6.3.1.2) -> samples per pixel
KINDS = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}


@dataclass(frozen=True)
class Layout:
    """The shape of an image and of its pixel cells; `shift` is the number of bits below the value.

    `least` and `most` are the ends of what `bits` bits can hold.
    """

    rows: int
    columns: int
    kind: str
    samples: int
    allocated: int
    bits: int
    shift: int
    signed: bool

    @property
    def least(self) -> int:
        return -int(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        return int(2 ** (self.bits - self.signed)) - 1


def layout_of(stored: Any) -> Layout:
    """The layout of a file with one frame. Raises `UnreadableImage` that names the element."""
    if "PixelData" not in stored:
        raise UnreadableImage("no pixel data in (7FE0,0010): this DICOM file holds no picture")
    _one_frame(stored)
    kind = text(stored, "PhotometricInterpretation").upper()
    samples = integer(stored, "SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise refused("SamplesPerPixel", samples, "neither grey nor RGB")
    if kind not in KINDS:
        raise refused("PhotometricInterpretation", kind or "(empty)", "not supported")
    if KINDS[kind] != samples:
        raise refused("SamplesPerPixel", samples, f"{kind} has {KINDS[kind]}")
    rows, columns = _shape(stored)
    allocated = integer(stored, "BitsAllocated")
    if allocated not in (8, 16, 32):
        raise refused("BitsAllocated", allocated, "unsupported number of bits per pixel")
    bits = integer(stored, "BitsStored")
    if not 1 <= bits <= allocated:
        raise refused("BitsStored", bits, f"not within 1 and the {allocated} that are allocated")
    signed = integer(stored, "PixelRepresentation")
    if signed not in (0, 1) or (signed and samples == 3):
        raise refused("PixelRepresentation", signed, f"not possible in {kind}")
    shift = max(integer(stored, "HighBit", bits - 1) + 1 - bits, 0)
    if bits + shift > allocated:
        raise refused("HighBit", bits + shift - 1, f"only {allocated} bits are allocated")
    if samples == 3 and integer(stored, "PlanarConfiguration") not in (0, 1):
        raise refused("PlanarConfiguration", integer(stored, "PlanarConfiguration"))
    return Layout(rows, columns, kind, samples, allocated, bits, shift, bool(signed))


def _one_frame(stored: Any) -> None:
    frames = integer(stored, "NumberOfFrames", 1)
    if frames > 1:
        raise UnreadableImage(
            f"number of frames {frames} in (0028,0008): multi-frame files are not supported",
            remedy="export the frame that counts as a file of its own",
        )


def _shape(stored: Any) -> tuple[int, int]:
    rows, columns = integer(stored, "Rows"), integer(stored, "Columns")
    size = f"{columns} x {rows} pixels in (0028,0011) and (0028,0010)"
    if rows * columns > MAX_PIXELS:
        raise UnreadableImage(f"{size}: too many", status=413)
    if min(rows, columns) < MIN_SIDE or max(rows, columns) > MAX_ASPECT * min(rows, columns):
        raise UnreadableImage(f"{size}: no usable picture")
    return rows, columns


def stored_values(cells: Pixels, layout: Layout) -> Pixels:
    """(H, W) the values in the bits that count, signed where the file says so (PS3.5 8.1.1)."""
    width = 8 * cells.dtype.itemsize
    if layout.bits >= width:
        return cells
    above = np.left_shift(cells, max(width - layout.bits - layout.shift, 0))
    return np.asarray(np.right_shift(above, width - layout.bits))
