"""Regions of films: where the breast is, random points inside it, and balanced selections."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy import ndimage

from lesionlab.array_types import Bools
from lesionlab.data.images import Preprocessing, Roi, prepare
from lesionlab.data.randomness import philox
from lesionlab.errors import BadInput

STEP = 8  # the mask has one cell for STEP x STEP pixels of the film
NO_KIND = ("", "NORM")  # rows of no abnormality class: the normals


def otsu(pixels: npt.NDArray[np.uint8]) -> int:
    """The grey value that best parts dark from bright (Otsu 1979)."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(float)
    below, mass = counts.cumsum(), (counts * np.arange(256)).cumsum()
    spread = (mass[-1] * below / below[-1] - mass) ** 2
    return int((spread / np.maximum(below * (below[-1] - below), 1)).argmax())


def breast_mask(film: Image.Image) -> Bools:
    """(height / 8, width / 8) bool: the largest bright area of a film, holes filled.

    Labels and tape stand apart from the breast and are smaller; the pectoral muscle is inside.
    """
    size = (max(1, film.width // STEP), max(1, film.height // STEP))
    small = np.asarray(film.convert("L").resize(size, Image.Resampling.BOX))
    bright = ndimage.binary_opening(small > otsu(small), iterations=2)
    areas, n = ndimage.label(bright)
    if n == 0:
        return np.ones_like(bright)
    largest = np.bincount(areas.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(areas == largest), bool)


def random_point(mask: Bools, margin: float, draw: np.random.Generator) -> tuple[float, float]:
    """A random (x, y) in film pixels inside `mask`, `margin` from its rim where there is room."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inside = np.argwhere(depth >= min(margin / STEP, depth.max()))
    row, column = inside[int(draw.integers(len(inside)))]
    x, y = (column + draw.random()) * STEP, (row + draw.random()) * STEP
    return round(float(x), 1), round(float(y), 1)


def dihedral(image: Image.Image) -> list[tuple[str, Image.Image]]:
    """The tutorial's 12 versions: 4 rotations, each also mirrored left-right and top-bottom.

    Only 8 of them are distinct pictures: the tutorial counts 4 of them twice.
    """
    versions = []
    for turn in (0, 90, 180, 270):
        turned = image.rotate(turn, expand=True)
        versions += [
            (f"r{turn}", turned),
            (f"r{turn}-lr", turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
            (f"r{turn}-tb", turned.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
        ]
    return versions


def crop_png(film: Image.Image, roi: Roi, size: int) -> Image.Image:
    """The region of a film as a grey picture of `size` x `size` pixels."""
    pixels = prepare(film, Preprocessing(size=size, channels=1), roi)
    return Image.fromarray(pixels[..., 0])


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def balanced(
    table: pd.DataFrame,
    how: str,
    seed: int,
    malignant: Sequence[str],
    kind_column: str = "abnormality",
) -> Bools:
    """(N,) which rows to keep so that benign and malignant are equally many.

    `how="class"`: within each kind of abnormality as many benign as malignant rows, and normals
    cut to the mean size of the kinds. `how="full"`: besides, every kind cut to the size of the
    rarest, and normals too. Rows without a kind and not malignant count as normals where other
    rows have kinds; without the column, all rows are of one kind. Meant for training rows only.
    """
    if how not in ("class", "full"):
        raise BadInput(f"no balance '{how}'", remedy="known: class, full")
    kinds = table[kind_column].to_numpy(object) if kind_column in table else np.full(len(table), "")
    one_kind = not any(k not in NO_KIND for k in kinds)
    bad = table["label"].isin(list(malignant)).to_numpy()
    normal = np.zeros(len(table), bool) if one_kind else np.isin(kinds, NO_KIND) & ~bad
    order = np.argsort(table["image_id"].to_numpy(str), kind="stable")
    order = order[philox(seed, "balance").permutation(len(order))]
    pools = {
        k: [[i for i in order if kinds[i] == k and bad[i] == m and not normal[i]] for m in (0, 1)]
        for k in sorted(set(kinds[~normal]))
    }
    each = {k: min(map(len, pool)) for k, pool in pools.items()}
    if how == "full":
        each = dict.fromkeys(each, min(each.values(), default=0))
    mean = round(2 * sum(each.values()) / max(len(each), 1))
    chosen = [i for k, pool in pools.items() for side in pool for i in side[: each[k]]]
    chosen += [i for i in order if normal[i]][:mean]
    keep = np.zeros(len(table), bool)
    keep[chosen] = True
    return keep
