"""Laying one picture over another: eight orientations, then scale and shift along each axis.

Gauss-Newton on grey values (Lucas and Kanade 1981) with gain and offset free, as in Evangelidis
and Psarakis, "Parametric image alignment using enhanced correlation" (PAMI 2008). Scale and shift
along the two axes separate, so a resampled picture is `rows @ picture @ columns.T`, and a batch of
pairs is a batch of small matrix products.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Float32

Pictures = TypeVar("Pictures", bound=npt.NDArray[Any])

ORIENTATIONS = (
    "as it is",
    "mirrored left-right",
    "mirrored top-bottom",
    "turned by 180 degrees",
    "mirrored along the main diagonal",
    "turned clockwise",
    "turned counterclockwise",
    "mirrored along the other diagonal",
)
FURTHEST = 0.2  # scale may change by this, and shift by this share of the side


def oriented(pictures: Pictures, orientation: int) -> Pictures:
    """(..., S, S) pictures in one of the eight orientations (transposed, then mirrored).

    >>> oriented(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), 5).tolist()
    [[3.0, 1.0], [4.0, 2.0]]
    """
    turned: Any = pictures
    if orientation & 4:
        turned = np.swapaxes(turned, -1, -2)
    if orientation & 1:
        turned = turned[..., :, ::-1]
    if orientation & 2:
        turned = turned[..., ::-1, :]
    return turned  # type: ignore[no-any-return]


def normalised(pictures: npt.NDArray[np.generic]) -> Float32:
    """(N, S, S) float32 with mean 0 and deviation 1; a blank picture becomes zeros."""
    x = pictures.astype(np.float32)
    x -= x.mean(axis=(-1, -2), keepdims=True)
    spread = np.sqrt((x**2).mean(axis=(-1, -2), keepdims=True))
    scaled: Float32 = x / (spread + np.float32(0.5))
    return scaled


def align(still: Float32, moving: Float32, motion: Float32, steps: int) -> Float32:
    """(N, 4) the motion that lays `moving` over `still`, both (N, S, S), starting at `motion`.

    A motion is (scale - 1, shift) along x, then along y, shifts in pixels from the centre.
    """
    limit = np.float32(FURTHEST) * np.array([1, still.shape[-1], 1, still.shape[-1]], np.float32)
    for _ in range(steps):
        motion = np.clip(motion + _step(still, moving, motion)[0], -limit, limit)
    return motion


def reachable(still: Float32, moving: Float32) -> Float32:
    """(N,) the correlation that a small motion could reach, to first order: a cheap screen."""
    return _step(still, moving, np.zeros((len(still), 4), np.float32))[1]


def laid_over(moving: Float32, motion: Float32) -> tuple[Float32, Float32]:
    """(N, S, S) the moved pictures, and 1 where they show something, else 0."""
    columns, seen_x = _resampling(motion[:, 0], motion[:, 1], moving.shape[-1])
    rows, seen_y = _resampling(motion[:, 2], motion[:, 3], moving.shape[-1])
    moved = np.matmul(rows @ moving, columns.transpose(0, 2, 1), dtype=np.float32)
    return moved, seen_y[:, :, None] * seen_x[:, None, :]


def correlation(a: Float32, b: Float32, mask: Float32) -> Float32:
    """(N,) Pearson correlation of (N, S, S) pictures where `mask` is 1; 0 for a blank one."""
    n = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    a = (a - (a * mask).sum(axis=(1, 2), keepdims=True) / n) * mask
    b = (b - (b * mask).sum(axis=(1, 2), keepdims=True) / n) * mask
    spread = np.sqrt((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)))
    result: Float32 = (a * b).sum(axis=(1, 2)) / np.maximum(spread, 1e-6)
    return result


def _resampling(scale: Float32, shift: Float32, side: int) -> tuple[Float32, Float32]:
    """(N, S, S) linear interpolation weights of one axis, and (N, S) which pixels are inside."""
    middle = (side - 1) / 2
    place = np.arange(side, dtype=np.float32)
    source = (1 + scale)[:, None] * (place - middle) + shift[:, None] + np.float32(middle)
    weights = np.maximum(0, 1 - np.abs(source[:, :, None] - place)).astype(np.float32)
    inside = ((source >= -0.5) & (source <= side - 0.5)).astype(np.float32)
    return weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-6), inside


def _step(still: Float32, moving: Float32, motion: Float32) -> tuple[Float32, Float32]:
    """One Gauss-Newton step: the change of motion (N, 4), and the correlation it promises."""
    n, side = len(still), still.shape[-1]
    moved, mask = laid_over(moving, motion)
    basis = _basis(moved, motion).reshape(n, 6, -1)
    weighted = basis * mask.reshape(n, 1, -1)
    target = still.reshape(n, -1, 1)
    matrix, right = weighted @ basis.transpose(0, 2, 1), weighted @ target
    damping = 1e-3 * np.einsum("nii->ni", matrix) + 1e-6
    damping[:, :2] = 1e-6
    matrix[:, range(6), range(6)] += damping
    fit = np.linalg.solve(matrix, right)
    size = mask.sum(axis=(1, 2))
    mean = (still * mask).sum(axis=(1, 2)) / size
    total = (still**2 * mask).sum(axis=(1, 2)) - size * mean**2
    explained = (right * fit).sum(axis=(1, 2)) - size * mean**2
    gain = fit[:, :1, 0]
    change = fit[:, 2:, 0] / np.where(np.abs(gain) < 0.1, np.float32(0.1), gain)
    limit = np.float32(0.05) * np.array([1, side, 1, side], np.float32)
    promised = np.sqrt(np.clip(explained / np.maximum(total, 1e-6), 0, 1))
    return np.clip(change, -limit, limit).astype(np.float32), promised.astype(np.float32)


def _basis(moved: Float32, motion: Float32) -> Float32:
    """(N, 6, S, S): the picture, a constant, and how it changes with each part of the motion."""
    dx, dy = np.zeros_like(moved), np.zeros_like(moved)
    dx[:, :, 1:-1] = (moved[:, :, 2:] - moved[:, :, :-2]) / (2 * (1 + motion[:, 0, None, None]))
    dy[:, 1:-1] = (moved[:, 2:] - moved[:, :-2]) / (2 * (1 + motion[:, 2, None, None]))
    place = np.arange(moved.shape[-1], dtype=np.float32) - np.float32((moved.shape[-1] - 1) / 2)
    ones = np.ones_like(moved)
    return np.stack([moved, ones, dx * place, dx, dy * place[:, None], dy], axis=1)
