"""Decode once: a memory-mapped uint8 cache of every image at the working size.

The key is the content (the manifest's SHA-256 of the images, in order, with their regions) and
the geometry. Each file is held against its SHA-256 when it is decoded (where the manifest has
one), so a cache shows the files that were imported, also where they have changed since. Damage
to the cache is found by checksums; then it is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import UInt8
from lesionlab.data.array_file import new_array, open_array
from lesionlab.data.images import (
    LEGACY,
    Preprocessing,
    Reading,
    Roi,
    key_parts,
    open_image,
    prepare,
)
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput
from lesionlab.platforms import usable_cpus
from lesionlab.progress import SILENT, Progress

RESERVE = 256 * 2**20  # bytes left free on the disk


class Pixels(Protocol):
    """Rows of network input, (n, S, S, C) uint8, wherever they come from."""

    def __len__(self) -> int: ...

    def take(self, rows: npt.NDArray[np.int64]) -> UInt8:
        """The given rows, in the given order."""


@dataclass(frozen=True)
class CachedPixels:
    """Rows of a memory-mapped array."""

    array: UInt8

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: npt.NDArray[np.int64]) -> UInt8:
        return self.array[rows]


@dataclass(frozen=True)
class DecodedPixels:
    """The same rows decoded at each call: where the disk has no room for the cache."""

    paths: tuple[Path, ...]
    rois: tuple[Roi | None, ...]
    how: Preprocessing
    reading: Reading
    sums: tuple[str, ...]  # SHA-256 of each file when it was imported; "" where none is known

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: npt.NDArray[np.int64]) -> UInt8:
        with ThreadPoolExecutor(usable_cpus()) as pool:
            return np.stack(list(pool.map(self._one, (int(r) for r in rows))))

    def _one(self, row: int) -> UInt8:
        image = open_image(self.paths[row], "", self.sums[row], self.reading)
        return prepare(image, self.how, self.rois[row])


def open_pixels(
    dataset: Dataset,
    how: Preprocessing,
    folder: Path | None = None,
    progress: Progress = SILENT,
) -> Pixels:
    """The pixels of all rows of `dataset.table`, in its order, from the cache.

    The cache lies in `folder` (default: `cache/` in the dataset folder) and is built by the
    first call. Where it would not fit the disk or the folder cannot be written, that is said
    and images are decoded on the fly.
    """
    source = decoder(dataset, how)
    key = cache_key(dataset.table, how, dataset.reading)
    folder = folder or dataset.folder / "cache"
    path = folder / f"pixels-{how.size}-{key[:16]}.npy"
    array = open_array(path, key, progress)
    if array is not None:
        return CachedPixels(array)
    shape = (len(source), how.size, how.size, how.channels)
    if not _room(folder, int(np.prod(shape)), progress):
        return source
    try:
        _build(path, key, shape, source, progress)
    except OSError as error:
        progress.say(f"no cache ({error.strerror or error}); images are decoded at each step")
        return source
    array = open_array(path, key, progress)
    if array is None:
        raise BadInput(
            "the cache is damaged immediately after writing; check the disk", where=str(path)
        )
    return CachedPixels(array)


def decoder(dataset: Dataset, how: Preprocessing) -> DecodedPixels:
    """The pixels of all rows of `dataset.table`, decoded at each call."""
    table = dataset.table
    rois = tuple(_roi(*v) for v in table[["roi_x", "roi_y", "roi_size"]].itertuples(index=False))
    paths = tuple(dataset.image_path(p) for p in table["path"])
    return DecodedPixels(paths, rois, how, dataset.reading, tuple(table["sha256"]))


def _roi(x: float, y: float, size: float) -> Roi | None:
    return None if np.isnan([x, y, size]).any() else Roi(x, y, size)


def cache_key(table: pd.DataFrame, how: Preprocessing, reading: Reading = LEGACY) -> str:
    """Hex SHA-256 of content and geometry. Mean and std are not in it: they act on floats."""
    pixels = {k: v for k, v in key_parts(how).items() if k not in ("mean", "std")}
    if reading != LEGACY:  # a data set of 0.1.0 keeps its caches
        pixels |= asdict(reading)
    columns = ["path", "sha256", "roi_x", "roi_y", "roi_size"]
    digest = hashlib.sha256(json.dumps({**pixels, "version": 1}, sort_keys=True).encode())
    digest.update(table[columns].to_csv(index=False).encode())
    return digest.hexdigest()


def _room(folder: Path, size: int, progress: Progress) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        progress.say(f"no cache in {folder} ({error.strerror}); images are decoded at each step")
        return False
    if not os.access(folder, os.W_OK):
        progress.say(f"no cache: {folder} cannot be written; images are decoded at each step")
        return False
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        need = f"{size / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free"
        progress.say(f"no cache: it needs {need}; images are decoded at each step")
        return False
    return True


def _build(
    path: Path, key: str, shape: tuple[int, ...], source: DecodedPixels, progress: Progress
) -> None:
    with (
        new_array(path, key, shape, np.uint8) as array,
        ThreadPoolExecutor(usable_cpus()) as pool,  # Pillow decodes outside the lock
    ):
        pixels = pool.map(source._one, range(len(source)))
        for row, image in enumerate(progress(pixels, "decoding once", len(source))):
            array[row] = image
