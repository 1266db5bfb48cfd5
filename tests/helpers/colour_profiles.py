"""ICC profiles of a matrix and a curve, and what they mean, computed from their definition."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

D65 = (0.3127, 0.3290)
D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC's connection space
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
WIDE = {  # name -> chromaticities of red, green, blue, and gamma (0: the curve of sRGB)
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 0.0),
    "Adobe RGB (1998)": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.19921875),
    "Rec. 2020": (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 2.4),
    "sRGB primaries, gamma 1.8": (SRGB, 1.8),
}
Chromaticities = tuple[tuple[float, float], ...]


def _xyz(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def to_d50(primaries: Chromaticities) -> npt.NDArray[np.float64]:
    """(3, 3): linear RGB with a white of D65 to XYZ adapted to D50 (Bradford)."""
    columns = np.stack([_xyz(*p) for p in primaries], 1)
    matrix = columns * np.linalg.solve(columns, _xyz(*D65))
    cones = (BRADFORD @ D50) / (BRADFORD @ _xyz(*D65))
    return np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ matrix


def linear(values: npt.NDArray[np.uint8], gamma: float) -> npt.NDArray[np.float64]:
    """0 to 255 as linear light, 0 to 1."""
    v = values / 255.0
    return v**gamma if gamma else np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def converted(
    pixels: npt.NDArray[np.uint8], primaries: Chromaticities, gamma: float
) -> npt.NDArray[np.float64]:
    """(..., 3) pixels in sRGB, 0 to 255, by the definition."""
    light = linear(pixels, gamma) @ (np.linalg.inv(to_d50(SRGB)) @ to_d50(primaries)).T
    v = light.clip(0, 1)
    return 255 * np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def profile(primaries: Chromaticities, gamma: float, name: str) -> bytes:
    """An ICC profile of version 2 (a gamma) or 4 (the curve of sRGB)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    if gamma:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    else:
        curve = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    text = name.encode("ascii") + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    if not gamma:
        wide = name.encode("utf-16-be")
        description = b"mluc\0\0\0\0" + struct.pack(">IIHHII", 1, 12, 0x656E, 0x5553, len(wide), 28)
        description += wide
    matrix = to_d50(primaries)
    tags = {b"desc": description, b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}
    tags |= {
        k: b"XYZ \0\0\0\0" + fixed(*matrix[:, i]) for i, k in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    at, table, body = 132 + 12 * len(tags), b"", b""
    for key, data in tags.items():
        data += bytes(-len(data) % 4)
        table += key + struct.pack(">II", at + len(body), len(data))
        body += data
    head = bytes(4) + (b"\4\0\0\0" if not gamma else b"\2\x10\0\0") + b"mntrRGB XYZ " + bytes(12)
    head = (
        bytes(4) + bytes(4) + head[4:20] + bytes(12) + b"acsp" + bytes(28) + fixed(*D50) + bytes(48)
    )
    whole = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]
