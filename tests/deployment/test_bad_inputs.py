"""docs/bad-inputs.md: every line about files, models and HTTP has a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = (HERE.parents[1] / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
CONCERNED = {*range(1, 45), *range(55, 60)}


def names_in(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_is_there() -> None:
    lines = {int(n) for n in re.findall(r"^\| (\d+) \|", TABLE, re.MULTILINE)}
    assert lines == CONCERNED


def test_every_test_exists() -> None:
    named = re.findall(r"\| (test_\w+\.py)::(test_\w+) \|$", TABLE, re.MULTILINE)
    rows = [row for row in TABLE.splitlines() if row.startswith("| ") and "::" in row]
    assert len(named) == len(rows)
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]
    assert missing == []
