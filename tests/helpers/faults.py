"""What tests of faults do to runs and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


class Crash(BaseException):
    """A death that nothing between the test and the fault may catch."""


def summary(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return content


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(bytes(content))


def copy_of(data: Path, to: Path) -> Path:
    shutil.copytree(data, to)
    return to
