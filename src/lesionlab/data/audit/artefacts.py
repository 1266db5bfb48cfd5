"""What lies in a picture beside skin: four indices, each between 0 and 1, of its outer part.

They rank images; they are no validated detectors. All look at the rim of the picture, because in
its middle a lesion can be as blue as ink and as thinly lined as hair.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from lesionlab.array_types import Float32, UInt8

SIDE = 128  # pixels at which the indices are computed
RIM = 24  # pixels of 128: the outer fifth or so
CORNER = 16
DARK = 40  # grey levels: darker corners are the rim of the dermatoscope, not skin
LINE = 14.0  # grey levels by which a hair is darker than what lies beside it
WIDTH = 7  # pixels: what is thinner is a line
LAGS = (4, 24)  # pixels between the marks of a ruler

OUTER = np.ones((SIDE, SIDE), bool)  # the rim of a picture
OUTER[RIM:-RIM, RIM:-RIM] = False

INDICES = ("dark_corners", "hair", "ink", "ruler")


def artefact_indices(image: Image.Image) -> dict[str, float]:
    """`{dark_corners, hair, ink, ruler}`, shares or strengths from 0 to 1.

    >>> artefact_indices(Image.new("RGB", (200, 150), (210, 170, 150)))
    {'dark_corners': 0.0, 'hair': 0.0, 'ink': 0.0, 'ruler': 0.0}
    """
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    red, green, blue = (np.asarray(plane) for plane in small.split())
    light = np.maximum(np.maximum(red, green), blue)
    lines = _lines(np.asarray(small.convert("L")))
    return {
        "dark_corners": _dark_corners(light),
        "hair": float((lines > LINE)[OUTER].mean()),
        "ink": _ink(red, green, blue, light),
        "ruler": _ruler(lines),
    }


def _lines(grey: UInt8) -> Float32:
    """How much darker a pixel is than what closes over it along one axis: thin dark lines."""
    across = ndimage.grey_closing(grey, size=(1, WIDTH)) - grey
    along = ndimage.grey_closing(grey, size=(WIDTH, 1)) - grey
    lines: Float32 = np.maximum(across, along).astype(np.float32)
    return lines


def _dark_corners(light: UInt8) -> float:
    dark = light < DARK
    c = CORNER
    corners = (dark[:c, :c], dark[:c, -c:], dark[-c:, :c], dark[-c:, -c:])
    return float(np.mean([corner.mean() for corner in corners]))


def _ink(red: UInt8, green: UInt8, blue: UInt8, light: UInt8) -> float:
    """Share of the rim that is clearly blue, violet or green: no skin has these hues."""
    coloured = light - np.minimum(np.minimum(red, green), blue) > 30
    cold = np.maximum(green, blue) > red.astype(np.int16) + 5
    return float((coloured & cold)[OUTER].mean())


def _ruler(lines: Float32) -> float:
    """The strongest regular repetition of dark marks along one of the four rims."""
    strips = (lines[:RIM], lines[-RIM:], lines[:, :RIM].T, lines[:, -RIM:].T)
    return max(_repetition(strip.max(axis=0)) for strip in strips)


def _repetition(profile: Float32) -> float:
    """Highest autocorrelation at the lags of a ruler, 0 where there are no marks at all."""
    marks = profile - profile.mean()
    power = float(marks @ marks)
    if power < len(marks) * LINE**2 / 4:
        return 0.0
    low, high = LAGS
    each = [float(marks[lag:] @ marks[:-lag]) / power for lag in range(low, high)]
    valley = min(each[: len(each) // 2])
    return float(np.clip(max(each) - max(valley, 0.0), 0.0, 1.0))
