"""Opening an image that may be hostile, and the one way in which it becomes network input.

The cache, the audit and the deployed predictor all call `open_image` and `prepare`, so that
what the network sees in training is, bit for bit, what it sees at the clinic.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lesionlab.array_types import UInt8
from lesionlab.data.colour_profiles import to_srgb, wide_by_number
from lesionlab.data.depth import NotShowable, eight_bit_float, eight_bit_grey
from lesionlab.data.file_kinds import HEAD, kind_of
from lesionlab.errors import BadInput

MAX_PIXELS = 100_000_000  # 100 megapixels: four times the largest dermatoscope
MIN_SIDE = 8
ORIENTATION = 0x0112  # a tag of EXIF
TURNS = {  # as `ImageOps.exif_transpose`
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_ASPECT = 20.0
# What Pillow's readers raise for a damaged file, found by the fuzzer: not OSError alone. It is
# caught around Pillow's own reading only (`_reading`), so that a bug of ours stays visible.
CORRUPT = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, MemoryError, TypeError),
    *(AttributeError, ArithmeticError, RuntimeError, AssertionError, struct.error, zlib.error),
)

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input: geometry in integers, then `(x / 255 - mean) / std`.

    `fit`: "squash" resizes to size x size whatever the aspect; "crop" takes the largest centred
    square first. `channels` is 3 (RGB) or 1 (grey, ITU-R 601 luma). With `crop` < 1 the picture
    is resized to `resized_side` and its central size x size pixels are kept, as timm does for
    `crop_pct`. Raises `BadInput` where the resized picture would be larger than any image may be.

    >>> Preprocessing(size=224, crop=0.875).resized_side, Preprocessing(crop=0.875).margin
    (256, 16)
    """

    size: int = 224
    fit: Literal["squash", "crop"] = "squash"
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop: float = 1.0

    def __post_init__(self) -> None:
        if (self.size / self.crop) ** 2 > MAX_PIXELS:
            raise BadInput(
                f"crop {self.crop:g} of {self.size} pixels needs a resized image of more "
                f"than {MAX_PIXELS // 10**6} megapixels",
                where="input.crop",
                remedy="keep a larger fraction, e.g. 0.875",
            )

    @property
    def resized_side(self) -> int:
        """Pixels a side after the resize, before the central crop: floor(size / crop)."""
        return math.floor(self.size / self.crop)

    @property
    def margin(self) -> int:
        """Pixels that the crop leaves out at the left and at the top; half goes to even."""
        return round((self.resized_side - self.size) / 2)


# Fields younger than the first caches: at these values a key is what it was without them.
_YOUNGER: dict[str, object] = {"interpolation": "bilinear", "crop": 1.0}


def key_parts(how: Preprocessing) -> dict[str, object]:
    """The fields by name for the key of a cache; younger ones only where they change pixels.

    >>> sorted(key_parts(Preprocessing(crop=0.9)))
    ['channels', 'crop', 'fit', 'mean', 'size', 'std']
    """
    return {k: v for k, v in asdict(how).items() if _YOUNGER.get(k) != v}


@dataclass(frozen=True)
class Roi:
    """A square region: centre in original pixels, origin top-left, and side in pixels."""

    x: float
    y: float
    size: float


class UnreadableImage(BadInput):
    """A file that is no usable image; `status` is the HTTP status of docs/bad-inputs.md."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "", status: int = 422) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.reason = what
        self.remedy = remedy
        self.status = status

    @property
    def advice(self) -> str:
        """The reason, with the remedy if there is one."""
        return "; ".join(filter(None, (self.reason, self.remedy)))

    def located(self, where: str) -> UnreadableImage:
        """The same refusal of a named file."""
        return UnreadableImage(self.reason, where=where, remedy=self.remedy, status=self.status)


@dataclass(frozen=True)
class Reading:
    """By which rule stored values become 8 bits; a data set's is fixed when it is imported.

    `depth`: of greys of 16 bits the upper 8 of so many bits are kept (`data/depth.py`). `colour`:
    "srgb" converts by an embedded profile and reads floating point by its declared range;
    "stored" does neither, as version 0.1.0 did, and is for the data sets that it imported.
    """

    depth: int = 16
    colour: Literal["srgb", "stored"] = "srgb"


USUAL = Reading()
LEGACY = Reading(colour="stored")  # values of more than 16 bits, or below 0, became 255


def open_image(
    source: Path | bytes, name: str = "", sha256: str = "", reading: Reading = USUAL
) -> Image.Image:
    """Decode one still image completely, upright, as 8-bit "RGB" or "L".

    Of a multi-picture JPEG (MPO: phones add previews) the first picture is taken. Raises
    `UnreadableImage` for what is empty, of no allowed format, truncated, huge by its header,
    otherwise animated or multi-page, tiny or of an extreme aspect. Greys of 16 bits and profiles
    are read by `reading`; alpha is laid over white; palette and CMYK become RGB; EXIF rotation is
    applied and all metadata dropped. `sha256` (hex) is that of the file that was imported; any
    other file is refused.
    """
    where = name or (str(source) if isinstance(source, Path) else "image")
    return as_shown(decoded(source, where, sha256), reading, where)


def decoded(source: Path | bytes, where: str, sha256: str = "") -> Image.Image:
    """One still image as its file stores it, in any mode of Pillow, not turned; checked."""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise UnreadableImage(f"cannot be read ({error.strerror})", where=where) from None
    if not data:
        raise UnreadableImage("the file is empty", where=where)
    if sha256:
        _check_same(data, sha256, where)
    with _reading(where):
        image = opened(data)
    _check_size(*image.size, where)
    with _reading(where):
        frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise UnreadableImage("animated or multi-page", where=where)
    _check_shape(*image.size, where)
    with _reading(where):
        image.load()
    if space := wide_by_number(data, image):
        raise UnreadableImage(f"colours of {space} without a profile: save it as sRGB", where=where)
    return image


def as_shown(stored: Image.Image, reading: Reading, where: str) -> Image.Image:
    """What `decoded` gave, upright, as 8-bit "RGB" or "L"."""
    plain, turn = eight_bits(stored, reading, where), TURNS.get(orientation_of(stored, where))
    return plain if turn is None else plain.transpose(turn)


def eight_bits(stored: Image.Image, reading: Reading, where: str) -> Image.Image:
    """What `decoded` gave, as 8-bit "RGB" or "L", not turned."""
    try:
        return _eight_bit(stored, reading, where)
    except NotShowable as error:
        raise UnreadableImage(str(error), where=where) from None


def orientation_of(image: Image.Image, where: str = "image") -> int:
    """How the picture is to be turned, 1 (not at all) to 8, by its EXIF (or XMP) data."""
    with _reading(where):
        return int(image.getexif().get(ORIENTATION, 1))


def opened(data: bytes) -> Image.Image:
    """Pillow's image of an allowed format, of which only the header was read.

    Raises what Pillow raises; `UnreadableImage` for HEIC where its decoder is not installed.
    """
    kind = kind_of(data[:HEAD])
    if not kind.is_picture:
        raise UnidentifiedImageError(kind.reason or kind.format)
    if kind.reason:
        raise UnreadableImage(kind.reason, status=415)
    if kind.format == "HEIF":
        _register_heif()
    try:
        return Image.open(io.BytesIO(data), formats=(kind.format,))
    except UnidentifiedImageError:
        raise UnidentifiedImageError(f"a damaged {kind.format} file") from None


def header_of(data: bytes, where: str) -> Image.Image:
    """The image of which only the header was read; `UnreadableImage` where it is none."""
    with _reading(where):
        return opened(data)


@cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Pillow reads a file that may be hostile: what it raises is told as `UnreadableImage`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit decides, from the header
            yield
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, where=where, status=error.status) from None
    except UnidentifiedImageError as error:
        what = f"not an image of an allowed format ({error})"
        raise UnreadableImage(what, where=where, status=415) from None
    except Image.DecompressionBombError:
        raise UnreadableImage("more pixels than allowed", where=where, status=413) from None
    except CORRUPT as error:
        raise UnreadableImage(f"truncated or corrupt ({error})", where=where) from None


def _check_same(data: bytes, sha256: str, where: str) -> None:
    if hashlib.sha256(data).hexdigest() != sha256.lower():
        raise UnreadableImage(
            "is not the file that was imported (its SHA-256 differs)",
            where=where,
            remedy="import the data set again, or put the file back",
        )


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"{width} x {height} pixels, more than {MAX_PIXELS // 10**6} megapixels",
            where=where,
            status=413,
        )


def _check_shape(width: int, height: int, where: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} pixels is too small", where=where)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImage(f"{width} x {height} pixels: extreme aspect", where=where)


def _eight_bit(image: Image.Image, reading: Reading, where: str) -> Image.Image:
    if reading.colour == "srgb":
        image = to_srgb(image)
    if image.mode in ("RGB", "L"):
        plain = Image.new(image.mode, image.size)
        plain.paste(image)
        return plain
    if reading.colour == "srgb" and image.mode == "F":
        return eight_bit_float(image)
    if image.mode.startswith("I") and reading != LEGACY:
        return eight_bit_grey(image, reading.depth)
    if image.mode.startswith("I"):
        return Image.fromarray(
            (np.asarray(image).astype("uint32") >> 8).clip(0, 255).astype("uint8")
        )
    try:
        return _converted(image)
    except ValueError as error:  # a mode that Pillow reads and cannot convert
        raise UnreadableImage(f"pixel format not supported ({error})", where=where) from None


def _converted(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "LA"):
        return _over_white(image.convert("LA")).convert("L")
    if image.mode in ("P", "PA", "RGBA", "RGBa", "La"):
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    page = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(page, rgba).convert("RGB")


def prepare(image: Image.Image, how: Preprocessing, roi: Roi | None = None) -> UInt8:
    """The network's view of an image: (size, size, channels) uint8.

    One region or square (outside the image is black), then one antialiased resize in Pillow's
    fixed-point arithmetic, which is integer and so the same on every machine, then the centre.

    >>> prepare(Image.new("RGB", (40, 30)), Preprocessing(size=16)).shape
    (16, 16, 3)
    """
    image = image.convert("RGB" if how.channels == 3 else "L")
    if roi is not None:
        left, top = round(roi.x - roi.size / 2), round(roi.y - roi.size / 2)
        side = max(1, round(roi.size))
        image = image.crop((left, top, left + side, top + side))
    elif how.fit == "crop":
        image = image.crop(central_square(*image.size))
    side = how.resized_side
    if image.size != (side, side):
        image = image.resize((side, side), FILTERS[how.interpolation])
    return centre(image, how)


def central_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest centred square, in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def centre(resized: Image.Image, how: Preprocessing) -> UInt8:
    """What the crop keeps of a resized picture: (size, size, channels) uint8."""
    if resized.width != how.size:
        first, last = how.margin, how.margin + how.size
        resized = resized.crop((first, first, last, last))
    return np.asarray(resized).reshape(how.size, how.size, how.channels)


def normalise(pixels: UInt8, how: Preprocessing) -> npt.NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, C, H, W) float32, `(x / 255 - mean) / std`."""
    mean = np.asarray(how.mean, np.float32)
    std = np.asarray(how.std, np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
