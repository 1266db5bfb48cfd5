"""Where a map points, against a lesion's mask; and what a network can do with parts of a picture.

`masks` are (N, H, W) bool at the size of the network's view. The references need no network:
"centre" points at the middle of every picture, where people put lesions, and "random" anywhere.
A map that does no better than "centre" has found nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from lesionlab.array_types import Bools, Float32, Floats, UInt8
from lesionlab.data.randomness import philox
from lesionlab.explanation.statistics import constant

BORDER = 0.15  # width of the ring on each side of the outline, in radii of an equal disc
GRID = 7  # cells a side of a random reference, as coarse as a network's last map


def pointing(maps: Float32, masks: Bools) -> Floats:
    """(N,) 1.0 where the highest point of the map lies in the mask, 0.0 elsewhere.

    The pointing game of Zhang et al. (ECCV 2016), without their tolerance. NaN without a mask,
    or where a map is constant. Among equal points the share inside counts.
    """
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    top = flat == flat.max(1, keepdims=True)
    score = (top & inside).sum(1) / top.sum(1)
    known = inside.any(1) & ~constant(maps)
    return np.where(known, score, np.nan)


def share_inside(maps: Float32, masks: Bools) -> Floats:
    """(N,) the share of the positive attribution that lies in the mask; NaN without any."""
    mass = np.maximum(maps, 0).astype(np.float64)
    total, inside = mass.sum((1, 2)), (mass * masks).sum((1, 2))
    known = (total > 0) & masks.any((1, 2))
    return np.where(known, inside / np.where(total > 0, total, 1), np.nan)


def centre(n: int, side: int) -> Float32:
    """(n, side, side): higher towards the middle of the picture."""
    axis = np.abs(np.arange(side) - (side - 1) / 2)
    far = np.hypot(axis[:, None], axis[None])
    peak = (1 - far / far.max()).astype(np.float32)
    return np.broadcast_to(peak, (n, side, side))


def random(n: int, side: int, seed: int = 0) -> Float32:
    """(n, side, side): a smooth random map for each image."""
    cells = philox(seed, "random map").random((n, GRID, GRID)).astype(np.float32)
    size = (side, side)
    return np.stack([np.asarray(Image.fromarray(c).resize(size, 2), np.float32) for c in cells])


REFERENCES: dict[str, Callable[[int, int], Float32]] = {"centre": centre, "random": random}


def ring(mask: Bools) -> Bools:
    """The neighbourhood of a lesion's outline, on both sides of it."""
    width = max(1, round(BORDER * float(np.sqrt(mask.sum() / np.pi))))
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~mask)
    return np.asarray((inside <= width) & (outside <= width), bool)


def box(mask: Bools) -> Bools:
    """The lesion's bounding box, filled: it tells the place and size, not the shape."""
    filled = np.zeros_like(mask)
    if mask.any():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return filled


def _everything(mask: Bools) -> Bools:
    return np.ones_like(mask)


def _lesion(mask: Bools) -> Bools:
    return mask


def _background(mask: Bools) -> Bools:
    return ~box(mask)


# What of a picture is left; everything else becomes one flat colour, the mean of what is left.
PARTS: dict[str, Callable[[Bools], Bools]] = {
    "whole": _everything,
    "lesion_only": _lesion,
    "border_only": ring,
    "background_only": _background,
}


def only(part: str, views: UInt8, masks: Bools) -> UInt8:
    """(N, H, W, C) uint8 views of which only one part of `PARTS` is left.

    The rest takes the mean colour of that part, so that nothing of what was taken away shows; mid
    grey where nothing is left.
    """
    shown = views.copy()
    for image, mask in zip(shown, masks, strict=True):
        left = PARTS[part](mask)
        image[~left] = image[left].mean(0).round().astype(np.uint8) if left.any() else 128
    return shown


def left_over(part: str, masks: Bools) -> Floats:
    """(N,) the share of the picture that `only(part)` leaves."""
    return np.array([PARTS[part](mask).mean() for mask in masks])
