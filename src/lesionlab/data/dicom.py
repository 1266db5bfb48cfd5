"""DICOM in: pixels as a clinician's screen shows them, and no more tags than we may know.

Only the tags of `ALLOWED` are read; names, dates and numbers of people never enter memory, logs
or tables. A patient becomes a number of ours.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lesionlab import extras
from lesionlab.data.images import MAX_ASPECT, MAX_PIXELS, MIN_SIDE, UnreadableImage

# What pixels need, and what a model may be told or a reader must know.
PIXEL_TAGS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
              "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
              "PlanarConfiguration", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
              "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
              "PresentationLUTShape", "PixelData")  # fmt: skip
ALLOWED = ("Modality", "BodyPartExamined", "ImageLaterality", "Laterality", "ViewPosition",
           "PatientSex", "PatientAge", "BurnedInAnnotation")  # fmt: skip
PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"PK\x03\x04", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")


@dataclass(frozen=True)
class DicomImage:
    """An 8-bit picture and what may be told about it. `patient` is raw: never store or log it."""

    image: Image.Image
    tags: dict[str, str]
    patient: str


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM part 10.

    >>> is_dicom(bytes(128) + b"DICM")
    True
    """
    return data[128:132] == b"DICM"


def read_dicom(data: bytes, where: str, grouping: bool = False) -> DicomImage:
    """Decode one still DICOM image: rescaled, windowed (VOI), MONOCHROME1 inverted, 8 bits.

    `grouping` also reads PatientID, for import to keep a patient's images together. Raises
    `UnreadableImage` for multi-frame files, absurd sizes, unknown transfer syntaxes, damaged
    files and files that begin with a program; `BadInput` where pydicom is not installed.
    """
    pydicom = _pydicom()
    if not is_dicom(data):
        raise UnreadableImage("not a DICOM file", where=where, status=415)
    if data.startswith(PROGRAMS):
        raise UnreadableImage("its preamble is an executable program", where=where, status=415)
    wanted = [*PIXEL_TAGS, *ALLOWED, *(["PatientID"] if grouping else [])]
    try:
        stored = pydicom.dcmread(io.BytesIO(data), specific_tags=wanted)
        _check(stored, where)
        picture = Image.fromarray(_eight_bits(stored))  # refuses an array that is no picture
    except UnreadableImage:
        raise
    except Exception as error:  # noqa: BLE001 (pydicom raises whatever a hostile file provokes)
        kind = type(error).__name__  # its message may quote values of tags
        raise UnreadableImage(f"not a readable DICOM image ({kind})", where=where) from None
    tags = {name: str(stored.get(name, "") or "").strip() for name in ALLOWED}
    return DicomImage(picture, tags, str(stored.get("PatientID", "") or ""))


def _pydicom() -> Any:
    extras.need("dicom", "a DICOM file")
    import pydicom

    return pydicom


def _check(stored: Any, where: str) -> None:
    if int(stored.get("NumberOfFrames", 1) or 1) > 1:
        raise UnreadableImage("multi-frame files are not supported", where=where)
    rows, columns = int(stored.get("Rows", 0) or 0), int(stored.get("Columns", 0) or 0)
    if rows * columns > MAX_PIXELS:
        raise UnreadableImage(f"{columns} x {rows} pixels: too many", where=where, status=413)
    if min(rows, columns) < MIN_SIDE or max(rows, columns) > MAX_ASPECT * min(rows, columns):
        raise UnreadableImage(f"{columns} x {rows} pixels: no usable picture", where=where)
    if int(stored.get("SamplesPerPixel", 1) or 1) not in (1, 3):
        raise UnreadableImage("neither grey nor RGB", where=where)
    if int(stored.get("BitsAllocated", 0) or 0) not in (8, 16, 32):
        raise UnreadableImage("unsupported number of bits per pixel", where=where)


def _eight_bits(stored: Any) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 as a screen would show it."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, convert_color_space

    kind = str(stored.get("PhotometricInterpretation", ""))
    pixels = stored.pixel_array
    if pixels.ndim == 3:
        if kind.startswith("YBR"):
            pixels = convert_color_space(pixels, kind, "RGB")
        return np.asarray(pixels, np.uint8)
    values = apply_voi_lut(apply_modality_lut(pixels, stored), stored).astype(np.float64)
    low, high = _range(stored, values)
    grey = ((values - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    if kind == "MONOCHROME1" or str(stored.get("PresentationLUTShape", "")) == "INVERSE":
        grey = 255 - grey
    return np.asarray(grey.round(), np.uint8)


def _range(stored: Any, values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The values that become black and white: the window's full range, else the data's."""
    if "VOILUTSequence" in stored or "WindowCenter" not in stored:
        return float(values.min()), float(values.max())
    bits = int(stored.get("BitsStored", 8) or 8)
    slope = float(stored.get("RescaleSlope", 1) or 1)
    offset = float(stored.get("RescaleIntercept", 0) or 0)
    signed = int(stored.get("PixelRepresentation", 0) or 0)
    least = -(2 ** (bits - 1)) if signed else 0
    most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    ends = (least * slope + offset, most * slope + offset)
    return min(ends), max(ends)


def age_in_years(text: str) -> str:
    """DICOM's age as years, "" where there is none.

    >>> age_in_years("045Y"), age_in_years("018M"), age_in_years("")
    ('45', '1.5', '')
    """
    if len(text) != 4 or not text[:3].isdigit() or text[3] not in "YMWD":
        return ""
    return f"{int(text[:3]) / {'Y': 1, 'M': 12, 'W': 52.1775, 'D': 365.25}[text[3]]:.4g}"
