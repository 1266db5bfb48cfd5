"""docs/training.md: every fault of its table has a test that exists, in the file it names."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("## Faults, and the test of each") :]
FILES = {letter: name for name, letter in re.findall(r"`(test_\w+\.py)` \((\w)\)", TABLE)}


def named(row: str) -> list[tuple[str, str]]:
    """File and test of each name in a row; names after a first one belong to the same file."""
    found, file = [], ""
    for letter, other, name in re.findall(r"(?:\b([A-Z]) |`(tests/\S+\.py)` )?`(\w+)`", row):
        file = (
            str(HERE / FILES[letter]) if letter else str(HERE.parents[1] / other) if other else file
        )
        found.append((file, name))
    return found


def test_every_test_of_the_table_exists() -> None:
    rows = [row for row in TABLE.splitlines() if re.match(r"\| \d", row)]
    pairs = [pair for row in rows for pair in named(row)]
    assert len(rows) >= 18
    assert len(pairs) > 30
    missing = [
        (Path(file).name, name)
        for file, name in pairs
        if f"def test_{name}(" not in Path(file).read_text(encoding="utf-8")
    ]
    assert missing == []
