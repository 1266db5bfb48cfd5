"""Embedded ICC profiles: pictures in other colour spaces are converted to sRGB.

Phones save Display P3, cameras Adobe RGB. Read as sRGB their colours are dull, and a network sees
other lesions than it learnt from. A profile that says sRGB changes no pixel.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "CMYK": "CMYK"}  # the profile's own word -> the mode of Pillow
SAME = 2  # grey levels: a profile that is so near to sRGB over a grid of colours is sRGB
LIKE_SRGB = (1, 2, 5, 6, 7)  # BT.709, not stated, and the old television systems near to it
PRIMARIES = {9: "Rec. 2020", 11: "DCI-P3", 12: "Display P3"}
NUMBERED = 65536  # bytes within which the number stands, before the pixels
PROFILES = 64  # that are kept, with their conversion


def wide_by_number(data: bytes, image: Image.Image) -> str:
    """The colour space that a file names by its number (ITU-T H.273) where it is not that of sRGB.

    AVIF, HEIC and PNG may do so in place of a profile, and Pillow does not say. "" otherwise.
    """
    mark = {"AVIF": b"colrnclx", "HEIF": b"colrnclx", "PNG": b"cICP"}.get(image.format or "")
    at = data[:NUMBERED].find(mark) if mark else -1
    if mark is None or at < 0 or image.info.get("icc_profile"):
        return ""
    start, length = at + len(mark), 1 if image.format == "PNG" else 2
    number = int.from_bytes(data[start : start + length], "big")
    return "" if number in LIKE_SRGB else PRIMARIES.get(number, f"primaries {number}")


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB by its embedded profile; itself where there is none or it is sRGB.

    Colorimetric, relative to white. Greys keep their values whatever their profile; a damaged
    profile, or one of another colour space than the picture, is ignored.
    """
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not data:
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    change = _conversion(data, "RGB" if image.mode in ("RGB", "RGBA") else image.mode)
    if change is None:
        return image
    changed: Image.Image = change.apply(image.convert("RGB") if image.mode == "RGBA" else image)
    if image.mode == "RGBA":
        changed.putalpha(image.getchannel("A"))
    return changed


@lru_cache(PROFILES)
def _conversion(data: bytes, mode: str) -> Any:
    """What changes pictures of a mode to sRGB; None where nothing is to be changed."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if SPACES.get(profile.profile.xcolor_space.strip()) != mode:
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        change = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB", intent
        )
    except (ImageCms.PyCMSError, OSError, ValueError, AttributeError, TypeError):
        return None
    return None if mode == "RGB" and _changes_nothing(change) else change


def _changes_nothing(change: Any) -> bool:
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    changed = np.asarray(change.apply(Image.fromarray(grid)))
    return int(np.abs(changed.astype(int) - grid).max()) <= SAME
