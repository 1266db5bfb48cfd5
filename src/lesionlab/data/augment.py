"""Augmentation by the batch, with one resampling.

Flips, turns, rotation, zoom and shift of a sample are one affine map; lighting, contrast,
saturation, hue and the network's normalisation are one colour matrix. The draws of an epoch are
one table, rows by slot in the epoch's order, so nothing depends on workers or on resuming.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lesionlab.config import AugmentSettings
from lesionlab.data.images import Preprocessing
from lesionlab.data.randomness import philox

# Columns of a table of draws.
TURN, MIRROR, ANGLE, ZOOM, SHIFT_X, SHIFT_Y, BRIGHT, CONTRAST, SATURATION, HUE = range(10)
Draws = npt.NDArray[np.float32]

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def draw_epoch(how: AugmentSettings, seed: int, stage: int, epoch: int, n: int) -> Draws:
    """(n, 10) float32: what is done to each slot of one epoch.

    Turns are quarter turns (0-3, after an optional mirror), angles degrees, zoom a scale
    factor, shifts fractions of the side, brightness, contrast and saturation factors, hue turns.
    """
    generator = philox(seed, "augment", stage, epoch)
    unit = generator.random((n, 10))  # every column is always drawn: settings do not shift others
    symmetric = 2 * unit - 1
    draws = np.zeros((n, 10))
    draws[:, TURN], draws[:, MIRROR] = _turns_and_mirrors(how.flips, unit)
    draws[:, ANGLE] = how.rotation * symmetric[:, ANGLE]
    draws[:, ZOOM] = 1 + how.zoom * symmetric[:, ZOOM]
    draws[:, SHIFT_X] = how.shift * symmetric[:, SHIFT_X]
    draws[:, SHIFT_Y] = how.shift * symmetric[:, SHIFT_Y]
    draws[:, BRIGHT] = 1 + how.brightness * symmetric[:, BRIGHT]
    draws[:, CONTRAST] = 1 + how.contrast * symmetric[:, CONTRAST]
    draws[:, SATURATION] = 1 + how.saturation * symmetric[:, SATURATION]
    draws[:, HUE] = how.hue * symmetric[:, HUE]
    return draws.astype(np.float32)


def _turns_and_mirrors(
    flips: str, unit: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    mirror = np.floor(2 * unit[:, MIRROR])
    if flips == "dihedral":
        return np.floor(4 * unit[:, TURN]), mirror
    if flips == "both":  # a top-bottom flip is a half turn after a mirror
        vertical = np.floor(2 * unit[:, TURN])
        return 2 * vertical, (mirror + vertical) % 2
    if flips == "horizontal":
        return np.zeros(len(unit)), mirror
    return np.zeros(len(unit)), np.zeros(len(unit))


def fixed_views(count: int) -> Draws:
    """(count, 10) the first `count` of the 8 flips and quarter turns; the first is the image."""
    views = np.tile(_identity(), (count, 1))
    views[:, TURN] = np.arange(count) % 4
    views[:, MIRROR] = np.arange(count) // 4
    return views


def _identity() -> Draws:
    row = np.zeros(10, np.float32)
    row[[ZOOM, BRIGHT, CONTRAST, SATURATION]] = 1
    return row


def to_input(pixels: Tensor, how: Preprocessing) -> Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) float32 normalised, channels last in memory.

    The same arithmetic as `images.normalise`, on any device.
    """
    n, height, width, channels = pixels.shape
    mean = torch.tensor(how.mean * width, device=pixels.device)
    std = torch.tensor(how.std * width, device=pixels.device)
    # Rows of width * channels numbers: operations along them are vectorised, along three are not.
    rows = pixels.reshape(n, height, width * channels).float()
    return rows.div_(255).sub_(mean).div_(std).reshape(pixels.shape).permute(0, 3, 1, 2)


def augment(pixels: Tensor, draws: Draws, how: Preprocessing, fill: str = "black") -> Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) float32 normalised, each image by its row of `draws`.

    Turns and mirrors alone move pixels without resampling; anything else is one bilinear
    resampling of the whole map. Colour acts on [0, 1], is clamped there, then normalised.
    """
    free = draws[:, [ANGLE, ZOOM, SHIFT_X, SHIFT_Y]]
    if (free == np.array([0, 1, 0, 0], np.float32)).all():
        moved = _dihedral(pixels, draws)
    else:
        moved = _affine(pixels, draws, fill)
    return _colour(moved, draws, how)


def _dihedral(pixels: Tensor, draws: Draws) -> Tensor:
    """Mirror left-right, then quarter turns counter-clockwise: exact."""
    codes = (4 * draws[:, MIRROR] + draws[:, TURN]).astype(np.int64)
    moved = torch.empty_like(pixels)
    for code in np.unique(codes):
        rows = torch.from_numpy(np.flatnonzero(codes == code)).to(pixels.device)
        some = pixels[rows]
        if code >= 4:
            some = some.flip(2)
        moved[rows] = torch.rot90(some, int(code) % 4, (1, 2))
    return moved


def _affine(pixels: Tensor, draws: Draws, fill: str) -> Tensor:
    """One bilinear resampling; coordinates of the source in units where the image is [-1, 1]."""
    angle = np.deg2rad(draws[:, ANGLE] + 90 * draws[:, TURN])
    cos, sin = np.cos(angle) / draws[:, ZOOM], np.sin(angle) / draws[:, ZOOM]
    mirror = 1 - 2 * draws[:, MIRROR]
    theta = np.empty((len(draws), 2, 3), np.float32)
    theta[:, 0] = np.stack([mirror * cos, -mirror * sin, 2 * draws[:, SHIFT_X]], 1)
    theta[:, 1] = np.stack([sin, cos, 2 * draws[:, SHIFT_Y]], 1)
    planes = pixels.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(
        torch.from_numpy(theta).to(pixels.device), list(planes.shape), align_corners=False
    )
    padding = "zeros" if fill == "black" else "reflection"
    moved = functional.grid_sample(planes, grid, "bilinear", padding, align_corners=False)
    return moved.permute(0, 2, 3, 1)


def _colour(moved: Tensor, draws: Draws, how: Preprocessing) -> Tensor:
    """(N, H, W, C) in [0, 255] -> (N, C, H, W) float32 normalised."""
    if (draws[:, BRIGHT:] == _identity()[BRIGHT:]).all():
        return to_input(moved, how)
    n, height, width, channels = moved.shape
    if (draws[:, SATURATION:] == _identity()[SATURATION:]).all():
        gain, lift = draws[:, BRIGHT] * draws[:, CONTRAST], 0.5 * (1 - draws[:, CONTRAST])
        rows = moved.reshape(n, height, width * channels).float()
        unit = rows.mul_(_column(gain / 255, moved)).add_(_column(lift, moved))
    else:
        matrix, offset = _colour_maps(draws, channels)
        weight = torch.from_numpy((matrix.transpose(0, 2, 1) / 255).astype(np.float32))
        bias = torch.from_numpy(offset[:, None, :].astype(np.float32)).to(moved.device)
        flat = moved.reshape(n, height * width, channels).float()
        unit = torch.baddbmm(bias, flat, weight.to(moved.device))
    rows = unit.clamp_(0, 1).reshape(n, height, width * channels)
    mean = torch.tensor(how.mean * width, device=moved.device)
    std = torch.tensor(how.std * width, device=moved.device)
    return rows.sub_(mean).div_(std).reshape(moved.shape).permute(0, 3, 1, 2)


def _column(values: npt.NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None]


def _colour_maps(
    draws: Draws, channels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, C, C) matrices and (N, C) offsets: contrast about mid-grey after brightness, with
    saturation (about the luma) and hue (a rotation about the grey axis) first."""
    n = len(draws)
    gain = (draws[:, BRIGHT] * draws[:, CONTRAST]).astype(np.float64)
    offset = np.repeat((0.5 * (1 - draws[:, CONTRAST]))[:, None].astype(np.float64), channels, 1)
    if channels == 1:
        return gain[:, None, None] * np.ones((n, 1, 1)), offset
    saturation = draws[:, SATURATION].astype(np.float64)[:, None, None]
    matrix = saturation * np.eye(3) + (1 - saturation) * np.array([LUMA, LUMA, LUMA])
    if draws[:, HUE].any():
        matrix = matrix @ _hue_rotations(draws[:, HUE].astype(np.float64))
    return gain[:, None, None] * matrix, offset


def _hue_rotations(turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rodrigues' formula about (1, 1, 1) / sqrt(3)."""
    angle = 2 * np.pi * turns[:, None, None]
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotations: npt.NDArray[np.float64] = (
        np.cos(angle) * (np.eye(3) - axis) + axis + np.sin(angle) * cross
    )
    return rotations
