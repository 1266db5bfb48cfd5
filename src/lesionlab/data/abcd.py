"""Lesion geometry and colour as named numbers, after the ABCD rule of dermoscopy.

Asymmetry, border, colour, diameter (Stolz et al. 1994; the numbers here are geometric stand-ins
for what a reader scores, after Celebi et al. 2007). They need a mask and nothing learned, so a
model on them is a yardstick for a network. A lesion is cut out and, where it is large, shrunk
before it is measured: a large picture costs no more. Research use only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lesionlab.array_types import Bools, Floats, UInt8

VERSION = 2  # of the numbers: who keeps them measures anew where it has changed
SMALLEST = 12  # pixels of a lesion below which nothing is said
MOST = 512  # pixels a side that are measured
SKIN = (0.1, 0.45)  # from where to where the skin around a lesion reaches, in its radii
PRESENT = 0.03  # share of the lesion from which on a colour counts
# The six colours that a reader looks for; sRGB values are ours, chosen on published atlases.
COLOURS = {
    "white": (225, 215, 210),
    "red": (175, 75, 70),
    "light_brown": (175, 120, 85),
    "dark_brown": (95, 60, 45),
    "blue_grey": (105, 110, 130),
    "black": (35, 28, 28),
}


@dataclass(frozen=True)
class Abcd:
    """The numbers of one lesion; NaN where the mask is too small to say."""

    area: float  # pixels
    diameter: float  # pixels, the largest distance of two points of the outline
    asymmetry: float  # 0 (symmetric about both main axes) to about 1
    border_irregularity: float  # 0 for a disc, towards 1: 1 - 4 pi area / perimeter^2
    solidity: float  # area over that of the convex hull, to 1
    colour_variegation: float  # CIELAB units: spread of the colours inside
    colours: float  # how many of the six
    contrast: float  # CIELAB units: mean colour inside against the skin around
    darkness: float  # CIELAB lightness of the skin around less that inside

    def to_json(self) -> dict[str, float | None]:
        """Numbers by name; NaN is null."""
        return {k: None if math.isnan(v) else float(v) for k, v in asdict(self).items()}


NAMES = tuple(f.name for f in fields(Abcd))
UNKNOWN = Abcd(*[float("nan")] * len(NAMES))


def measure_lesion(pixels: UInt8, mask: Bools) -> Abcd:
    """`pixels` (H, W, 3) uint8 sRGB, `mask` (H, W) bool: the largest area of it is the lesion.

    At most `MOST` x `MOST` pixels are measured; area and diameter are in pixels of the whole
    picture all the same.

    >>> round(measure_lesion(np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), bool)).area)
    81
    """
    near = closeup(pixels, mask)
    if near is None:
        return UNKNOWN
    area = int(near.lesion.sum())
    hull_area, diameter = _hull(_outline(near.lesion))
    round_off = 4 * math.pi * area / max(perimeter(near.lesion), 1e-9) ** 2
    lab = to_lab(near.pixels)
    inside, skin = lab[near.lesion], lab[_around(near)]
    apart = inside.mean(0) - skin.mean(0) if len(skin) else np.full(3, np.nan)
    return Abcd(
        area=area * near.scale**2,
        diameter=diameter * near.scale,
        asymmetry=asymmetry(near.lesion),
        border_irregularity=max(0.0, 1 - round_off),
        solidity=min(1.0, area / hull_area),
        colour_variegation=float(np.sqrt(inside.var(0).sum())),
        colours=float(_colours(inside)),
        contrast=float(np.linalg.norm(apart)),
        darkness=float(-apart[0]),
    )


@dataclass(frozen=True)
class Closeup:
    """A lesion and the skin around it, at most `MOST` pixels a side.

    `pixels` is (h, w, 3); `lesion` and `others`, what else the mask holds, are (h, w) bool. One
    pixel of it is `scale` pixels of the whole picture wide.
    """

    pixels: UInt8
    lesion: Bools
    others: Bools
    scale: float


def closeup(pixels: UInt8, mask: Bools) -> Closeup | None:
    """The lesion of a picture (as in `measure_lesion`); None where it is too small to measure."""
    areas, n = ndimage.label(mask)
    sizes = np.bincount(areas.ravel(), minlength=2)[1:]
    number = int(sizes.argmax()) + 1
    if n == 0 or sizes.max() < SMALLEST:
        return None
    box = _with_skin(ndimage.find_objects(areas, number)[-1], mask.shape)
    whole = areas[box] == number
    scale = max(1.0, max(whole.shape) / MOST)
    high, wide = (max(1, round(side / scale)) for side in whole.shape)
    shape = (high, wide)
    lesion = largest_area(_covered(whole, shape) > 0.5)
    if lesion.sum() < SMALLEST:
        return None
    others = _covered(mask[box] & ~whole, shape) > 0
    return Closeup(_picked(pixels[box], shape), lesion, others, scale)


def _with_skin(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The lesion's box, wider by as much as the skin around it can reach."""
    high, wide = (s.stop - s.start for s in box)
    margin = 2 + math.ceil(sum(SKIN) * math.sqrt(high * wide / math.pi))
    return tuple(
        slice(max(0, s.start - margin), min(most, s.stop + margin))
        for s, most in zip(box, shape, strict=True)
    )


def _covered(mask: Bools, shape: tuple[int, int]) -> Floats:
    """What share of each of fewer pixels the mask covers, from 0 to 1."""
    if mask.shape == shape:
        return mask.astype(np.float64)
    fine = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(fine.resize(shape[::-1], Image.Resampling.BOX), np.float64) / 255


def _picked(pixels: UInt8, shape: tuple[int, int]) -> UInt8:
    """Fewer of the pixels, not means of them: a mean would take colours out of the lesion."""
    rows, columns = (
        ((np.arange(few) + 0.5) * many / few).astype(np.int64)
        for few, many in zip(shape, pixels.shape[:2], strict=True)
    )
    return pixels[np.ix_(rows, columns)]


def largest_area(mask: Bools) -> Bools:
    """The largest connected area, with its holes filled."""
    areas, n = ndimage.label(mask)
    if n == 0:
        return np.zeros_like(mask)
    return np.asarray(
        ndimage.binary_fill_holes(areas == np.bincount(areas.ravel())[1:].argmax() + 1)
    )


def perimeter(lesion: Bools) -> float:
    """Length of the outline in pixels, by Cauchy and Crofton along four directions."""
    on = np.pad(lesion, 1).astype(np.int8)
    steps = [
        (on[:, 1:] != on[:, :-1]).sum(),
        (on[1:] != on[:-1]).sum(),
        (on[1:, 1:] != on[:-1, :-1]).sum() / math.sqrt(2),
        (on[1:, :-1] != on[:-1, 1:]).sum() / math.sqrt(2),
    ]
    return float(math.pi / 8 * sum(steps))


def asymmetry(lesion: Bools) -> float:
    """Mean over both main axes of the share of the lesion that has no mirror image."""
    y, x = np.nonzero(lesion)
    points = np.column_stack([x, y]) - np.array([x.mean(), y.mean()])
    _, axes = np.linalg.eigh(np.cov(points.T))
    # Turn the lesion so that its main axes lie along the grid, then mirror.
    side = 2 * int(np.ceil(np.linalg.norm(points, axis=1).max())) + 3
    grid = np.indices((side, side)).reshape(2, -1).T - side // 2
    back = grid @ axes.T + np.array([x.mean(), y.mean()])
    turned = ndimage.map_coordinates(lesion.astype(float), back.T[::-1], order=1).reshape(
        side, side
    )
    missing = [np.abs(turned - np.flip(turned, k)).sum() / 2 / turned.sum() for k in (0, 1)]
    return float(np.mean(missing))


def _outline(lesion: Bools) -> Floats:
    """The corners of the pixels on the rim, (n, 2)."""
    rim = np.argwhere(lesion & ~ndimage.binary_erosion(lesion, border_value=0))
    corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    return np.asarray((rim[:, None] + corners).reshape(-1, 2), np.float64)


def _hull(points: Floats) -> tuple[float, float]:
    """Area of the convex hull and the largest distance of two of its corners."""
    try:
        hull = ConvexHull(points)
    except QhullError:
        return float("nan"), float("nan")
    corners = points[hull.vertices]
    far = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    return float(hull.volume), float(far.max())


def _around(near: Closeup) -> Bools:
    """The skin near a lesion: a ring as wide as a third of its radius, a little away from it."""
    radius = math.sqrt(near.lesion.sum() / math.pi)
    inner, outer = (share * radius for share in SKIN)
    away = ndimage.distance_transform_edt(~near.lesion)
    ring = (away > inner) & (away <= outer)
    if near.others.any():
        ring &= ndimage.distance_transform_edt(~near.others) > inner
    return np.asarray(ring, bool)


def to_lab(pixels: UInt8) -> Floats:
    """(..., 3) uint8 sRGB -> CIELAB under D65.

    >>> to_lab(np.array([[255, 255, 255]], np.uint8)).round(1).tolist()
    [[100.0, 0.0, 0.0]]
    """
    share = np.asarray(pixels, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [
            (0.4124564, 0.3575761, 0.1804375),
            (0.2126729, 0.7151522, 0.0721750),
            (0.0193339, 0.1191920, 0.9503041),
        ]
    )
    xyz = linear @ matrix.T / matrix.sum(1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness = 116 * f[..., 1] - 16
    red_green, yellow_blue = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return np.asarray(np.stack([lightness, red_green, yellow_blue], -1) + 0.0, np.float64)


def _colours(inside: Floats) -> int:
    named = to_lab(np.array(list(COLOURS.values()), np.uint8))
    nearest = np.linalg.norm(inside[:, None] - named[None], axis=2).argmin(1)
    shares = np.bincount(nearest, minlength=len(named)) / len(inside)
    return int((shares >= PRESENT).sum())


def abcd_table(
    image_ids: list[str], pictures: Callable[[int], UInt8], masks: Callable[[int], Bools | None]
) -> pd.DataFrame:
    """One row an image: `image_id`, then `NAMES`; NaN without a mask.

    `pictures(i)` gives (H, W, 3) uint8 and `masks(i)` (H, W) bool or None for the i-th id: the
    columns of a hand-made-feature model.
    """
    rows = []
    for i, image_id in enumerate(image_ids):
        mask = masks(i)
        found = UNKNOWN if mask is None else measure_lesion(pictures(i), mask)
        rows.append((image_id, *astuple(found)))
    return pd.DataFrame(rows, columns=["image_id", *NAMES])
