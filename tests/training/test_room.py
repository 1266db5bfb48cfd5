"""A disk that is full or read-only, a memory that is small (faults 5, 6)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lesionlab import platforms
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models import tensor_files
from lesionlab.training import checkpoint
from lesionlab.training import device as machine_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(tensor_files, "save_file"), (Path, "write_bytes"), (os, "fsync")],
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    stopped: Path,
    reference: Path,
    machine: Machine,
    outcome: Outcome,
    owner: Any,
    name: str,
) -> None:
    with pytest.MonkeyPatch.context() as fault:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        fault.setattr(owner, name, full)
        with pytest.raises(BadInput, match=r"No space left on device.*resume"):
            resume(stopped, machine=machine)
    assert not list(stopped.rglob(".*.part"))
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_too_little_room_is_said_before_the_first_step(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    with pytest.raises(BadInput, match="only 1 MiB of disk are free, but this run needs"):
        train(data, tiny(), tmp_path / "run", machine=machine)
    assert not list(tmp_path.iterdir())


def test_too_little_memory_is_said_before_the_first_step(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionlab.training.begin.free_memory", lambda _: 2**20)
    with pytest.raises(BadInput, match=r"only 1 MiB of memory are free.*micro_batch=2"):
        train(data, tiny(), tmp_path / "run", machine=machine)
    assert not list(tmp_path.iterdir())


def test_the_memory_that_is_free_is_the_least_of_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(platforms, "CGROUP", tmp_path)
    assert machine_module.free_memory("cpu") is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       4 kB\n")
    assert machine_module.free_memory("cpu") == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_module.free_memory("cpu") == 4096
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 300\nactive_file 400\ninactive_file 300\n")
    assert machine_module.free_memory("cpu") == 2700  # pages of files are given back


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_really_is_full(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setattr("lesionlab.training.begin.SPARE_BYTES", -(10**9))
        with pytest.raises(BadInput, match="No space left on device"):
            train(data, tiny(), disk / "run", machine=machine)
        whole = list(disk.rglob("[0-9]*.json"))
        if whole:
            assert checkpoint.latest(disk / "run" / "checkpoints", engine.SILENT)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_output_that_exists_is_refused_before_any_work(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    with pytest.raises(BadInput, match="already exists and is not empty"):
        train(data, tiny(), tmp_path / "run", machine=machine)
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "precious.txt"]


def test_an_output_that_cannot_be_written_is_refused_before_the_first_step(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "do_step", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        train(data, tiny(), tmp_path / "file" / "run", machine=machine)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_read_only(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    monkeypatch.setattr(engine, "do_step", None)  # no step is reached
    try:
        with pytest.raises(BadInput, match="Read-only file system"):
            train(data, tiny(), disk / "run", machine=machine)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
