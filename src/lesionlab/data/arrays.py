"""Large arrays on disk: written aside, checksummed, memory-mapped, rebuilt where damaged.

An array is `NAME.npy` and, written last, `NAME.json` with its key and the checksum of each block
of rows. A key says what the array was computed from, so a stale one is never opened.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.progress import Progress

BLOCK = 256  # rows a checksum covers
Array = npt.NDArray[Any]


def open_array(path: Path, key: str, progress: Progress) -> Array | None:
    """The array at `path`, memory-mapped; None where it is absent, of another key or damaged."""
    if not path.is_file() or not side_path(path).is_file():
        return None
    try:
        side: dict[str, Any] = files.read_json(side_path(path))
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = side["key"] == key and side["crc32"] == checksums(array)
    except (BadInput, ValueError, OSError, EOFError, KeyError, TypeError):
        whole = False
    if whole:
        return array
    progress.say(f"{path.name} in the cache is damaged or stale: building it again")
    return None


@contextmanager
def new_array(
    path: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: Any,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Array]:
    """Yield an array to be filled; on success it lies at `path`, else nothing does.

    `about` is kept beside it (`read_side`). Raises `OSError` where the disk has no room, before
    anything is yielded.
    """
    with files.stage_file(path) as aside:
        array = np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
        # A hole in a mapped file that the disk cannot fill would kill the process (SIGBUS).
        with aside.open("rb+") as stream:
            os.posix_fallocate(stream.fileno(), 0, aside.stat().st_size)
        yield array
        array.flush()
        found = checksums(array)
        del array
    side = {"schema_version": 1, "key": key, "crc32": found, **(about or {})}
    files.write_json(side_path(path), side)


def read_side(path: Path) -> dict[str, Any]:
    """What lies beside an array; empty where that is absent or damaged."""
    try:
        side = files.read_json(side_path(path))
    except BadInput:
        return {}
    return side if isinstance(side, dict) else {}


def side_path(path: Path) -> Path:
    """Where the key and the checksums of an array lie."""
    return path.with_suffix(".json")


def checksums(array: Array) -> list[int]:
    """CRC-32 of each block of rows."""
    blocks = (array[i : i + BLOCK] for i in range(0, len(array), BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_checksum, blocks))


def _checksum(block: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(block).view(np.uint8).data)
