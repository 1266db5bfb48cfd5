"""Frozen features kept by the content of their images, so that folds, seeds and repeats share them.

A store is a folder for one key (backbone, geometry, view, machine). It holds segments: arrays of
rows that are written once, aside and moved, each beside the ids of its rows and its checksums. So
a row does not depend on the split, the order or the choice of rows, a kill loses one segment, and
two processes at once wait for each other instead of computing the same rows.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab import platforms
from lesionlab.array_types import Float32, Ints
from lesionlab.data.array_file import Array, NewRows, new_array, open_array, read_side, side_path
from lesionlab.progress import Progress

ROOT = "features"  # below the data set's cache
LOCK = ".lock"
LIMIT = 4 * 2**30  # bytes of all stores of a data set; the least recently used go first
SEGMENT_ROWS, SEGMENT_BYTES = 2048, 256 * 2**20  # a kill loses no more work than one segment
WAIT = 0.5  # seconds between two looks at another process's lock


def row_ids(table: pd.DataFrame) -> list[str]:
    """What the features of each row follow from: the image's SHA-256 and its region.

    >>> table = pd.DataFrame({"sha256": ["ab"], "roi_x": [1.0], "roi_y": [2.0], "roi_size": [3.0]})
    >>> len(row_ids(table)[0])
    32
    """
    columns = table[["sha256", "roi_x", "roi_y", "roi_size"]].itertuples(index=False)
    return [hashlib.sha256("|".join(map(str, row)).encode()).hexdigest()[:32] for row in columns]


@dataclass(frozen=True)
class StoredRows:
    """Rows of memory-mapped segments: row i is `segments[segment[i]][row[i]]`; -1 where absent."""

    segments: tuple[Array, ...]
    segment: Ints
    row: Ints
    damaged: tuple[Path, ...]

    @property
    def absent(self) -> Ints:
        """Places of the rows that no segment holds."""
        return np.flatnonzero(self.segment < 0)

    def take(self, rows: Ints) -> Float32:
        """(n, D) float32 of the given rows, in their order."""
        result = np.empty((len(rows), self.segments[0].shape[1]), np.float32)
        where = self.segment[rows]
        for number in np.unique(where):
            some = where == number
            result[some] = self.segments[number][self.row[rows[some]]]
        return result


def find_rows(folder: Path, key: str, ids: Sequence[str], progress: Progress) -> StoredRows:
    """Where the rows of `ids` lie in a store; a damaged segment is named and passed over."""
    segments: list[Array] = []
    damaged: list[Path] = []
    places: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob("[0-9]*.npy")):
        array, names = open_array(path, key, progress), read_side(path).get("rows", [])
        if array is None or len(names) != len(array):
            damaged.append(path)
            continue
        places |= {name: (len(segments), row) for row, name in enumerate(names)}
        segments.append(array)
    found = np.array([places.get(name, (-1, -1)) for name in ids], np.int64).reshape(-1, 2)
    with suppress(OSError):
        os.utime(folder)  # used now: the last to be dropped
    return StoredRows(tuple(segments), found[:, 0], found[:, 1], tuple(damaged))


def can_hold(cache_folder: Path) -> bool:
    """Whether stores can be made below a data set's cache folder."""
    try:
        (cache_folder / ROOT).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache_folder / ROOT, os.W_OK)


@contextmanager
def new_segment(folder: Path, key: str, ids: Sequence[str], width: int) -> Iterator[NewRows]:
    """Yield (len(ids), width) float32 to be filled; then it is a segment of the store.

    Hold the store's lock. Raises `OSError` where the disk has no room.
    """
    taken = [int(path.stem) for path in folder.glob("[0-9]*.npy")]
    path = folder / f"{max(taken, default=-1) + 1:05d}.npy"
    shape, rows = (len(ids), width), {"rows": list(ids)}
    with new_array(path, key, shape, np.float32, rows) as array:
        yield array


def segments_of(rows: Ints, width: int, batch: int) -> list[Ints]:
    """`rows` cut into what one segment each will hold: whole batches, but for the last."""
    step = max(1, min(SEGMENT_ROWS, SEGMENT_BYTES // (4 * width)) // batch) * batch
    return [rows[i : i + step] for i in range(0, len(rows), step)]


@contextmanager
def locked_store(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold a store for one process; waits for another one, which the system frees if it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a", encoding="utf-8") as stream:
        if not platforms.try_lock(stream):
            for _ in progress(itertools.count(), "waiting for features of another process"):
                if platforms.try_lock(stream):
                    break
                time.sleep(WAIT)
        _sweep(folder)
        yield


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
    for path in folder.glob("[0-9]*.npy"):
        if not side_path(path).is_file():
            path.unlink(missing_ok=True)


def drop(paths: Sequence[Path]) -> None:
    """Remove damaged segments; hold the store's lock."""
    for path in paths:
        platforms.remove(path)
        platforms.remove(side_path(path))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def make_room(root: Path, keep: Sequence[Path], need: int, limit: int = LIMIT) -> list[str]:
    """Drop the least recently used stores below `root` until `need` more bytes stay under `limit`.

    Those of `keep` and those that another process holds stay. Returns the names of the dropped.
    """
    stores = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    total, dropped = sum(size_of(path) for path in stores) + need, []
    for path in sorted(set(stores) - set(keep), key=lambda p: p.stat().st_mtime):
        if total <= limit:
            break
        size = size_of(path)
        if _removed(path):
            total -= size
            dropped.append(path.name)
    return dropped


def _removed(folder: Path) -> bool:
    with (folder / LOCK).open("a", encoding="utf-8") as stream:
        if not platforms.try_lock(stream):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return True
