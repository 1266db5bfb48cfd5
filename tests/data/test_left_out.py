"""Which files nobody asks for, and how those that are left out are counted."""

from __future__ import annotations

import pytest

from lesionlab.data.left_out import LeftOut, grouped, why_hidden


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a/x.jpg", ""),
        ("a.b/x.y.jpg", ""),
        (".ipynb_checkpoints/x.jpg", "hidden folder"),
        ("a/.git/objects/ab", "hidden folder"),
        ("._x.jpg", "hidden file"),
        ("__MACOSX/a/x.jpg", "macOS"),
        ("__MACOSX/a/._x.jpg", "macOS"),
        ("a/@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg", "thumbnails"),
        ("$RECYCLE.BIN/x.jpg", "bin"),
        ("a/THUMBS.DB", "system"),
        ("desktop.ini", "system"),
        ("a/Icon\r", "system"),
    ],
)
def test_what_nobody_asks_for(name: str, told: str) -> None:
    assert told in why_hidden(name)
    assert bool(why_hidden(name)) == bool(told)


def test_groups_are_counted_in_order_and_cannot_forge_a_line() -> None:
    files = [("b.TXT", "text"), ("a/x\n.txt", "text"), ("e", "an empty file"), ("c.txt", "a PDF")]
    found = grouped(files)
    assert [(g.suffix, g.reason, g.files) for g in found] == [
        ("", "an empty file", 1), (".txt", "a PDF", 1), (".txt", "text", 2)
    ]  # fmt: skip
    assert found[0].line == "1 file without a suffix (an empty file), the first is e"
    assert "\n" not in LeftOut(**grouped([("x\n.txt", "text")])[0].to_json()).line  # type: ignore[arg-type]
