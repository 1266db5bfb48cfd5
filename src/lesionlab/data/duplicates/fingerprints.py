"""One pass over the images: what the search for duplicates must know of each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionlab.array_types import Float32, UInt8
from lesionlab.data.duplicates.describe import descriptors, grey, thumbnail
from lesionlab.data.duplicates.exact import tally
from lesionlab.data.duplicates.verification import WORKERS
from lesionlab.data.images import USUAL, Reading, open_image
from lesionlab.data.manifest import Dataset
from lesionlab.progress import SILENT, Progress

Picture = Path | bytes | Image.Image | UInt8
Images = Dataset | Mapping[str, Picture] | Sequence[Picture]


@dataclass(frozen=True)
class Fingerprint:
    """One image: hash of its bytes ("" where it has none of its own), of its pixels, of what no
    turn changes of them, and a thumbnail (64, 64, 3) uint8."""

    sha256: str
    pixels: str
    tally: str
    thumbnail: UInt8


@dataclass(frozen=True)
class Fingerprints:
    """N images: names, hashes, grey thumbnails (N, 64, 64), raw descriptors (N, 77), a loader."""

    names: tuple[str, ...]
    sha256: tuple[str, ...]
    pixels: tuple[str, ...]
    tallies: tuple[str, ...]
    grey: UInt8
    descriptors: Float32
    load: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.names)


def look(image: Image.Image, data: bytes = b"") -> Fingerprint:
    """What is kept of a decoded image; `data` are its file's bytes, if it has a file."""
    rgb = image.convert("RGB")
    pixels = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode() + rgb.tobytes()).hexdigest()
    digest = hashlib.sha256(data).hexdigest() if data else ""
    return Fingerprint(digest, pixels, tally(rgb), thumbnail(rgb))


def assembled(
    names: Sequence[str], looks: Sequence[Fingerprint], load: Callable[[int], Image.Image]
) -> Fingerprints:
    """`Fingerprints` of several images; `load(row)` opens one of them again."""
    pictures = [entry.thumbnail for entry in looks]
    stack = np.stack(pictures) if pictures else np.zeros((0, 64, 64, 3), np.uint8)
    return Fingerprints(
        tuple(names),
        tuple(entry.sha256 for entry in looks),
        tuple(entry.pixels for entry in looks),
        tuple(entry.tally for entry in looks),
        grey(stack),
        descriptors(stack),
        load,
    )


def fingerprints_of(images: Images, progress: Progress = SILENT) -> Fingerprints:
    """Hashes, thumbnails and descriptors of all images, for the search for duplicates.

    Images are named by `image_id` in a data set, by key in a mapping, by position in a sequence.
    Each is decoded once here; `load` of the result decodes one again when it is needed. Raises
    `UnreadableImage` for the first that cannot be read.
    """
    if isinstance(images, Dataset):
        table = images.table
        names = list(table["image_id"].astype(str))
        openers = [dataset_opener(images, row) for row in table.to_dict("records")]
    else:
        named = images if isinstance(images, Mapping) else dict(enumerate(images))
        names = [str(name) for name in named]
        openers = [opener(picture, str(name)) for name, picture in named.items()]
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(lambda open_one: look(*open_one()), openers)
        fingerprints = list(progress(results, "looking at images", len(openers)))
    return assembled(names, fingerprints, lambda row: openers[row]()[0])


def estimated_seconds(dataset: Dataset, sample: int = 8) -> float:
    """How long it takes to look at all images, from `sample` of them; comparing comes on top."""
    rows = np.linspace(0, len(dataset.table) - 1, min(sample, len(dataset.table))).astype(int)
    few = replace(dataset, table=dataset.table.iloc[rows])
    began = time.monotonic()
    fingerprints_of(few)
    return (time.monotonic() - began) / len(rows) * len(dataset.table)


Opener = Callable[[], tuple[Image.Image, bytes]]


def opener(picture: Picture, name: str, reading: Reading = USUAL) -> Opener:
    """A function that gives the decoded image and, where there are any, its bytes."""
    if isinstance(picture, Image.Image):
        return lambda: (picture, b"")
    if isinstance(picture, np.ndarray):
        return lambda: (Image.fromarray(picture), b"")

    def work() -> tuple[Image.Image, bytes]:
        data = picture.read_bytes() if isinstance(picture, Path) else picture
        return open_image(data, name, reading=reading), data

    return work


def dataset_opener(dataset: Dataset, row: Mapping[Any, Any]) -> Opener:
    """The same for a row of a data set; a region is cut out, and has no bytes of its own."""
    path, name = dataset.image_path(str(row["path"])), str(row["image_id"])
    x, y, size = (float(row[c]) for c in ("roi_x", "roi_y", "roi_size"))
    if not np.isfinite([x, y, size]).all():
        return opener(path, name, dataset.reading)

    def work() -> tuple[Image.Image, bytes]:
        left, top, side = round(x - size / 2), round(y - size / 2), max(1, round(size))
        whole = open_image(path, name, reading=dataset.reading)
        return whole.crop((left, top, left + side, top + side)), b""

    return work
