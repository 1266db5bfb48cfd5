"""The package is typed for those who use it: a strict script, and the table of verbs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import lesionlab

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "src" / "lesionlab" / "__init__.py"


def mypy(script: Path) -> subprocess.CompletedProcess[str]:
    """mypy as a user runs it: strict, without our settings, on the installed package."""
    words = ("--strict", "--config-file=", "--cache-dir", ROOT / ".mypy_cache" / "user", script)
    there = {k: v for k, v in os.environ.items() if k != "MYPYPATH"}
    command = [sys.executable, "-m", "mypy", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE, env=there)


@pytest.mark.slow
def test_a_strict_user_script_passes_and_its_mistakes_are_seen(tmp_path: Path) -> None:
    done = mypy(HERE / "user_script.py")
    assert done.returncode == 0, done.stdout + done.stderr
    # Without its comments each of the mistakes is reported, so none was let through by chance.
    text = (HERE / "user_script.py").read_text(encoding="utf-8")
    mistakes = [n for n, line in enumerate(text.splitlines(), 1) if "# type: ignore[" in line]
    script = tmp_path / "mistaken.py"
    script.write_text("\n".join(line.split("  # type: ")[0] for line in text.splitlines()))
    said = mypy(script).stdout
    lines = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert lines == set(mistakes)


def static_imports() -> dict[str, str]:
    """name -> module, of what the package shows to type checkers."""
    tree = ast.parse(PACKAGE.read_text(encoding="utf-8"))
    (block,) = [
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    ]
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "re-exported by `import x as x`, or mypy hides it"
            found[alias.name] = str(node.module)
    return found


def test_type_checkers_and_python_see_the_same_verbs() -> None:
    modules = dict.fromkeys(lesionlab._MODULES, "lesionlab")
    assert static_imports() == lesionlab._VERBS | modules
    assert sorted(lesionlab.__all__) == sorted(["__version__", *static_imports()]) == dir(lesionlab)


@pytest.mark.parametrize("name", lesionlab._VERBS)
def test_every_verb_is_its_function(name: str) -> None:
    function = getattr(importlib.import_module(lesionlab._VERBS[name]), name)
    assert getattr(lesionlab, name).__wrapped__ is function
    assert function.__doc__
    assert "return" in function.__annotations__


def test_every_module_is_an_attribute() -> None:
    for name in lesionlab._MODULES:
        assert getattr(lesionlab, name) is importlib.import_module(f"lesionlab.{name}")
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lesionlab.trian  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (resources.files("lesionlab") / "py.typed").is_file()
