"""The last look at a pair: the pictures themselves at 128 pixels, laid over each other exactly.

A lesion's rim is the strongest edge of its picture and alone makes two dark spots correlate. So
detail is divided by the local contrast: pores, hairs and dots all over the picture have to agree.
Black bars and corners, whose edges fit any other picture in the same frame, do not count. On
HAM10000 the scores of look-alikes end below 0.4 and those of copies begin above 0.5.

Two photographs of one lesion, taken a moment apart, may agree as well as a copy does. But skin
under a dermatoscope gives way, so that parts of the second photograph have drifted against the
first, while in a copy every part lies where the whole does. (Figures: docs/audit.md.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lesionlab.array_types import Bools, Float32
from lesionlab.data.duplicates.align import oriented
from lesionlab.data.duplicates.describe import SIDE
from lesionlab.data.duplicates.verification import SEEN, WORKERS, Candidates
from lesionlab.progress import SILENT, Progress

LARGE = 128
SAME = 0.50  # correlation of local detail from which on two pictures show the same
AGAIN = 0.65  # the same for a second photograph, which no rigid copy backs up
DRIFT = 0.40  # pixels by which half of the tiles may have drifted in a copy
FINE, NEAR = 2.5, 6.0  # pixels: what is finer is detail; how far the local contrast reaches
NOISE = 2.0  # grey levels of contrast below which nothing is told apart
BLACK = 20  # grey levels: darker pixels that touch the border belong to a frame
REACH = 6  # pixels to which the edge of a frame changes the detail
SHOWN = 0.15  # least share of the picture that both show outside their frames
STEPS = 4
TILE = 16  # pixels
PIECES = 8  # of a product, each so small that the linear algebra library wakes no threads for it
Load = Callable[[int], Image.Image]


@dataclass(frozen=True)
class DetailAgreement:
    """How well two aligned pictures agree.

    `score` is the correlation of their local detail, `drift` the median over tiles of how far a
    tile has to be moved to agree better, in pixels of 128.
    """

    score: float
    drift: float

    @property
    def copy(self) -> bool:
        """Whether one is a copy of the other."""
        return self.score > SAME and self.drift <= DRIFT

    @property
    def same(self) -> bool:
        """Whether both show the same skin: a copy, or a second photograph."""
        return self.copy or self.score > AGAIN


def confirmed(
    candidates: Candidates, load: Load, progress: Progress = SILENT
) -> list[tuple[int, DetailAgreement]]:
    """Positions of the candidates that show the same, and how well they agree.

    `load(row)` opens a picture; rows are asked for from several threads.
    """

    def work(position: int) -> DetailAgreement:
        a, b = candidates.rows[position]
        moving = oriented(picture(load(int(a))), int(candidates.orientation[position]))
        return agreement(picture(load(int(b))), moving, candidates.motion[position])

    n = len(candidates.rows)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(progress(pool.map(work, range(n)), "verifying duplicates", n))
    return [(position, each) for position, each in enumerate(found) if each.same]


def picture(image: Image.Image) -> Float32:
    """(128, 128) float32 grey levels."""
    size = (LARGE, LARGE)
    small = image.convert("L").resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small, np.float32)


def agreement(
    still: Float32, moving: Float32, motion: Sequence[float] | Float32
) -> DetailAgreement:
    """How well two (128, 128) pictures agree, `moving` laid over `still`.

    `motion` is the start, in pixels of 64; a small rotation or shear is found besides.
    """
    scale_x, shift_x, scale_y, shift_y = (float(v) for v in motion)
    factor = LARGE / SIDE
    start = np.array([[1 + scale_y, 0, shift_y * factor], [0, 1 + scale_x, shift_x * factor]])
    moved, mask = _laid(moving, _aligned(still, moving, start))
    if mask.mean() < SEEN:
        return DetailAgreement(0.0, 0.0)
    one, two = local_detail(still), local_detail(moved)
    skin = mask & ~framed(still) & ~framed(moved)
    if skin.mean() < SHOWN:
        return DetailAgreement(0.0, 0.0)
    mask = skin
    a, b = one[mask] - one[mask].mean(), two[mask] - two[mask].mean()
    score = float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), 1e-9)
    return DetailAgreement(score, _drift(one, two, mask) if score > SAME else 0.0)


def _drift(still: Float32, moved: Float32, mask: Bools) -> float:
    """Median distance, in pixels, by which single tiles would still have to be moved."""
    pictures = (moved, *np.gradient(moved))
    basis = np.stack([_tiles(np.asarray(p)) for p in pictures], axis=1)
    matrix = basis @ basis.transpose(0, 2, 1) + 1e-2 * np.eye(3, dtype=np.float32)
    fit = np.linalg.solve(matrix, basis @ _tiles(still)[:, :, None])[:, :, 0]
    usable = _tiles(mask).all(axis=1) & (fit[:, 0] > 0.2)
    if usable.sum() < 4:
        return 0.0
    return float(np.median(np.hypot(fit[usable, 1], fit[usable, 2]) / fit[usable, 0]))


def _tiles(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(64, 256) the pixels of each tile of a (128, 128) picture."""
    n = LARGE // TILE
    return picture.reshape(n, TILE, n, TILE).transpose(0, 2, 1, 3).reshape(n * n, -1)


def local_detail(grey: Float32) -> Float32:
    """What is finer than FINE pixels, divided by its deviation in the neighbourhood."""
    fine = grey - ndimage.gaussian_filter(grey, FINE)
    contrast = np.sqrt(ndimage.gaussian_filter(fine * fine, NEAR))
    detail: Float32 = fine / (contrast + np.float32(NOISE))
    return detail


def framed(grey: Float32) -> Bools:
    """(S, S) the black bars or corners around a picture, and what their edge reaches into.

    Two pictures in one frame are not one picture, however well the frames agree.
    """
    dark = np.pad(grey < BLACK, 1, constant_values=True)
    labels, _ = ndimage.label(dark)
    frame = (labels == labels[0, 0])[1:-1, 1:-1]
    wide: Bools = ndimage.binary_dilation(frame, iterations=REACH) if frame.any() else frame
    return wide


def _grid(side: int) -> Float32:
    """(2, S, S) row and column of each pixel, from the centre."""
    grid: Float32 = np.indices((side, side)).astype(np.float32) - np.float32((side - 1) / 2)
    return grid


def _laid(moving: Float32, motion: npt.NDArray[np.float64]) -> tuple[Float32, Bools]:
    """`moving` resampled by the affine `motion` (2, 3), and where it shows something."""
    side = moving.shape[0]
    middle = (side - 1) / 2
    matrix = motion[:, :2]
    offset = motion[:, 2] + middle - matrix @ np.full(2, middle)
    moved = ndimage.affine_transform(moving, matrix, offset, order=1, mode="nearest")
    source = np.tensordot(matrix.astype(np.float32), _grid(side), 1)
    source += (motion[:, 2] + middle).astype(np.float32)[:, None, None]
    return moved, ((source >= -0.5) & (source <= side - 0.5)).all(axis=0)


def _aligned(
    still: Float32, moving: Float32, motion: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Gauss-Newton over all six numbers of an affine motion, gain and offset free."""
    rows, columns = _grid(still.shape[0])
    for _ in range(STEPS):
        moved, mask = _laid(moving, motion)
        dy, dx = np.gradient(moved)
        change = [dy * rows, dy * columns, dy, dx * rows, dx * columns, dx]
        basis = np.stack([moved, np.ones_like(moved), *change, still]).reshape(9, PIECES, -1)
        pieces = (basis * mask.reshape(PIECES, -1)).transpose(1, 0, 2) @ basis.transpose(1, 2, 0)
        matrix = pieces.sum(axis=0, dtype=np.float64)
        damping = np.r_[0, 0, np.full(6, 1e-3)] * np.diag(matrix)[:8] + 1e-6
        fit = np.linalg.solve(matrix[:8, :8] + np.diag(damping), matrix[:8, 8])
        gain = fit[0] if abs(fit[0]) > 0.1 else 0.1
        limit = np.array([[0.1, 0.1, 2.0]] * 2)
        motion = motion + np.clip(fit[2:].reshape(2, 3) / gain, -limit, limit)
    return motion
