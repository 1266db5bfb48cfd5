"""scripts/mirrored_tests.py finds what has no test file, and its own stale lines."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOGIC = "def f(x):\n    return [a if a else b for a, b in x if a and b or a]\n" * 2
PLAIN = "X = 1\n"


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "mirrored_tests.py"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two modules with logic, of which one is tested, one plain, and one of a verb."""
    package = tmp_path / "src" / "lesionlab"
    for name, text in {"data/a.py": LOGIC, "data/b.py": LOGIC, "data/c.py": PLAIN,
                       "cli/d.py": LOGIC, "data/e/__init__.py": LOGIC}.items():  # fmt: skip
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "test_a.py").touch()
    return tmp_path


def test_what_has_logic_and_no_test_file_is_named(script: dict[str, Any], tree: Path) -> None:
    assert [str(m.path) for m in script["untested"](tree)] == ["data/b.py", "data/e/__init__.py"]
    (tree / "tests" / "data" / "test_e.py").touch()
    assert [str(m.path) for m in script["untested"](tree)] == ["data/b.py"]


def test_a_line_that_fits_nothing_is_stale(script: dict[str, Any], tree: Path) -> None:
    assert "training/step.py (tests/training/test_resume.py)" in script["stale"](tree)
    assert "cli/*.py (tests/test_cli.py)" in script["stale"](tree)
    (tree / "tests" / "test_cli.py").touch()
    assert "cli/*.py (tests/test_cli.py)" not in script["stale"](tree)


def test_no_line_is_stale_here(script: dict[str, Any]) -> None:
    assert script["stale"](ROOT) == []
