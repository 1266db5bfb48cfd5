"""The store of frozen features: by content, whole or not at all, one writer, bounded."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.data import feature_store as store
from lesionlab.data.array_file import side_path
from lesionlab.progress import SILENT

KEY = "k" * 64


def write(folder: Path, ids: list[str], value: float = 1.0) -> None:
    with (
        store.locked_store(folder, SILENT),
        store.new_segment(folder, KEY, ids, 3) as array,
    ):
        array[:] = value * np.arange(len(ids))[:, None]


def test_ids_follow_content_and_region_alone() -> None:
    table = pd.DataFrame(
        {
            "sha256": ["a", "a", "a", "b"],
            "roi_x": [np.nan, 1.0, 1.0, np.nan],
            "roi_y": [np.nan, 1.0, 2.0, np.nan],
            "roi_size": [np.nan, 5.0, 5.0, np.nan],
            "path": ["1", "2", "3", "4"],
            "split": ["train", "valid", "test", "train"],
        }
    )
    ids = store.row_ids(table)
    assert len(set(ids)) == 4
    moved = table.assign(path="x", split="valid").iloc[::-1]
    assert store.row_ids(moved) == ids[::-1]


def test_rows_are_found_in_any_order_over_segments(tmp_path: Path) -> None:
    write(tmp_path / "s", ["a", "b", "c"], 1.0)
    write(tmp_path / "s", ["d", "e"], 10.0)
    found = store.find_rows(tmp_path / "s", KEY, ["e", "x", "b", "e"], SILENT)
    assert found.absent.tolist() == [1]
    assert found.take(np.array([0, 2, 3]))[:, 0].tolist() == [10.0, 1.0, 10.0]
    assert len(store.find_rows(tmp_path / "s", "other", ["a"], SILENT).absent) == 1


def test_a_segment_that_is_not_whole_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        store.locked_store(tmp_path / "s", SILENT),
        store.new_segment(tmp_path / "s", KEY, ["a"], 3),
    ):
        raise RuntimeError
    write(tmp_path / "s", ["a"])
    side_path(tmp_path / "s" / "00000.npy").unlink()  # died between the array and its checksums
    assert len(store.find_rows(tmp_path / "s", KEY, ["a"], SILENT).absent) == 1
    (tmp_path / "s" / ".00001.npy.1.part").write_text("half")
    with store.locked_store(tmp_path / "s", SILENT):
        assert [p.name for p in (tmp_path / "s").iterdir()] == [store.LOCK]


def test_segments_are_whole_batches() -> None:
    parts = store.segments_of(np.arange(5000), 1280, 32)
    assert [len(p) for p in parts] == [2048, 2048, 904]
    assert np.concatenate(parts).tolist() == list(range(5000))
    wide = store.segments_of(np.arange(200), 10**6, 32)
    assert [len(p) for p in wide] == [64, 64, 64, 8]


def held_by_a_child(folder: Path) -> int:
    """A fork that holds the store until it is killed."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with store.locked_store(folder, SILENT):
            os.write(told, b"x")
            time.sleep(600)
        os._exit(0)
    os.read(ready, 1)
    return child


def test_the_second_process_waits_until_the_first_one_is_done_or_dead(tmp_path: Path) -> None:
    child, waited = held_by_a_child(tmp_path / "s"), []

    class Watching:
        def __call__(self, items: object, description: str, total: object = None) -> object:
            for item in items:  # type: ignore[attr-defined]
                waited.append(description)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield item

        def say(self, line: str) -> None:
            return None

    with store.locked_store(tmp_path / "s", Watching()):  # type: ignore[arg-type]
        assert waited == ["waiting for features of another process"]


def test_the_least_recently_used_goes_first_and_what_is_held_stays(tmp_path: Path) -> None:
    for number, name in enumerate(("old", "held", "young", "mine")):
        write(tmp_path / name, ["a"] * 1000)
        os.utime(tmp_path / name, (number, number))
    each = store.size_of(tmp_path / "old")
    child = held_by_a_child(tmp_path / "held")
    try:
        os.utime(tmp_path / "held", (1, 1))
        keep = [tmp_path / "mine"]
        assert store.make_room(tmp_path, keep, 0, 5 * each) == []
        assert store.make_room(tmp_path, keep, each, 4 * each + 10) == ["old"]
        assert store.make_room(tmp_path, keep, 9 * each, 5 * each) == ["young"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["held", "mine"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    assert store.can_hold(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("")
    assert not store.can_hold(tmp_path / "cache")
