"""Large arrays on disk: whole or not there; a stale or damaged one is never opened."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab import platforms
from lesionlab.data.array_file import (
    BLOCK,
    checksums,
    new_array,
    open_array,
    read_side,
    side_path,
)


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, items: Any, description: str, total: int | None = None) -> Any:
        return iter(items)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def values() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two whole blocks and one row."""
    return np.random.default_rng(0).normal(size=(2 * BLOCK + 1, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path, values: Any) -> Path:
    path = tmp_path / "a.npy"
    with new_array(path, "key", values.shape, np.float32, {"made_of": "x"}) as rows:
        rows[:BLOCK] = values[:BLOCK]
        rows[BLOCK:] = values[BLOCK:]
    return path


def test_what_was_written_is_what_is_read(path: Path, values: Any) -> None:
    said = Said()
    array = open_array(path, "key", said)
    assert array is not None
    assert np.array_equal(array, values)
    assert not array.flags.writeable
    assert said.lines == []
    assert np.array_equal(np.load(path, allow_pickle=False), values)  # a plain .npy of NumPy
    assert read_side(path)["made_of"] == "x"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.json", "a.npy"]


def test_each_block_has_the_crc_of_its_bytes(values: Any) -> None:
    wanted = [zlib.crc32(values[i : i + BLOCK].tobytes()) for i in (0, BLOCK, 2 * BLOCK)]
    assert checksums(values) == wanted
    assert checksums(np.asfortranarray(values)) == wanted  # of the values, however they lie
    assert checksums(values[:0]) == []


@pytest.mark.parametrize("row", [0, BLOCK - 1, BLOCK, 2 * BLOCK])
def test_one_changed_value_in_any_block_is_noticed(path: Path, row: int) -> None:
    array = np.load(path, mmap_mode="r+")
    array[row, 2] += 1
    array.flush()
    said = Said()
    assert open_array(path, "key", said) is None
    assert said.lines == ["a.npy in the cache is damaged or stale: rebuilding it"]


def test_another_key_is_stale_and_an_absent_file_is_nothing_to_say(path: Path) -> None:
    said = Said()
    assert open_array(path, "other", said) is None
    assert len(said.lines) == 1
    side_path(path).unlink()
    assert open_array(path, "key", said) is None
    assert open_array(path.with_name("b.npy"), "key", said) is None
    assert len(said.lines) == 1


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"key": "key"}', '"key"'])
def test_a_side_file_that_says_too_little_opens_nothing(path: Path, text: str) -> None:
    side_path(path).write_text(text, encoding="utf-8")
    assert open_array(path, "key", Said()) is None
    assert read_side(path) == (json.loads(text) if text.startswith("{}") or ":" in text else {})


def test_an_interrupted_writing_leaves_what_was_there(path: Path, values: Any) -> None:
    def stopped_halfway() -> None:
        with new_array(path, "new", (4, 3), np.float32) as rows:
            rows[:2] = 0
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped_halfway()
    array = open_array(path, "key", Said())
    assert array is not None
    assert np.array_equal(array, values)
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.json", "a.npy"]


def test_no_row_is_written_after_the_end(tmp_path: Path) -> None:
    with new_array(tmp_path / "a.npy", "key", (2,), np.int64) as rows:
        rows[:] = 7
        assert rows.finish() == checksums(np.full(2, 7))
        assert rows.finish() == []
        with pytest.raises(AssertionError, match="written already"):
            rows[0] = 1


def test_a_full_disk_yields_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(platforms, "reserve_space", full)
    entered = False
    with (
        pytest.raises(OSError, match="No space left"),
        new_array(tmp_path / "a.npy", "key", (2,), np.int64),
    ):
        entered = True
    assert not entered
    assert list(tmp_path.iterdir()) == []
