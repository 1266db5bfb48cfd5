"""Folders appear whole or not at all, whoever else writes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.files import stage_folder


def write_late(out: Path) -> None:
    """Another writer of the same folder is quicker."""
    with stage_folder(out) as second:
        (second / "mine").write_text("2")
        with stage_folder(out) as first:
            (first / "mine").write_text("1")


def test_whoever_comes_second_is_told_so_and_leaves_the_first_whole(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="already exists"):
        write_late(tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with stage_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    """As root, a move would have taken the place of /dev/null."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(pipe.read_bytes()))
    reader.start()
    files.write_text(pipe, "hello")
    reader.join(10)
    assert said == [b"hello"]
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        files.write_text(tmp_path, "x")
