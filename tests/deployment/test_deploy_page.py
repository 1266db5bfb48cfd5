"""docs/deploy.md: the unit is one, and every option that it names exists."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    unit = block("ini").replace("/opt/lesionlab/bin/lesionlab", sys.executable)
    path = tmp_path / "lesionlab.service"
    path.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(done.stderr.strip())
    ours = [line for line in done.stderr.splitlines() if "lesionlab.service" in line]
    assert ours == []


@pytest.mark.parametrize("verb", ["export", "verify", "predict", "serve"])
def test_options_exist(verb: str) -> None:
    command = importlib.import_module(f"lesionlab.cli.{verb}").command
    known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    lines = [line for line in PAGE.splitlines() if re.search(rf"lesionlab {verb}\b", line)]
    named = {flag for line in lines for flag in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert lines
    assert named - known == set()


def test_options_of_the_decisions_exist() -> None:
    from lesionlab.cli.serve import command

    known = {flag for p in command.params for flag in p.opts}
    table = PAGE.split("## Decisions before you serve")[1].split("Keys:")[0]
    assert set(re.findall(r"--[a-z][a-z-]+", table)) - known == set()
