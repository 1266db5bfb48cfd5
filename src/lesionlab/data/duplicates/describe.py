"""What an image looks like from afar: a thumbnail, and numbers that no turn or mirror changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.fft import dctn

from lesionlab.array_types import Float32, UInt8

SIDE = 64  # pixels of a thumbnail
SMALL = 32  # pixels of the picture that is described
ORDER = 6  # cosines of frequency 0 to 5 along each axis
FLOOR = 4.0  # grey levels: noise of a blank picture must not be blown up to a pattern
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BLOCK = 2000  # images described at a time


def thumbnail(image: Image.Image) -> UInt8:
    """(64, 64, 3) uint8: the whole picture, whatever its aspect.

    >>> thumbnail(Image.new("L", (100, 40))).shape
    (64, 64, 3)
    """
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small)


def grey(thumbnails: UInt8) -> UInt8:
    """(N, 64, 64) uint8 luma of (N, 64, 64, 3) thumbnails."""
    light: UInt8 = np.rint(thumbnails @ LUMA).astype(np.uint8)
    return light


def descriptors(thumbnails: UInt8) -> Float32:
    """(N, 77) float32: what (N, 64, 64, 3) thumbnails have in common with all their eight turns.

    Brightness and contrast are taken out, then three colour planes go through a cosine
    transform. Of its low frequencies (u, v) a mirror changes signs where u or v is odd, and a
    quarter turn swaps (u, v) with (v, u) besides; so the sum and the absolute difference of the
    two (both even), or their absolute values in order, stay the same under all eight.
    """
    if not len(thumbnails):
        return np.zeros((0, len(frequencies())), np.float32)
    blocks = range(0, len(thumbnails), BLOCK)
    return np.concatenate([_invariants(_cosines(thumbnails[s : s + BLOCK])) for s in blocks])


def _cosines(thumbnails: UInt8) -> Float32:
    """(N, 3, ORDER, ORDER) cosine coefficients of lightness and two colour differences."""
    n, f = len(thumbnails), SIDE // SMALL
    x = thumbnails.reshape(n, SMALL, f, SMALL, f, 3).mean((2, 4), dtype=np.float32)
    light = x.mean(-1, keepdims=True)
    x = (x - light.mean((1, 2, 3), keepdims=True)) / (light.std((1, 2, 3), keepdims=True) + FLOOR)
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    planes = np.stack([x.mean(-1), red - blue, red + blue - 2 * green], axis=1)
    low: Float32 = dctn(planes, axes=(2, 3), norm="ortho")[:, :, :ORDER, :ORDER]
    return low.astype(np.float32)


def _places() -> Iterator[tuple[int, int]]:
    """The (u, v) that are kept, u <= v; the mean of lightness is zero by construction."""
    for u in range(ORDER):
        for v in range(u, ORDER):
            if 0 < u + v <= ORDER:
                yield u, v


def _invariants(low: Float32) -> Float32:
    parts = [low[:, 1:, 0, 0]]
    for u, v in _places():
        a, b = low[:, :, u, v], low[:, :, v, u]
        even = u % 2 == 0 and v % 2 == 0
        if u == v:
            parts.append(a if even else np.abs(a))
        elif even:
            parts += [a + b, np.abs(a - b)]
        else:
            a, b = np.abs(a), np.abs(b)
            parts += [np.maximum(a, b), np.minimum(a, b)]
    return np.concatenate(parts, axis=1)


def frequencies() -> Float32:
    """(77,) the spatial frequency behind each number of a descriptor."""
    parts = [0.0, 0.0]
    for u, v in _places():
        parts += [float(np.hypot(u, v))] * (3 if u == v else 6)
    return np.array(parts, np.float32)


def standardised(raw: Float32) -> Float32:
    """(N, 77) descriptors on one scale, in which a small crop moves all numbers about alike.

    Each number is divided by its spread over the images at hand, and by one plus its
    frequency: the finer a pattern, the more a shift changes it.
    """
    if not len(raw):
        return raw
    spread = raw.std(axis=0) + np.float32(1e-3)
    scaled: Float32 = (raw - raw.mean(axis=0)) / (spread * (1 + frequencies()))
    return scaled
