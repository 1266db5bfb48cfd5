"""Pins, locks and declarations are in step, and the check that says so can fail."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
assert spec is not None
assert spec.loader is not None
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the check reads, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def test_the_tree_is_in_step() -> None:
    assert lock.problems(ROOT) == []


def edit(name: str, old: str, new: str, times: int = 1) -> Callable[[Path], None]:
    def apply(tree: Path) -> None:
        path = tree / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, times))

    return apply


SPOILS = {
    "a new dependency": (
        edit("pyproject.toml", "dependencies = [", 'dependencies = [\n    "attrs-not-pinned",'),
        "'attrs-not-pinned' is declared, but no pin fits it",
    ),
    "a dependency gone": (
        edit("pyproject.toml", '    "jinja2>=3.1.6",\n', ""),
        "requirements/base.lock: made from other declarations",
    ),
    "a tighter bound": (
        edit("pyproject.toml", '"click>=', '"click>=99.'),
        "but no pin fits it",
    ),
    "a lock edited by hand": (
        edit("requirements/train.lock", "jinja2==", "jinja2==0."),
        "is not among the constraints",
    ),
    "hashes lost": (
        edit("requirements/dev.lock", "--hash=sha256:", "--hash=md5:", times=-1),
        "has no hash",
    ),
    "an address": (
        edit("requirements/base.lock", "jinja2==", "--index-url https://example.org\njinja2=="),
        "names an address",
    ),
    "a lock lost": (
        lambda tree: (tree / "requirements" / "dev.lock").unlink(),
        "requirements/dev.lock: made from other declarations",
    ),
}


@pytest.mark.parametrize("case", SPOILS)
def test_the_check_finds(case: str, tree: Path) -> None:
    spoil, finding = SPOILS[case]
    spoil(tree)
    found = lock.problems(tree)
    assert any(finding in line for line in found), found


def test_an_extra_of_our_own_is_opened_up() -> None:
    project = lock.read_project(ROOT)
    dev = lock.wanted(project, "dev")
    assert any(row.startswith("torch>=") for row in dev)
    assert not any(row.startswith("lesionlab") for row in dev)
    assert not any(row.startswith("torch") for row in lock.wanted(project, "base"))


def test_no_file_names_a_registry() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()
    for path in (ROOT / "requirements").iterdir():
        assert "://" not in path.read_text(), path
