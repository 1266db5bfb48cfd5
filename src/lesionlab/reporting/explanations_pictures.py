"""Pictures of the page on explanations: what the network saw, maps over it, thumbnails."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from lesionlab.array_types import Bools, Float32, UInt8
from lesionlab.deployment.heatmap import overlay

SHOWN = 224  # pixels a side on the page
QUALITY = 78
BLUR = 0.01  # of the side: a map's standard deviation of blur, for the eye only
CUT = 0.005  # of the pixels: what is higher is shown as high as they are
OUTLINE = (255, 255, 255)
FAILED = (179, 38, 30)  # --danger of the style sheet
SHEET = ((1000, 64), (3000, 48), (10_000, 32))  # up to n images: pixels a side of a thumbnail
SHEET_QUALITY = 72


def over(view: UInt8, found: Float32, mask: Bools | None = None) -> Image.Image:
    """The network's view with the positive part of a map over it, and the lesion's outline."""
    shown = for_the_eye(found)
    # `overlay` shows a class against the mean of the others: of m and -m that is 2 m.
    picture = overlay(view, np.stack([shown, -shown]), 0)
    return picture if mask is None else outlined(picture, mask)


def for_the_eye(found: Float32) -> Float32:
    """(H, W): the positive part, blurred a little and cut at its highest pixels.

    Maps of single pixels (saliency, integrated gradients) have a few pixels many times higher
    than all others: scaled by those, nothing else would be seen.
    """
    positive = np.maximum(found, np.float32(0))
    soft = ndimage.gaussian_filter(positive, BLUR * found.shape[0], mode="nearest")
    top = np.float32(np.quantile(soft, 1 - CUT))
    return np.asarray(np.minimum(soft, top) if top > 0 else soft, np.float32)


def outlined(picture: Image.Image, mask: Bools) -> Image.Image:
    """A thin line around the mask."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    on = np.asarray(large) > 127
    width = max(1, picture.width // 220)
    rim = on & ~ndimage.binary_erosion(on, iterations=width)
    pixels = np.array(picture)
    pixels[rim] = OUTLINE
    return Image.fromarray(pixels)


def framed(picture: Image.Image) -> Image.Image:
    """A red frame: the map is of a method that failed, wherever the picture is taken to."""
    result = picture.copy()
    width = max(3, picture.width // 40)
    ImageDraw.Draw(result).rectangle((0, 0, *(n - 1 for n in picture.size)), None, FAILED, width)
    return result


def plain(view: UInt8) -> Image.Image:
    """The network's view as an RGB picture."""
    return Image.fromarray(view.squeeze()).convert("RGB")


def jpeg(picture: Image.Image, side: int = SHOWN, quality: int = QUALITY) -> bytes:
    """A JPEG of `side` x `side` pixels, without metadata."""
    stream = io.BytesIO()
    picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=quality, optimize=True
    )
    return stream.getvalue()


def sheet(views: Callable[[npt.NDArray[np.int64]], UInt8], n: int) -> tuple[bytes, int, int]:
    """One JPEG with the thumbnails of `n` views, row by row; its columns, and a thumbnail's side.

    `views(rows)` gives (k, S, S, C) uint8; they are asked for a few at a time.
    """
    side = next((s for most, s in SHEET if n <= most), SHEET[-1][1])
    columns = max(1, math.isqrt(max(n - 1, 0)) + 1)
    page = Image.new("RGB", (columns * side, max(1, -(-n // columns)) * side))
    for i in range(0, n, 256):
        for j, view in enumerate(views(np.arange(i, min(i + 256, n))), i):
            small = plain(view).resize((side, side), Image.Resampling.BOX)
            page.paste(small, (j % columns * side, j // columns * side))
    stream = io.BytesIO()
    page.save(stream, "JPEG", quality=SHEET_QUALITY, optimize=True)
    return stream.getvalue(), columns, side
