"""Large arrays on disk: written aside, checksummed, memory-mapped, rebuilt where damaged.

An array is `NAME.npy` and, written last, `NAME.json` with its key and the checksum of each block
of rows. A key says what the array was computed from, so a stale one is never opened.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files, platforms
from lesionlab.errors import BadInput
from lesionlab.progress import Progress

BLOCK = 256  # rows a checksum covers
Array = npt.NDArray[Any]


class NewRows:
    """Rows to be written: `rows[where] = values`.

    Not the mapped array itself, which whoever fills it would still hold when the file is moved:
    Windows moves no file that is mapped.
    """

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        self._array: np.memmap[Any, Any] | None = array

    def __setitem__(self, where: Any, values: Any) -> None:
        assert self._array is not None, "written already"
        self._array[where] = values

    def finish(self) -> list[int]:
        """Write all to the file and let go of it; its checksums. Later calls write nothing."""
        if self._array is None:
            return []
        self._array.flush()
        found = checksums(self._array)
        self.release()
        return found

    def release(self) -> None:
        """Let go of the file."""
        self._array = None


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
    progress.say(f"{path.name} in the cache is damaged or stale: rebuilding it")
    return None


@contextmanager
def new_array(
    path: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: Any,
    about: Mapping[str, Any] | None = None,
) -> Iterator[NewRows]:
    """Yield rows to be filled; on success it lies at `path`, else nothing does.

    `about` is kept beside it (`read_side`). Raises `OSError` where the disk has no room, before
    anything is yielded.
    """
    with files.stage_file(path) as aside:
        rows = NewRows(np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape))
        try:
            # A hole in a mapped file that the disk cannot fill would kill the process (SIGBUS).
            platforms.reserve_space(aside)
            yield rows
            found = rows.finish()
        finally:
            rows.release()
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
    with ThreadPoolExecutor(platforms.usable_cpus()) as pool:
        return list(pool.map(_checksum, blocks))


def _checksum(block: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(block).view(np.uint8).data)
