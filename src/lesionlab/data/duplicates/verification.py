"""Which nominated pairs agree once aligned: thumbnails only, each stage cheaper than the next.

Two photographs of one lesion agree in their blobs; what is left here goes on to `detail.py`,
which looks at hairs, pores and dots in the pictures themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from lesionlab.array_types import Float32, Ints, UInt8
from lesionlab.data.duplicates.align import (
    align,
    correlation,
    laid_over,
    normalised,
    oriented,
    reachable,
)
from lesionlab.platforms import usable_cpus
from lesionlab.progress import SILENT, Progress

TURNED = 0.70  # correlation at 32 pixels in some orientation, before any alignment
CLOSE = 0.05  # orientations this much worse than the best one are tried too
REACHABLE = 0.91  # correlation at 16 pixels that a small motion could reach
ROUGH = 0.93  # correlation at 32 pixels after three steps of alignment
ALIGNED = 0.94  # correlation at 64 pixels after alignment
DETAIL = 0.55  # the same of what is finer than SIGMA pixels
SIGMA = 2.0
SEEN = 0.5  # least share of the picture that both show
BATCH = 128
WORKERS = max(2, usable_cpus())


@dataclass(frozen=True)
class Candidates:
    """Pairs whose thumbnails agree once aligned.

    `rows` (M, 2); `orientation` (M,) of the first picture that gives the second; `motion` (M, 4)
    as in `align`, in pixels of 64; `detail` (M,) the correlation of what is fine in them.
    """

    rows: Ints
    orientation: Ints
    motion: Float32
    detail: Float32


def agreeing(grey: UInt8, pairs: Ints, progress: Progress = SILENT) -> Candidates:
    """Those of `pairs` (M, 2) of (N, 64, 64) grey thumbnails that agree once aligned.

    One orientation a pair: the one in which the detail agrees best.
    """
    tried = _screened(grey, pairs, _turns(grey, pairs))
    motion, whole, detail = _aligned(grey, pairs, tried, progress)
    order = np.lexsort((-detail, tried[:, 0]))
    first = order[np.unique(tried[order, 0], return_index=True)[1]]
    kept = first[(whole[first] > ALIGNED) & (detail[first] > DETAIL)]
    return Candidates(pairs[tried[kept, 0]], tried[kept, 1], motion[kept], detail[kept])


def smaller(grey: UInt8, side: int) -> Float32:
    """(N, side, side) float32 by averaging blocks; `side` divides that of the pictures."""
    n, f = len(grey), grey.shape[-1] // side
    mean: Float32 = grey.reshape(n, side, f, side, f).mean((2, 4), dtype=np.float32)
    return mean


def _turns(grey: UInt8, pairs: Ints) -> Ints:
    """(T, 2) which pair in which orientation is worth aligning."""
    small = normalised(smaller(grey, 32))
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs), 1024):
        rows = pairs[start : start + 1024]
        still = small[rows[:, 1]].reshape(len(rows), -1, 1)
        moving = small[rows[:, 0]]
        each = np.stack([oriented(moving, o).reshape(len(rows), -1) for o in range(8)], axis=1)
        agreement = (each @ still)[:, :, 0] / still.shape[1]
        good = (agreement > TURNED) & (agreement > agreement.max(1, keepdims=True) - CLOSE)
        found.append(np.argwhere(good) + np.array([start, 0]))
    return np.concatenate(found)


def _batches(tried: Ints) -> Iterator[Ints]:
    """Positions in `tried`, at most BATCH at a time, all of one orientation."""
    for orientation in range(8):
        where = np.flatnonzero(tried[:, 1] == orientation)
        yield from (where[s : s + BATCH] for s in range(0, len(where), BATCH))


def _each_batch(
    work: Callable[[Ints], None], tried: Ints, progress: Progress = SILENT, name: str = ""
) -> None:
    batches = list(_batches(tried))
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in progress(pool.map(work, batches), name, len(batches)):
            pass


def _pictures(small: Float32, pairs: Ints, tried: Ints) -> tuple[Float32, Float32]:
    """The still and the moving picture of each trial of one orientation, normalised."""
    rows = pairs[tried[:, 0]]
    moving = oriented(normalised(small[rows[:, 0]]), int(tried[0, 1]))
    return normalised(small[rows[:, 1]]), np.ascontiguousarray(moving)


def _screened(grey: UInt8, pairs: Ints, tried: Ints) -> Ints:
    """The trials that a small motion could make agree at 16 pixels."""
    small = smaller(grey, 16)
    promised = np.zeros(len(tried), np.float32)

    def work(batch: Ints) -> None:
        promised[batch] = reachable(*_pictures(small, pairs, tried[batch]))

    _each_batch(work, tried)
    return tried[promised > REACHABLE]


def _aligned(
    grey: UInt8, pairs: Ints, tried: Ints, progress: Progress
) -> tuple[Float32, Float32, Float32]:
    """For each trial its motion (T, 4), and at 64 pixels the correlation and that of the detail.

    Both stay 0 where the alignment at 32 pixels shows that they cannot be high.
    """
    small, large = smaller(grey, 32), grey.astype(np.float32)
    motions = np.zeros((len(tried), 4), np.float32)
    whole, detail = np.zeros((2, len(tried)), np.float32)

    def work(batch: Ints) -> None:
        still, moving = _pictures(small, pairs, tried[batch])
        motion = align(still, moving, motions[batch], 3)
        good = correlation(still, *laid_over(moving, motion)) > ROUGH
        if not good.any():
            return
        batch, motion = batch[good], motion[good] * np.array([1, 2, 1, 2], np.float32)
        still, moving = _pictures(large, pairs, tried[batch])
        motions[batch] = align(still, moving, motion, 4)
        whole[batch], detail[batch] = _scores(still, *laid_over(moving, motions[batch]))

    _each_batch(work, tried, progress, "aligning candidate pairs")
    return motions, whole, detail


def _scores(still: Float32, moved: Float32, mask: Float32) -> tuple[Float32, Float32]:
    """(B,) correlation of B pairs of aligned pictures, and (B,) that of their fine detail.

    `mask` is 1 where the two pictures overlap. Pairs that overlap in less than the proportion
    `SEEN` get 0. Detail is what a Gaussian blur of `SIGMA` pixels removes.
    """
    overlaps_enough = mask.mean(axis=(1, 2)) >= SEEN
    blur = (0, SIGMA, SIGMA)  # the first axis counts the pairs
    detail = correlation(
        still - gaussian_filter(still, blur), moved - gaussian_filter(moved, blur), mask
    )
    return correlation(still, moved, mask) * overlaps_enough, detail * overlaps_enough
