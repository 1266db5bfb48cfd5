"""What ruff's list of banned names (pyproject.toml) cannot see: text without its encoding, paths of
one system, links. Read from the syntax trees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLATFORMS = ROOT / "src" / "lesionlab" / "platforms.py"
FILES = sorted(p for top in ("src", "scripts", "bench") for p in (ROOT / top).rglob("*.py"))
OF_ONE = r"/(proc|sys|dev|tmp|etc)(/|$)"
TEXT_MODE = re.compile(r"[rwax+t]+")


def findings(tree: ast.AST) -> Iterator[str]:
    """`line: what` for each text that is read or written in the system's own code page."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _reads_text(node):
            yield f"{node.lineno}: text without encoding="


def one_system(tree: ast.AST) -> Iterator[str]:
    """`line: what` for each path or link that not every system has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and re.match(OF_ONE, str(node.value)):
            yield f"{node.lineno}: {node.value}"
        if isinstance(node, ast.Attribute) and node.attr in ("symlink_to", "hardlink_to"):
            yield f"{node.lineno}: {node.attr}"


def _reads_text(call: ast.Call) -> bool:
    if {k.arg for k in call.keywords} & {"encoding", None}:  # None: `**options`
        return False
    name = ast.unparse(call.func)
    last = name.rsplit(".", 1)[-1]
    if last == "read_text":
        return not call.args
    if last == "write_text":
        return len(call.args) < 2 and name != "write_text" and not name.startswith("files.")
    if last in ("open", "NamedTemporaryFile", "TemporaryFile"):
        return _opens_text(call, name)
    said = {k.arg: k.value for k in call.keywords}
    text = said.get("text") or said.get("universal_newlines")
    return isinstance(text, ast.Constant) and text.value is True


def _opens_text(call: ast.Call, name: str) -> bool:
    """`open(path)`, `open(path, "w")`, `path.open()`, `path.open("a")`; no `Image.open(path)`."""
    place = 1 if name == "open" else 0
    modes = [k.value for k in call.keywords if k.arg == "mode"] or call.args[place : place + 1]
    if not modes:
        return name == "open" or (not call.args and name.endswith(".open"))
    mode = modes[0]
    return (
        isinstance(mode, ast.Constant)
        and isinstance(mode.value, str)
        and TEXT_MODE.fullmatch(mode.value) is not None
    )


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_text_names_its_encoding() -> None:
    found = [f"{named(p)}:{line}" for p in FILES for line in findings(parsed(p))]
    assert len(FILES) > 100
    assert not found, found


def test_paths_and_links_of_one_system_stand_in_one_module() -> None:
    package = [p for p in FILES if p.is_relative_to(ROOT / "src") and p != PLATFORMS]
    found = [f"{named(p)}:{line}" for p in package for line in one_system(parsed(p))]
    assert not found, found


@pytest.mark.parametrize(
    "code",
    [
        "path.read_text()",
        "path.write_text(text)",
        "open(path)",
        "open(path, 'w')",
        "path.open()",
        "path.open('a+')",
        "path.open(mode='r', newline='')",
        "subprocess.run(words, text=True)",
        "subprocess.Popen(words, universal_newlines=True)",
    ],
)
def test_the_reader_finds_text_without_its_encoding(code: str) -> None:
    assert list(findings(ast.parse(code)))
    named_one = code[:-1] + ", encoding='utf-8')"
    assert not list(findings(ast.parse(named_one.replace("(, ", "("))))


@pytest.mark.parametrize(
    "code",
    [
        "path.open('rb')",
        "Image.open(path)",
        "files.write_text(path, text)",
        "run(words, text=False)",
    ],
)
def test_the_reader_leaves_bytes_alone(code: str) -> None:
    assert not list(findings(ast.parse(code)))


@pytest.mark.parametrize("code", ["x = '/proc/meminfo'", "a.symlink_to(b)", "open('/tmp')"])
def test_the_reader_finds_what_one_system_has(code: str) -> None:
    assert list(one_system(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl",
        "from os import fork",
        "import os\n\nn = os.cpu_count()",
        "import os\n\nos.fsync(1)",
        "import signal\n\nprint(signal.SIGKILL)",
        "import multiprocessing",
    ],
)
def test_the_lint_forbids_what_one_system_has(code: str) -> None:
    place = "src/lesionlab/data/somewhere.py"
    words = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", place]
    done = subprocess.run(
        [*words, "-"], input=code, capture_output=True, encoding="utf-8", cwd=ROOT
    )
    assert done.returncode == 1, done.stderr
    assert "TID251" in done.stdout or "banned" in done.stdout
