"""docs/architecture.md names files and functions: they exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "lesionlab"


def names(path: Path) -> set[str]:
    """Functions, classes and constants at the top of a module."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return found


def test_every_function_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([a-z_0-9/]+\.py):(\w+)`", PAGE)
    assert len(named) > 25
    missing = [f"{file}:{name}" for file, name in named if name not in names(SOURCE / file)]
    assert missing == []


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([a-z_0-9/]+/[a-z_0-9]+\.(?:py|json|js))`", PAGE)
    assert len(named) > 15
    assert [n for n in named if not ((SOURCE / n).is_file() or (ROOT / n).is_file())] == []


def test_the_list_of_modules_is_up_to_date() -> None:
    """Else: uv run python scripts/module_index.py."""
    spec = importlib.util.spec_from_file_location(
        "module_index", ROOT / "scripts" / "module_index.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (ROOT / "docs" / "modules.md").read_text(encoding="utf-8") == script.page()
