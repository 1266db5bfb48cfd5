"""Writing and reading checkpoints (faults 1 to 4)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.faults import flipped, truncated
from lesionlab import files
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models import tensor_files
from lesionlab.training import checkpoint
from lesionlab.training import train as engine
from lesionlab.training.checkpoint import State
from lesionlab.training.device import Machine
from lesionlab.training.train import resume

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


CALLS = (
    (tensor_files, "save_file"),
    (os, "fsync"),
    (Path, "chmod"),
    (Path, "replace"),
    (Path, "write_bytes"),
    (Path, "unlink"),
    (files, "sha256_file"),
)


def died_at_call(work: Callable[[], object], call: int) -> bool:
    """Run `work` in a fork that dies before the `call`-th call of the system; whether it did."""
    child = os.fork()
    if child == 0:
        left = iter(range(10**6))

        def mortal(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                if next(left) == call:
                    os._exit(9)
                return original(*args, **kwargs)

            return wrapped

        try:
            for owner, name in CALLS:
                setattr(owner, name, mortal(getattr(owner, name)))
            work()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.WEXITSTATUS(status)
    assert code in (0, 9)
    return code == 9


def some_tensors(number: int) -> dict[str, torch.Tensor]:
    return {"model/w": torch.full((3, 2), float(number)), "optim/w/step": torch.tensor(1.0)}


def saved(folder: Path, number: int) -> None:
    state = State(steps_done=number, best_epoch=number)
    checkpoint.save(folder, state, some_tensors(number), {"threads": 1}, {"seed": 0})


def test_a_death_at_any_call_of_a_write_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    deaths = 0
    for call in range(40):
        folder = tmp_path / str(call)
        for number in range(3):
            saved(folder, number)
        died = died_at_call(lambda folder=folder: saved(folder, 3), call)
        found = checkpoint.latest(folder, engine.SILENT)
        assert found.state.steps_done in (2, 3)
        assert found.tensors["model/w"].tolist() == [[found.state.steps_done] * 2] * 3
        saved(folder, 4)  # and life goes on
        assert checkpoint.latest(folder, engine.SILENT).state.steps_done == 4
        deaths += died
        if not died:
            assert found.state.steps_done == 3
            break
    assert deaths >= 8  # two files: write, sync, move, sync the folder; then the old ones go


def test_file_and_folder_are_synced_before_the_pointer_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append("sync folder" if path.is_dir() else f"sync {path.name.split('.')[2]}")
        sync(descriptor)

    def moved(self: Path, target: Path) -> Path:
        calls.append(f"move {target.suffix[1:]}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    saved(tmp_path / "checkpoints", 0)
    weights = ["sync safetensors", "move safetensors", "sync folder"]
    assert calls == [*weights, "sync json", "move json", "sync folder"]


def test_only_the_newest_checkpoints_and_the_best_they_name_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number in range(5):
        checkpoint.best_path(folder, number).write_bytes(b"best")
        saved(folder, number)
    names = sorted(p.name for p in folder.iterdir())
    assert names == [
        "00000003.json",
        "00000003.safetensors",
        "00000004.json",
        "00000004.safetensors",
        "best-00003.safetensors",
        "best-00004.safetensors",
    ]


def test_files_are_readable_by_all_as_other_files_are(reference: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in (p for p in reference.rglob("*") if p.is_file() and p.name != ".lock"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path


@pytest.mark.parametrize("damage", [truncated, flipped, lambda path: path.unlink()])
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_damaged_checkpoint_is_named_and_the_older_one_is_used(
    stopped: Path,
    reference: Path,
    machine: Machine,
    outcome: Outcome,
    lines: Any,
    damage: Callable[[Path], None],
    suffix: str,
) -> None:
    newest = max((stopped / "checkpoints").glob("[0-9]*.json")).with_suffix(suffix)
    if suffix == ".json" and damage is flipped:
        newest.write_text(newest.read_text().replace('"sha256": "', '"sha256": "0'))
    else:
        damage(newest)
    resume(stopped, machine=machine, progress=lines)
    absent = suffix == ".json" and damage not in (truncated, flipped)
    assert absent or any(f"checkpoint {newest.stem} is damaged" in line for line in lines.said)
    assert outcome(stopped) == outcome(reference)


def test_without_a_whole_checkpoint_it_says_so(stopped: Path, machine: Machine) -> None:
    for path in (stopped / "checkpoints").glob("[0-9]*.safetensors"):
        truncated(path)
    with pytest.raises(BadInput, match=r"no intact checkpoint.*start a new run"):
        resume(stopped, machine=machine)


def test_best_weights_that_are_damaged_are_never_the_result(
    stopped: Path, machine: Machine, lines: Any
) -> None:
    newest = json.loads(max((stopped / "checkpoints").glob("[0-9]*.json")).read_text())
    assert newest["state"]["best_sha256"]
    flipped(checkpoint.best_path(stopped / "checkpoints", newest["state"]["best_epoch"]))
    with pytest.raises(BadInput, match="no intact checkpoint"):  # all of them name these
        resume(stopped, machine=machine, progress=lines)
    assert any("the best weights so far do not match" in line for line in lines.said)
