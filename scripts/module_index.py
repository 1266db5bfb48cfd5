"""Write docs/modules.md: every module with the first sentence of its docstring.

    uv run python scripts/module_index.py

A test compares the page with the modules, so whoever adds or renames one runs this again.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "lesionlab"
PAGE = ROOT / "docs" / "modules.md"
HEAD = """# Modules

Every Python module of `src/lesionlab/` and its one subject, from the first line of its docstring.
Made by `python scripts/module_index.py`; [architecture.md](architecture.md) says how they work
together.
"""


def page() -> str:
    """The page: a heading a package, a row a module."""
    blocks = [HEAD]
    for package in packages():
        rows = [row(path) for path in sorted(package.glob("*.py")) if tells(path)]
        if rows:
            name = package.relative_to(SOURCE.parent).as_posix()
            blocks.append(
                "\n".join([f"## {name}/", "", "| module | subject |", "|---|---|", *rows])
            )
    return "\n".join(f"{block.rstrip()}\n" for block in blocks)


def packages() -> list[Path]:
    """The package and all below it, in the order of their names."""
    return sorted(p.parent for p in SOURCE.rglob("__init__.py"))


def tells(path: Path) -> bool:
    """Whether a file has a subject of its own: an `__init__.py` only where it has functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return path.stem != "__init__" or any(isinstance(n, ast.FunctionDef) for n in tree.body)


def row(path: Path) -> str:
    """Module and subject; a bar in the docstring must not end the cell."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return f"| `{path.name}` | {first.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
