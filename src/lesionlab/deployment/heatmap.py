"""Where the network found evidence, laid over what it saw; the page's picture.js does the same."""

from __future__ import annotations

import hashlib
import io
import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lesionlab import files
from lesionlab.array_types import UInt8
from lesionlab.deployment.batch import ImageResult
from lesionlab.deployment.schema import BundleInfo
from lesionlab.errors import BadInput

SIDE = 448  # pixels of the written picture, at least
STRENGTH = 0.6
LOW, HIGH = np.array([60.0, 10.0, 130.0]), np.array([235.0, 200.0, 40.0])  # violet to yellow


def evidence(cam: npt.NDArray[np.float32], row: int) -> npt.NDArray[np.float32]:
    """(K, h, w) -> (h, w): what speaks for class `row` against the mean of the others.

    A constant over all classes changes no probability, so it must not show.
    """
    others = np.delete(cam, row, axis=0)
    return np.asarray(cam[row] - others.mean(axis=0), np.float32)


def overlay(
    pixels: UInt8,
    cam: npt.NDArray[np.float32],
    row: int,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Image.Image:
    """The network's view, (size, size, C) uint8, with the positive evidence laid over it.

    The places of the map lie `offset` (down, right; in places) from equal parts of the side.
    """
    side = max(SIDE, pixels.shape[0])
    shown = Image.fromarray(pixels.squeeze()).convert("RGB").resize((side, side))
    positive = np.maximum(evidence(cam, row), 0)
    scaled = (255 * positive / max(float(positive.max()), 1e-9)).astype(np.uint8)
    heat = _enlarged(scaled, side, offset)
    share = np.asarray(heat, np.float64)[..., None] / 255
    colour = LOW + (HIGH - LOW) * share
    alpha = STRENGTH * share
    mixed = np.asarray(shown) * (1 - alpha) + colour * alpha
    return Image.fromarray(mixed.round().astype(np.uint8))


def _enlarged(grid: UInt8, side: int, offset: tuple[float, float]) -> Image.Image:
    """(h, w) as a picture; what moves in at an edge is the place at that edge."""
    (down, right), (h, w) = offset, grid.shape
    around = math.ceil(max(abs(down), abs(right)))
    wide = Image.fromarray(np.pad(grid, around, mode="edge"))
    left, top = around - right, around - down
    return wide.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + w, top + h))


def write_heatmap(
    folder: Path, result: ImageResult, info: BundleInfo, twins: frozenset[str]
) -> None:
    """Write the map of an image's most probable class, where there is one.

    `twins` are the ids that differ from an earlier one by case alone.
    """
    if result.answer is None or result.pixels is None or result.cam is None:
        return
    name = result.answer.class_at_dataset_prior
    picture = overlay(result.pixels, result.cam, info.classes.index(name), info.cam_offset)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        image_id = result.item.image_id
        files.write_bytes(folder / file_name(image_id, name, image_id in twins), png(picture))
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(folder)) from None


def png(image: Image.Image) -> bytes:
    """PNG bytes, without metadata."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def file_name(image_id: str, class_name: str, twin: bool = False) -> str:
    """A file name that no id can turn into a path; ids that had to change carry a hash.

    So does a `twin`, an id that differs from an earlier one by case alone.

    >>> file_name("ISIC_1", "nv")
    'ISIC_1-nv.png'
    """
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "_", part).lstrip(".") for part in (image_id, class_name)]
    mark = ""
    if twin or safe != [image_id, class_name] or len(image_id) > 100:
        named = f"{image_id}\0{class_name}".encode("utf-8", "surrogatepass")  # any bytes on Linux
        mark = "-" + hashlib.sha256(named).hexdigest()[:8]
    return f"{safe[0][:100]}-{safe[1][:40]}{mark}.png"
