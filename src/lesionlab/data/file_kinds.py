"""What a file is, by its first bytes: the one table of formats, for import, `predict` and server.

A name says little: Windows saves JPEGs as `.jfif`, a scanner writes no suffix at all, and a web
page that was downloaded in place of an image ends in `.jpg`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lesionlab import extras
from lesionlab.errors import BadInput

HEAD = 4096  # bytes that `kind_of` wants to see

# Pillow's name of each format that is read -> its suffixes, the usual one first.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
DICOM_SUFFIXES = (".dcm", ".dicom")

HEIC_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # lengths of its information header
DICOM_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
DNG_VERSION, SUBFILE_TYPE = 50706, 254  # tags of TIFF
_TO_PNG = "save it as PNG"
_UNPACK = "unpack it"
_RAW = "a camera's raw file: export it as JPEG or TIFF"

# First bytes -> what the file is, and what to do. Longer beginnings stand before their own start.
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", f"GIF: {_TO_PNG}"),
    (b"\0\0\0\x0cjP  ", f"JPEG 2000: {_TO_PNG}"),
    (b"\xff\x4f\xff\x51", f"JPEG 2000: {_TO_PNG}"),
    (b"\0\0\0\x0cJXL ", f"JPEG XL: {_TO_PNG}"),
    (b"\xff\x0a", f"JPEG XL: {_TO_PNG}"),
    (b"II*\0\x10\0\0\0CR", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"IIU\0", _RAW),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"8BPS", f"a Photoshop document: {_TO_PNG}"),
    (b"%PDF", f"a PDF document: {_TO_PNG}"),
    (b"SIMPLE  =", f"FITS: {_TO_PNG}"),
    (b"\0\0\1\0", f"an icon: {_TO_PNG}"),
    (b"\0\x05\x16\x07", "metadata that macOS writes"),
    (b"\x1f\x8b", f"a gzip file: {_UNPACK}"),
    (b"BZh", f"a bzip2 file: {_UNPACK}"),
    (b"\xfd7zXZ", f"an xz file: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a zstd file: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (b"Rar!", f"a RAR archive: {_UNPACK}"),
    (b"PK\3\4", "a zip archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an Office document, or thumbnails of Windows"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"SQLite format 3", "a database"),
    (b"PAR1", "Parquet"),
    (b"RIFF", "sound or video"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"L\0\0\0\1\x14\2\0", "a shortcut of Windows"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file: run git lfs pull"),
)


@dataclass(frozen=True)
class FileKind:
    """What a file is: `format` is a key of `FORMATS`, "DICOM", or "" for anything else.

    `reason` says why the file cannot be read as an image, with a way on; "" where it can be.
    """

    format: str = ""
    reason: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether it has a format of `FORMATS`, also where a decoder is missing."""
        return self.format in FORMATS


def kind_of(head: bytes) -> FileKind:
    """What a file is by its first `HEAD` bytes; it may still be damaged further on.

    >>> kind_of(b"\\xff\\xd8\\xff\\xe0"), kind_of(b"%PDF-1.7").reason
    (FileKind(format='JPEG', reason=''), 'a PDF document: save it as PNG')
    """
    if not head:
        return FileKind("", "an empty file")
    if is_dicom(head):
        return FileKind("DICOM")
    if head[4:8] == b"ftyp":
        return _of_boxes(head)
    other = next((reason for start, reason in OTHERS if head.startswith(start)), "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileKind("WEBP")
    if other:
        return FileKind("", other)
    for name, test in _TESTS:
        if test(head):
            raw = name == "TIFF" and _is_raw(head)
            return FileKind("", _RAW) if raw else FileKind(name)
    return FileKind("", _plain(head))


def suffix_of(name: str) -> str:
    """The suffix of a `/`-separated name in lower case, "" where there is none.

    >>> suffix_of("a.b/IMG_1.JPG"), suffix_of("a.b/scan"), suffix_of("._x")
    ('.jpg', '', '')
    """
    stem, dot, end = name.rsplit("/", 1)[-1].rpartition(".")
    return f".{end.lower()}" if dot and stem.strip("._") else ""


def stem_of(name: str) -> str:
    """The last part of a `/`-separated name, without its suffix."""
    last = name.rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0] if "." in last else last


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as DICOM does: with its preamble, or (old files) at an element.

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"\\x08\\0\\x16\\0UI\\x1a\\x001.2")
    (True, True)
    """
    if head[128:132] == b"DICM" or head[:4] == b"DICM":
        return True
    if head[:2] not in (b"\2\0", b"\x08\0") or len(head) < 10:
        return False
    following = 8 + int.from_bytes(head[4:8], "little")
    return head[4:6] in DICOM_VRS or (
        following <= 72 and head[following : following + 2] == head[:2]
    )


def heic_reason() -> str:
    """Why HEIC cannot be read here, with the command that changes it; "" where it can be."""
    try:
        extras.need("heic", "a HEIC file")
    except BadInput as error:
        return str(error)
    return ""


def _of_boxes(head: bytes) -> FileKind:
    """AVIF, HEIC, video: files of ISO boxes, told apart by their brands."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[i : i + 4] for i in (8, *range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return FileKind("AVIF")
    if b"crx " in brands:
        return FileKind("", _RAW)
    if brands & HEIC_BRANDS:
        return FileKind("HEIF", heic_reason())
    return FileKind("", "a video")


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS


_TESTS = (
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("BMP", _is_bmp),
    ("TIFF", lambda head: head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("PPM", lambda head: re.match(rb"P[1-6]\s+(\d|#)", head) is not None),
)


def _is_raw(head: bytes) -> bool:
    """Whether a TIFF begins with the small preview of a camera's raw picture (DNG, NEF, ARW)."""
    order = "little" if head[:1] == b"I" else "big"
    at = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
    count = int.from_bytes(head[at : at + 2], order)  # type: ignore[arg-type]
    for i in range(min(count, 200)):
        entry = head[at + 2 + 12 * i : at + 14 + 12 * i]
        tag = int.from_bytes(entry[:2], order)  # type: ignore[arg-type]
        value = int.from_bytes(entry[8:12], order)  # type: ignore[arg-type]
        if tag == DNG_VERSION or (tag == SUBFILE_TYPE and value == 1):
            return True
    return False


def _plain(head: bytes) -> str:
    if re.match(rb"\s*(<!doctype html|<html)", head, re.IGNORECASE):
        return "a web page: download the file itself"
    if re.match(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype svg[^>]*>\s*)?<svg", head,
                re.IGNORECASE | re.DOTALL):  # fmt: skip
        return f"SVG: {_TO_PNG}"
    if head[344:347] in (b"n+1", b"ni1"):
        return f"NIfTI: {_TO_PNG}"
    if not head.strip(b"\0"):
        return "nothing but zeros: copy the file again"
    try:
        text = head[:1000].decode("utf-8", "ignore" if len(head) > 1000 else "strict")
    except UnicodeDecodeError:
        return "of an unknown format"
    odd = any(ord(c) < 32 and c not in "\t\n\r\f" for c in text)
    return "of an unknown format" if odd else "text"
