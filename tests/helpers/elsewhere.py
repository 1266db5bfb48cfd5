"""Processes that meet what lesionlab would meet on Windows (tests/simulated)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SIMULATED = Path(__file__).parents[1] / "simulated"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the simulation stands on Linux")


def elsewhere(**more: str) -> dict[str, str]:
    """The environment of a process on a simulated Windows whose pipes are in its code page."""
    path = os.pathsep.join(filter(None, (str(SIMULATED), os.environ.get("PYTHONPATH", ""))))
    own = {"PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "LESIONLAB_TEST_SIMULATED": "1"}
    return {**os.environ, **own, **more}


def python(code: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen(command, env=env, **pipes)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
