"""Modules with logic of their own that have no test file at the mirrored path.

    uv run python scripts/mirrored_tests.py

`src/lesionlab/data/split.py` is tested by `tests/data/test_split.py`. A module has logic of its own
where it branches at least `BRANCHES` times. Some are tested through what calls them: `THROUGH` says
which, and by what. Prints the others, most branches first. Fails only where `THROUGH` is out of
date: a pattern that fits no module, or a test file that does not exist.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
BRANCHES = 5
LOGIC = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.comprehension, ast.BoolOp, ast.Match)

# (modules, the tests that reach them, why those are enough)
THROUGH = (
    ("cli/*.py", "tests/test_cli.py", "each verb parses, calls and prints; the table has them all"),
    ("api/*.py", "tests/test_cli.py", "a verb reads, calls and writes; its logic lies below"),
    ("data/sources/*.py", "tests/data/sources/test_headers.py", "a row of columns for each set"),
    ("reporting/sections/*.py", "tests/reporting/test_sections.py", "a page is made of them"),
    ("reporting/explanations_*.py", "tests/reporting/test_explanations.py", "a page of them"),
    ("deployment/server_*.py", "tests/deployment/test_server.py", "by requests to the whole app"),
    ("data/audit/*.py", "tests/data/audit/test_faults.py", "by planted faults, one a finding"),
    ("data/dicom/*.py", "tests/data/dicom/test_matrix.py", "by files of every kind, end to end"),
    ("data/duplicates/*.py", "tests/data/test_duplicates.py", "by planted copies, end to end"),
    ("training/train.py", "tests/training/test_resume.py", "the whole loop, stopped anywhere"),
    ("training/step.py", "tests/training/test_resume.py", "the whole loop, stopped anywhere"),
)


@dataclass(frozen=True)
class Module:
    """A module by its path below the package, its branches and its test file."""

    path: PurePosixPath
    branches: int

    @property
    def test(self) -> PurePosixPath:
        """Where its tests lie: a package's own code is tested by a file of the package's name."""
        if self.path.name == "__init__.py":
            return PurePosixPath(
                "tests", self.path.parent.parent, f"test_{self.path.parent.name}.py"
            )
        return PurePosixPath("tests", self.path.parent, f"test_{self.path.name}")


def modules(root: Path) -> Iterator[Module]:
    """The package's modules with at least `BRANCHES` branches."""
    package = root / "src" / "lesionlab"
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        branches = sum(isinstance(node, LOGIC) for node in ast.walk(tree))
        if branches >= BRANCHES:
            yield Module(PurePosixPath(file.relative_to(package).as_posix()), branches)


def reached_through(module: Module) -> bool:
    """Whether `THROUGH` names it."""
    return any(fnmatch(str(module.path), pattern) for pattern, _, _ in THROUGH)


def untested(root: Path) -> list[Module]:
    """Those without a test file at the mirrored path or a reason, most branches first."""
    left = [m for m in modules(root) if not (root / m.test).is_file() and not reached_through(m)]
    return sorted(left, key=lambda m: -m.branches)


def stale(root: Path) -> list[str]:
    """The lines of `THROUGH` that say what is no longer so."""
    paths = [str(m.path) for m in modules(root)]
    return [
        f"{pattern} ({test})"
        for pattern, test, _ in THROUGH
        if not any(fnmatch(path, pattern) for path in paths) or not (root / test).is_file()
    ]


def main() -> int:
    """Print what has no test file of its own; 1 where `THROUGH` is out of date."""
    left, wrong = untested(ROOT), stale(ROOT)
    for module in left:
        print(f"{module.branches:4} branches  src/lesionlab/{module.path}  without {module.test}")
    print(f"{len(left)} of {len(list(modules(ROOT)))} modules with logic have no test file there")
    for line in wrong:
        print(f"THROUGH is out of date: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
