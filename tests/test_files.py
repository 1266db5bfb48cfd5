"""Folders appear whole or not at all, whoever else writes."""

from __future__ import annotations

from pathlib import Path

import pytest

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
