"""DICOM in: pixels as a clinician's screen shows them, and no more tags than we may know.

Only the elements named here are read; names, dates and numbers of people never enter logs or
tables. A patient becomes a number of ours. Import, `predict` and the server all read a file here,
so that its pixels are the same everywhere.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lesionlab import extras
from lesionlab.data.colour_profiles import to_srgb
from lesionlab.data.dicom.colour import eight_bit_colour, eight_bit_palette
from lesionlab.data.dicom.decoders import decode
from lesionlab.data.dicom.elements import FRAME_GROUPS, items, places, text, value
from lesionlab.data.dicom.grey import eight_bit_grey
from lesionlab.data.dicom.layout import layout_of, stored_values
from lesionlab.data.file_kinds import is_dicom
from lesionlab.data.images import UnreadableImage

# What pixels need, and what a model may be told or a reader must know.
PIXEL_TAGS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
              "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
              "PlanarConfiguration", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
              "PixelPaddingValue", "PixelPaddingRangeLimit",
              "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
              "PresentationLUTShape", "ICCProfile", *FRAME_GROUPS,
              *(f"{channel}PaletteColorLookupTable{what}" for channel in ("Red", "Green", "Blue")
                for what in ("Descriptor", "Data")),
              *(f"Segmented{channel}PaletteColorLookupTableData"
                for channel in ("Red", "Green", "Blue")),
              "PixelData")  # fmt: skip
ALLOWED = ("Modality", "BodyPartExamined", "ImageLaterality", "Laterality", "ViewPosition",
           "PatientSex", "PatientAge", "BurnedInAnnotation", "PresentationIntentType")  # fmt: skip
PLACES = ("ViewCodeSequence", "FrameAnatomySequence", *FRAME_GROUPS)
IDENTITY = ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "SourceImageSequence")
PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"PK\x03\x04", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")
# (0054,0220) View Code Sequence, CID 4014: SNOMED RT and SNOMED CT codes
VIEWS = {"R-10242": "CC", "399162004": "CC", "R-10226": "MLO", "399368009": "MLO",
         "R-10224": "ML", "399260004": "ML", "R-10228": "LM", "399352003": "LM"}  # fmt: skip
DEFLATED, EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
MAX_INFLATED = 512 * 2**20  # bytes: a packed file may ask for far more than it holds


@dataclass(frozen=True)
class Identity:
    """Whose picture it is, and of which file it was made. Raw: never store or log it."""

    patient: str = ""
    study: str = ""
    instance: str = ""
    made_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class DicomImage:
    """An 8-bit picture, and what may be told about it."""

    image: Image.Image
    tags: dict[str, str]


@dataclass(frozen=True)
class DicomHeader:
    """What may be told about a file, whose it is, and whether it holds a picture at all."""

    tags: dict[str, str]
    identity: Identity
    is_picture: bool


def read_dicom(data: bytes, where: str) -> DicomImage:
    """Decode one still DICOM image to 8 bits, by the rules of docs/data.md.

    Raises `UnreadableImage` that names the element for what cannot be shown as its makers meant,
    for damaged files and for files that begin with a program; `BadInput` where pydicom is not
    installed.
    """
    with _reading(data, where):
        stored = _elements(data, (*PIXEL_TAGS, *ALLOWED, *PLACES))
        picture = Image.fromarray(_eight_bits(stored))  # refuses an array that is no picture
        return DicomImage(_in_srgb(picture, stored), _told(stored))


def read_dicom_header(data: bytes, where: str) -> DicomHeader:
    """What import needs beside the pixels; decodes none. Raises what `read_dicom` raises."""
    with _reading(data, where):
        stored = _elements(data, ("Rows", *ALLOWED, *PLACES, *IDENTITY))
        return DicomHeader(_told(stored), _identity(stored), "Rows" in stored)


@contextmanager
def _reading(data: bytes, where: str) -> Iterator[None]:
    extras.need("dicom", "a DICOM file")
    _silence_pydicom()
    if not is_dicom(data):
        raise UnreadableImage("not a DICOM file", where=where, status=415)
    if data.startswith(PROGRAMS):
        raise UnreadableImage("its preamble is an executable program", where=where, status=415)
    try:
        yield
    except UnreadableImage as error:
        raise error.located(where) from None
    except Exception as error:  # noqa: BLE001 (pydicom raises whatever a hostile file provokes)
        kind = type(error).__name__  # its message may quote values of tags
        raise UnreadableImage(f"not a readable DICOM image ({kind})", where=where) from None


def _silence_pydicom() -> None:
    """Its warnings quote values of tags, which may name a patient: none reaches a log."""
    logging.getLogger("pydicom").disabled = True  # a level would be undone by its import
    warnings.filterwarnings("ignore", module=r"pydicom\.")


def _elements(data: bytes, wanted: tuple[str, ...]) -> Any:
    """The elements that are wanted, and no other."""
    import pydicom

    if data[:4] == b"DICM":
        data = bytes(128) + data
    if DEFLATED in data[:4096]:
        data = _inflated(data)
    stored = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(wanted))
    if not stored.file_meta.get("TransferSyntaxUID"):
        stored.file_meta.TransferSyntaxUID = _guessed_syntax(stored)
    return stored


def _guessed_syntax(stored: Any) -> Any:
    """Of a file without preamble: as pydicom could read it. Compressed pixels need a preamble."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = stored.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _inflated(data: bytes) -> bytes:
    """A deflated file as the plain file that it was, up to `MAX_INFLATED` bytes."""
    start = 144 + int.from_bytes(data[140:144], "little")  # (0002,0000) tells the header's length
    packer = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = packer.decompress(data[start:], MAX_INFLATED)
    except zlib.error:
        raise UnreadableImage("its deflated elements are damaged") from None
    if packer.unconsumed_tail:
        size = MAX_INFLATED // 2**20
        raise UnreadableImage(f"deflated DICOM of more than {size} MiB", status=413)
    return data[:start].replace(DEFLATED, EXPLICIT) + plain


def _eight_bits(stored: Any) -> Any:
    """(H, W) or (H, W, 3) uint8 as a screen would show it."""
    layout = layout_of(stored)
    syntax = str(stored.file_meta.TransferSyntaxUID)
    little = syntax != "1.2.840.10008.1.2.2"
    decoded = decode(stored, syntax, layout)
    values = decoded.cells
    if decoded.has_unused_bits:
        values = stored_values(decoded.cells, layout)
    if layout.samples == 3:
        return eight_bit_colour(values, layout.bits, decoded.kind)
    if layout.kind == "PALETTE COLOR":
        return eight_bit_palette(stored, values, layout.signed, little)
    return eight_bit_grey(stored, decoded.cells, values, layout, little)


def _in_srgb(picture: Image.Image, stored: Any) -> Image.Image:
    """Colours by the file's ICC profile (PS3.3 C.11.15), which dermoscopy must carry."""
    profile = value(stored, "ICCProfile")
    if picture.mode != "RGB" or profile is None:
        return picture
    picture.info["icc_profile"] = bytes(profile)
    changed = to_srgb(picture)
    changed.info.pop("icc_profile", None)
    return changed


def _told(stored: Any) -> dict[str, str]:
    tags = {name: text(stored, name) for name in ALLOWED}
    codes = [text(item, "CodeValue") for item in items(stored, "ViewCodeSequence")]
    tags["ViewPosition"] = tags["ViewPosition"] or next((VIEWS.get(c, "") for c in codes), "")
    sides = [text(place, "FrameLaterality") for place in places(stored, "FrameAnatomySequence")]
    tags["ImageLaterality"] = tags["ImageLaterality"] or next(filter(None, sides), "")
    return tags


def _identity(stored: Any) -> Identity:
    sources = items(stored, "SourceImageSequence")
    return Identity(
        patient=text(stored, "PatientID"),
        study=text(stored, "StudyInstanceUID"),
        instance=text(stored, "SOPInstanceUID"),
        made_from=tuple(text(item, "ReferencedSOPInstanceUID") for item in sources),
    )


def age_in_years(text: str) -> str:
    """DICOM's age as years, "" where there is none.

    >>> age_in_years("045Y"), age_in_years("018M"), age_in_years("")
    ('45', '1.5', '')
    """
    if len(text) != 4 or not text[:3].isdigit() or text[3] not in "YMWD":
        return ""
    return f"{int(text[:3]) / {'Y': 1, 'M': 12, 'W': 52.1775, 'D': 365.25}[text[3]]:.4g}"
