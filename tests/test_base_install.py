"""The base install, imitated by hiding torch; scripts/check_base_install.py does it for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lesionlab.extras import MODULES

HIDE = f"""
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
def without(name, *rest):
    return None if name.split(".")[0] in {MODULES["train"]!r} else found(name, *rest)
PathFinder.find_spec = without
"""


def without_torch(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that finds none of the packages of the extra `train`."""
    command = [sys.executable, "-c", HIDE + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


@pytest.mark.slow
def test_the_demo_names_the_extra_in_one_line(tmp_path: Path) -> None:
    code = "from lesionlab.cli.main import main; main(['demo', '--out', 'here'])"
    done = without_torch(code, tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "demo needs the extra 'train' (torch is not installed)" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_verb_is_reached(tmp_path: Path) -> None:
    """Help and the Python function of each verb; none needs torch to be looked at."""
    code = (
        "import contextlib, io, lesionlab\n"
        "from lesionlab.cli.main import VERBS, run\n"
        "for verb in lesionlab._VERBS:\n"
        "    assert callable(getattr(lesionlab, verb)), verb\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    print([run([verb, '--help']) for verb in VERBS])\n"
        "assert len(VERBS) > 5\n"
        "assert 'torch' not in sys.modules\n"
        "print('reached')"
    )
    done = without_torch(code, tmp_path)
    assert done.stdout == "reached\n", done.stderr


def test_the_hiding_works(tmp_path: Path) -> None:
    assert "ModuleNotFoundError" in without_torch("import torch", tmp_path).stderr
