"""From the stored bytes of a frame to pixel cells: one decoder for each transfer syntax.

pydicom would take the first decoder that happens to be installed, and two decoders of one lossy
JPEG differ by a few grey levels. Here a file has the same pixels on every machine, or is refused
with the command that installs what is missing.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from lesionlab import extras
from lesionlab.data.dicom.jpeg_lossless import decode_jpeg_lossless
from lesionlab.data.dicom.layout import Layout, Pixels
from lesionlab.data.images import UnreadableImage

MAX_SCANS = 30  # of a progressive JPEG; each costs a pass over all pixels
BY_PYDICOM = ""
PILLOW, GDCM = "pillow", "gdcm"
_START = "1.2.840.10008.1.2"
# transfer syntax -> the plugin of pydicom that decodes it, and the modules that it imports
DECODERS: dict[str, tuple[str, tuple[str, ...]]] = {
    _START: (BY_PYDICOM, ()),  # implicit VR little endian
    f"{_START}.1": (BY_PYDICOM, ()),  # explicit VR little endian
    f"{_START}.2": (BY_PYDICOM, ()),  # explicit VR big endian (retired)
    f"{_START}.5": ("pydicom", ()),  # RLE
    f"{_START}.4.50": (PILLOW, ()),  # JPEG baseline
    f"{_START}.4.51": (PILLOW, ()),  # JPEG extended, where it has 8 bits
    f"{_START}.4.57": (GDCM, ("gdcm",)),  # JPEG lossless
    f"{_START}.4.70": (GDCM, ("gdcm",)),  # JPEG lossless, first-order prediction
    f"{_START}.4.80": ("pyjpegls", ("jpeg_ls",)),  # JPEG-LS lossless
    f"{_START}.4.81": ("pyjpegls", ("jpeg_ls",)),  # JPEG-LS near-lossless
    f"{_START}.4.90": ("pylibjpeg", ("pylibjpeg", "openjpeg")),  # JPEG 2000 lossless
    f"{_START}.4.91": ("pylibjpeg", ("pylibjpeg", "openjpeg")),  # JPEG 2000
    f"{_START}.4.201": ("pylibjpeg", ("pylibjpeg", "openjpeg")),  # High-Throughput JPEG 2000
    f"{_START}.4.202": ("pylibjpeg", ("pylibjpeg", "openjpeg")),
    f"{_START}.4.203": ("pylibjpeg", ("pylibjpeg", "openjpeg")),
}
DECOMPRESS = "decompress it first, e.g. with DCMTK: dcmdjpeg IN.dcm OUT.dcm"


@dataclass(frozen=True)
class Decoded:
    """(H, W) or (H, W, 3) pixel cells, the colour space that they are in now, and whether unused
    bits may still hold anything."""

    cells: Pixels
    kind: str
    has_unused_bits: bool = False


def decode(stored: Any, syntax: str, layout: Layout) -> Decoded:
    """The only frame of a file. Raises `UnreadableImage` that names the transfer syntax."""
    from pydicom.uid import UID

    named = f"transfer syntax {syntax}" + f" ({UID(syntax).name})" * (UID(syntax).name != syntax)
    if syntax not in DECODERS:
        raise UnreadableImage(f"{named} is not supported", remedy=DECOMPRESS)
    plugin, modules = DECODERS[syntax]
    absent = [m for m in modules if find_spec(m) is None]
    if absent:
        raise UnreadableImage(
            f"{named} needs a decoder that is not installed ({absent[0]})",
            remedy=f"install it: {extras.install_command('dicom')}",
            status=415,
        )
    try:
        if plugin == PILLOW:
            return _by_pillow(stored, layout)
        return _by_gdcm(stored, layout) if plugin == GDCM else _by(plugin, stored, layout)
    except UnreadableImage:
        raise
    except Exception as error:  # noqa: BLE001 (decoders raise whatever a hostile file provokes)
        kind = type(error).__name__
        raise UnreadableImage(
            f"pixel data in (7FE0,0010) cannot be decoded as {named} ({kind})"
        ) from None


def _by(plugin: str, stored: Any, layout: Layout) -> Decoded:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = stored.file_meta.TransferSyntaxUID
    kind = layout.kind
    if syntax.is_encapsulated and plugin != "pydicom":
        kind = _checked_header(_frame(stored), layout)
        if layout.samples == 3:
            stored.PlanarConfiguration = 0  # of codestreams: decoders return colours by pixel
    stored.PhotometricInterpretation = kind
    stored.NumberOfFrames = 1
    corrected = plugin in ("pyjpegls", "pylibjpeg")  # by their own codestreams
    options = {} if corrected else {"correct_unused_bits": False}
    options["allow_excess_frames"] = False
    decoder = get_decoder(syntax)
    cells, meta = decoder.as_array(
        stored,
        index=0,
        raw=True,
        decoding_plugin=plugin,
        **options,  # type: ignore[arg-type]
    )
    cells = np.ascontiguousarray(cells).astype(cells.dtype.newbyteorder("="), copy=False)
    return Decoded(cells, str(meta["photometric_interpretation"]), not corrected)


def _by_gdcm(stored: Any, layout: Layout) -> Decoded:
    frame = _frame(stored)
    header = jpeg_header(frame)
    _same_size(header.columns, header.rows, layout)
    if header.components != layout.samples or not 2 <= header.precision <= layout.allocated:
        raise UnreadableImage(
            f"a JPEG of {header.components} components of {header.precision} bits; the header says "
            f"{layout.samples} of {layout.allocated} in (0028,0002) and (0028,0100)"
        )
    raw = decode_jpeg_lossless(
        frame,
        str(stored.file_meta.TransferSyntaxUID),
        columns=layout.columns,
        rows=layout.rows,
        samples=layout.samples,
        allocated=layout.allocated,
        bits=layout.bits,
        signed=layout.signed,
    )
    shape = (layout.rows, layout.columns, 3)[: 2 + (layout.samples == 3)]
    cells = np.frombuffer(raw, f"<{'ui'[layout.signed]}{layout.allocated // 8}").reshape(shape)
    return Decoded(cells, "RGB" if header.is_rgb else layout.kind, has_unused_bits=True)


def _frame(stored: Any) -> bytes:
    from pydicom.encaps import get_frame

    return bytes(get_frame(stored.PixelData, 0, number_of_frames=1))


def _checked_header(frame: bytes, layout: Layout) -> str:
    """The colour space of the decoded frame; refuses one whose size is not the file's."""
    if frame[:2] == b"\xff\xd8":
        header = jpeg_header(frame)
        _same_size(header.columns, header.rows, layout)
        return layout.kind
    columns, rows, transformed = jpeg2000_header(frame)
    _same_size(columns, rows, layout)
    return "YBR_ICT" if transformed and layout.samples == 3 else layout.kind


def _same_size(columns: int, rows: int, layout: Layout) -> None:
    if (columns, rows) != (layout.columns, layout.rows):
        raise UnreadableImage(
            f"its pixel data is a picture of {columns} x {rows} pixels, and the header says "
            f"{layout.columns} x {layout.rows} in (0028,0011) and (0028,0010)"
        )


def _by_pillow(stored: Any, layout: Layout) -> Decoded:
    """JPEG of 8 bits. Its own markers say best which colour space it is in; else the header."""
    frame = _frame(stored)
    header = jpeg_header(frame)
    _same_size(header.columns, header.rows, layout)
    if header.precision != 8:
        raise UnreadableImage(f"a lossy JPEG of {header.precision} bits", remedy=DECOMPRESS)
    if frame.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImage(f"a JPEG of more than {MAX_SCANS} scans")
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    if layout.samples != header.components:
        raise UnreadableImage(
            f"a JPEG of {header.components} components; the header says {layout.samples} in "
            "(0028,0002)"
        )
    if layout.samples == 1:
        return Decoded(np.asarray(image), layout.kind)
    if layout.kind == "RGB" and not header.says_colour_space:
        image.draft("YCbCr", image.size)  # as they are stored
        return Decoded(np.asarray(image), "RGB")
    return Decoded(np.asarray(image.convert("RGB")), "RGB")


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the scan of a JPEG or JPEG-LS codestream."""

    precision: int
    rows: int
    columns: int
    components: int
    says_colour_space: bool  # by JFIF or Adobe marker, or by the names of its components
    is_rgb: bool  # the components are named R, G, B


def jpeg_header(frame: bytes) -> JpegHeader:
    """The header of a codestream (ISO/IEC 10918-1 B.2); `ValueError` where there is none."""
    place, told = 2, False
    while place + 10 <= len(frame):
        if frame[place] != 0xFF:
            raise ValueError("no marker")
        marker = frame[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        length = int.from_bytes(frame[place + 2 : place + 4], "big")
        body = frame[place + 4 : place + 2 + length]
        told |= (marker == 0xE0 and body[:4] == b"JFIF") or (
            marker == 0xEE and body[:5] == b"Adobe"
        )
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            precision, rows, columns, components = struct.unpack(">BHHB", body[:6])
            rgb = body[6::3][:3] in (b"RGB", b"rgb")
            return JpegHeader(precision, rows, columns, components, told or rgb, rgb)
        place += 2 + length
    raise ValueError("no frame header")


def jpeg2000_header(frame: bytes) -> tuple[int, int, bool]:
    """(columns, rows, whether the colours are transformed) of a codestream (ISO/IEC 15444-1 A.5).

    `ValueError` where there is none.
    """
    start = frame.index(b"\xff\x4f\xff\x51")  # SOC and SIZ; a JP2 file has boxes before them
    _, _, right, bottom, left, top = struct.unpack(">HHIIII", frame[start + 4 : start + 24])
    place = start + 2
    while frame[place : place + 2] not in (b"\xff\x52", b"\xff\x90", b""):
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    transformed = frame[place : place + 2] == b"\xff\x52" and frame[place + 8] == 1
    return right - left, bottom - top, transformed
