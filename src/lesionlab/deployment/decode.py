"""From a file's bytes to the network's view; huge JPEGs are decoded at a fraction of their size.

The promise of equal pixels (training, command line, server, browser) holds for all that
`open_image` and `prepare` decode. For a JPEG of at least 4 megapixels libjpeg may leave out what
the resize would throw away (its scaled inverse DCT, Pillow's "draft"): two to three times faster,
and within `DRAFT_BOUND` grey levels of the full decode. `draft=False` turns it off.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from lesionlab.array_types import UInt8
from lesionlab.data.colour_profiles import to_srgb
from lesionlab.data.depth import depth_needed, peak_of
from lesionlab.data.dicom import read_dicom
from lesionlab.data.file_kinds import is_dicom
from lesionlab.data.images import (
    FILTERS,
    MAX_PIXELS,
    ORIENTATION,
    Preprocessing,
    Reading,
    Roi,
    UnreadableImage,
    as_shown,
    central_square,
    centre,
    decoded,
    opened,
    prepare,
)
from lesionlab.errors import BadInput

DRAFT_PIXELS = 4_000_000
DRAFT_BOUND = 3  # grey levels, of either filter: measured in tests/deployment/test_decode.py
MAX_BYTES = 512 * 2**20  # of a file; the server's own limit is far below
MAX_SCANS = 30  # progressive JPEGs have about ten; each costs a pass over all pixels
HEADROOM = 3  # the scaled decode is at least this many times the resized side
FEW_BITS = 4  # fewer by so many make at most 16 greys of 256
# Within a scan 0xff is followed by 0 or a restart, so that no marker occurs there by chance.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd8\xff])", re.DOTALL)


@dataclass(frozen=True)
class View:
    """What the network is shown of a file, (size, size, C) uint8, and what a reader must know."""

    pixels: UInt8
    note: str = ""


def read_view(
    source: Path | bytes,
    how: Preprocessing,
    roi: Roi | None = None,
    *,
    name: str = "",
    draft: bool = True,
    depth: int = 16,
) -> View:
    """The network's view of an image or DICOM file; `UnreadableImage` if it is none.

    `depth` is that of the 16-bit greys that the model learnt from.
    """
    data = _bytes(source, name)
    name = name or (str(source) if isinstance(source, Path) else "image")
    if is_dicom(data):
        return _dicom(data, how, roi, name)
    _refuse_scans(data, name)
    pixels = _drafted(data, how) if draft and roi is None else None
    if pixels is not None:
        return View(pixels)
    stored = decoded(data, name)
    image = as_shown(stored, Reading(depth), name)
    return View(prepare(image, how, roi), _dark(peak_of(stored), depth))


def _dark(peak: int | None, depth: int) -> str:
    """What a reader must know of an image whose values use few of the bits that are read."""
    if peak is None or depth_needed(peak) > depth - FEW_BITS:
        return ""
    return f"its values use {depth_needed(peak)} of {depth} bits: the model sees it dark"


def _refuse_scans(data: bytes, name: str) -> None:
    """A small JPEG may ask for thousands of passes over all its pixels, minutes of work."""
    if data.startswith(b"\xff\xd8") and _scans(data) > MAX_SCANS:
        raise UnreadableImage(f"a JPEG of more than {MAX_SCANS} scans", where=name)


def _scans(data: bytes) -> int:
    """The scans of a JPEG's first picture: a phone may append others, and a video of any bytes."""
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        at = found.end()
        if scans > MAX_SCANS:
            break
        if found[1] != b"\x01":  # all others have a length; what follows is scanned again
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    return scans


def _dicom(data: bytes, how: Preprocessing, roi: Roi | None, name: str) -> View:
    try:
        dicom = read_dicom(data, name)
    except UnreadableImage:
        raise
    except BadInput as error:  # the extra is not installed
        raise UnreadableImage(str(error), where=name, status=415) from None
    burned = dicom.tags.get("BurnedInAnnotation", "").upper() == "YES"
    return View(prepare(dicom.image, how, roi), "text is burned into the image" if burned else "")


def refuse_pixels(data: bytes, most: int, name: str = "") -> None:
    """`UnreadableImage` (413) where the header claims more than `most` pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = opened(data).size
    except Exception:  # noqa: BLE001 (the decode names what is wrong)
        return
    if width * height > most:
        what = f"{width} x {height} pixels, more than {most // 10**6} megapixels"
        raise UnreadableImage(what, where=name, status=413)


def _bytes(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > MAX_BYTES:
            what = f"more than {MAX_BYTES // 2**20} MiB"
            raise UnreadableImage(what, where=name or str(source), status=413)
        return source.read_bytes()
    except OSError as error:
        where = name or str(source)
        raise UnreadableImage(f"cannot be read ({error.strerror})", where=where) from None


def _drafted(data: bytes, how: Preprocessing) -> UInt8 | None:
    """The scaled decode of a huge JPEG; None where it is none or anything is odd about it."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = Image.open(io.BytesIO(data), formats=("JPEG",))
            width, height = stored.size
            if not _worth_it(stored, how):
                return None
            wanted = HEADROOM * how.resized_side
            stored.draft(None, (wanted, wanted))
            scale = round(width / stored.width)
            stored.load()
            orientation = stored.getexif().get(ORIENTATION, 1)
            image = to_srgb(stored)
    except Exception:  # noqa: BLE001 (the full decode names what is wrong)
        return None
    return _shrunk(image, (width, height), scale, orientation, how)


def _worth_it(image: Image.Image, how: Preprocessing) -> bool:
    pixels = image.width * image.height
    return (
        image.mode in ("RGB", "L")
        and DRAFT_PIXELS <= pixels <= MAX_PIXELS
        and min(image.size) >= 2 * HEADROOM * how.resized_side
        and getattr(image, "n_frames", 1) == 1
        and max(image.size) <= 4 * min(image.size)
    )


def _shrunk(
    image: Image.Image,
    full: tuple[int, int],
    scale: int,
    orientation: int,
    how: Preprocessing,
) -> UInt8:
    """Resize by the borders of the full image, which need not fall on a whole scaled pixel."""
    image = image.convert("RGB" if how.channels == 3 else "L")
    left, top, right, bottom = central_square(*full) if how.fit == "crop" else (0, 0, *full)
    # What lies outside the square must not reach its edge, as in the full decode.
    x, y = left // scale, top // scale
    image = image.crop(
        (x, y, min(-(-right // scale), image.width), min(-(-bottom // scale), image.height))
    )
    box = (
        left / scale - x,
        top / scale - y,
        min(right / scale - x, image.width),
        min(bottom / scale - y, image.height),
    )
    side = how.resized_side
    small = image.resize((side, side), FILTERS[how.interpolation], box)
    if orientation != 1:
        small.getexif()[ORIENTATION] = orientation
        small = ImageOps.exif_transpose(small)
    return centre(small, how)  # upright first: an odd margin is no mirror image of itself
