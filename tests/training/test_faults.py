"""What can go wrong on the way, and what must then happen (numbers as in the list of faults)."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lesionlab import files
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models import weights as weights_module
from lesionlab.training import checkpoint
from lesionlab.training import machine as machine_module
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.checkpoint import State
from lesionlab.training.machine import Machine, choose_machine
from lesionlab.training.train import Trainer, resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


class Crash(BaseException):
    """A death that nothing between the test and the fault may catch."""


@pytest.fixture
def stopped(data: Path, tiny: Recipe, machine: Machine, tmp_path: Path) -> Path:
    """A run that died at its eighth step, in the second stage."""
    out, left = tmp_path / "run", iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 8:
            raise Crash
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, tiny(), out, machine=machine)
    return out


def summary(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return content


# --- 1-3: the write itself ----------------------------------------------------------------

CALLS = (
    (weights_module, "save_file"),
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


# --- 4: a damaged checkpoint --------------------------------------------------------------


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(bytes(content))


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
    with pytest.raises(BadInput, match=r"no whole checkpoint.*start a new run"):
        resume(stopped, machine=machine)


# --- 5, 6: the disk -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name"),
    [(weights_module, "save_file"), (Path, "write_bytes"), (os, "fsync")],
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
    with pytest.raises(BadInput, match="only 1 MiB are free, this run needs"):
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
    monkeypatch.setattr(machine_module, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine_module, "CGROUP", tmp_path)
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
    with pytest.raises(BadInput, match="exists already and is not empty"):
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


# --- 12: the scaler of float16 ------------------------------------------------------------


def test_the_scaler_of_float16_is_restored(
    data: Path, tiny: Recipe, tmp_path: Path, outcome: Outcome
) -> None:
    half = Machine("cpu", "float16", 1)
    settings = tiny(stages=[{"name": "all", "epochs": 2}], checkpoint_seconds=0.0)
    train(data, settings, tmp_path / "whole", machine=half)
    left = iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 4:
            raise Crash
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, settings, tmp_path / "run", machine=half)
    found = checkpoint.latest(tmp_path / "run" / "checkpoints", engine.SILENT)
    assert found.state.scaler["scale"] > 0
    assert found.state.scaler["_growth_tracker"] == 4 or found.state.scaler["scale"] < 65536
    resume(tmp_path / "run", machine=half)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


# --- 13, 14: what has changed since -------------------------------------------------------


def copy_of(data: Path, to: Path) -> Path:
    shutil.copytree(data, to)
    return to


def test_changed_labels_are_refused_with_the_difference(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    names = sorted(set(table["label"]))
    row = table.index[table["label"] == names[0]][0]
    table.loc[row, "label"] = names[1]
    table.to_csv(other / "manifest.csv", index=False)
    with pytest.raises(BadInput, match="0 images gone, 0 added, 1 changed") as error:
        resume(stopped, dataset_folder=other, machine=machine)
    assert table.loc[row, "image_id"] in str(error.value)


def test_images_gone_and_added_are_counted(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[table.index[0], "image_id"] = "new"
    table.iloc[:-1].to_csv(other / "manifest.csv", index=False)
    with pytest.raises(BadInput, match="2 images gone, 1 added, 0 changed"):
        resume(stopped, dataset_folder=other, machine=machine)


def test_another_order_of_classes_is_refused(
    stopped: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    info = json.loads((other / "dataset.json").read_text())
    info["classes"] = info["classes"][::-1]
    (other / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(
        BadInput, match="classes were benign, malignant; they are malignant, benign"
    ):
        resume(stopped, dataset_folder=other, machine=machine)


def test_data_that_only_moved_are_the_same_run(
    stopped: Path, reference: Path, data: Path, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    other = copy_of(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    table.iloc[::-1].to_csv(other / "manifest.csv", index=False)  # and in another order
    resume(stopped, dataset_folder=other, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_changed_settings_are_refused_with_the_difference(stopped: Path, machine: Machine) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["settings"]["optim"]["clip"] = 2.0
    (stopped / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"settings have changed.*optim.clip was 1.0, is 2.0"):
        resume(stopped, machine=machine)


def test_settings_that_change_no_number_may_change(
    stopped: Path, reference: Path, machine: Machine, outcome: Outcome
) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["settings"]["checkpoint_seconds"] = 60.0
    (stopped / "config.json").write_text(json.dumps(config))
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_another_machine_is_said_to_be_not_bit_exact(stopped: Path, lines: Any) -> None:
    resume(stopped, machine=choose_machine("cpu", "bfloat16", 1), progress=lines)
    words = "not bit-exact with the uninterrupted run: precision was float32, is bfloat16"
    assert words in lines.said
    assert words in summary(stopped)["notes"]


def test_a_checkpoint_that_records_less_is_said_to_be_not_bit_exact(
    stopped: Path, machine: Machine, lines: Any
) -> None:
    for manifest in (stopped / "checkpoints").glob("[0-9]*.json"):
        content = json.loads(manifest.read_text())
        del content["fingerprint"]["numerics"]
        manifest.write_text(json.dumps(content))
    resume(stopped, machine=machine, progress=lines)
    said = "not bit-exact with the uninterrupted run: numerics was not recorded, is 1"
    assert said in lines.said


def test_other_threads_are_said_to_be_not_bit_exact(stopped: Path, lines: Any) -> None:
    other = Machine("cpu", "float32", 2)
    resume(stopped, machine=other, progress=lines)
    assert any("not bit-exact" in line and "threads was 1, is 2" in line for line in lines.said)


# --- 15-17: NaN ---------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, bad: Callable[[tuple[int, ...]], bool]) -> None:
    """Images of the steps for which `bad(place)` hold a NaN."""
    original = step_module.do_step

    def do_step(inputs: Any, context: Any, slots: Any, order: Any, micro: int, place: Any) -> float:
        if bad(place):
            real = inputs.logits
            with pytest.MonkeyPatch.context() as local:
                local.setattr(inputs, "logits", lambda part: real(part) * math.nan, raising=False)
                return original(inputs, context, slots, order, micro, place)
        return original(inputs, context, slots, order, micro, place)

    monkeypatch.setattr(engine, "do_step", do_step)


def test_a_batch_whose_loss_is_nan_is_skipped_and_recorded(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, lambda place: place == (1, 0, 1))
    train(data, tiny(), tmp_path / "run", machine=machine, progress=lines)
    found = summary(tmp_path / "run")
    assert found["skipped_batches"] == [[1, 0, 1]]
    line = "the loss was not finite at stage 1, epoch 0, step 1: that batch was skipped"
    assert line in found["notes"]
    assert any(line in said for said in lines.said)
    tensors = weights_module.read_tensors(tmp_path / "run" / "last.safetensors")
    assert all(v.isfinite().all() for v in tensors.values() if v.is_floating_point())


def test_after_a_nan_a_stopped_run_ends_with_the_same_bits(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, lambda place: place == (1, 0, 1))
    train(data, tiny(), tmp_path / "whole", machine=machine)
    poisoned, left = engine.do_step, iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 10:
            raise Crash
        return poisoned(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, tiny(), tmp_path / "run", machine=machine)
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_more_than_three_nan_batches_are_a_clear_error(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda place: place[0] == 1)
    with pytest.raises(BadInput, match=r"not finite 4 times, last at stage 1.*lower the rate"):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_a_gradient_that_is_not_finite_moves_nothing(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = step_module._accumulate

    def accumulate(inputs: Any, context: Any, *rest: Any) -> float:
        total = original(inputs, context, *rest)
        if rest[-1] == (0, 1, 0):
            context.moving[0].grad[0] = math.inf
        return total

    monkeypatch.setattr(step_module, "_accumulate", accumulate)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert found["skipped_batches"] == [[0, 1, 0]]
    assert "the gradient was not finite" in found["notes"][0]


def test_a_metric_that_is_nan_is_never_best(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, epochs = Trainer._validate, iter(range(10))

    def validate(self: Trainer, leg: Any) -> Any:
        logits = original(self, leg)
        return logits * np.float32(math.nan) if next(epochs) != 1 else logits

    monkeypatch.setattr(Trainer, "_validate", validate)
    train(data, tiny(), tmp_path / "run", machine=machine)
    assert summary(tmp_path / "run")["best_epoch"] == 1
    rows = pd.read_csv(tmp_path / "run" / "history.csv")
    assert rows["valid_loss"].notna().tolist() == [False, True, False, False]


def test_a_metric_that_never_is_a_number_is_an_error(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._validate
    monkeypatch.setattr(
        Trainer, "_validate", lambda self, leg: original(self, leg) * np.float32(math.nan)
    )
    with pytest.raises(BadInput, match="valid_loss was never a number"):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_nan_in_the_average_alone_is_mended_from_the_network(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._run_epoch

    def run_epoch(self: Trainer, leg: Any, order: Any) -> None:
        original(self, leg, order)
        if leg.number == 1 and self.state.epoch == 0:
            name = next(n for n, v in self.average.kept.items() if v.ndim == 4)
            self.average.kept[name][0, 0, 0, 0] = math.nan

    monkeypatch.setattr(Trainer, "_run_epoch", run_epoch)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert any("average held NaN after step 9" in note for note in found["notes"])
    rows = pd.read_csv(tmp_path / "run" / "history.csv")
    assert rows["valid_loss"].notna().all()


# --- 18-20: images and caches -------------------------------------------------------------


def test_a_damaged_pixel_cache_is_rebuilt(
    stopped: Path,
    reference: Path,
    data: Path,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    lines: Any,
) -> None:
    other = copy_of(data, tmp_path / "other")
    caches = list((other / "cache").glob("*.npy"))
    for cache in caches:  # other tests may have left one of another size
        flipped(cache)
    resume(stopped, dataset_folder=other, machine=machine, progress=lines)
    assert any("damaged" in line and c.name in line for line in lines.said for c in caches)
    assert outcome(stopped) == outcome(reference)


@pytest.mark.parametrize("damage", [truncated, flipped, lambda path: path.write_text("")])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_damaged_features_are_computed_again(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    damage: Callable[[Path], None],
    suffix: str,
    lines: Any,
) -> None:
    other = copy_of(data, tmp_path / "other")
    for path in (other / "cache" / "features").glob(f"*/0*{suffix}"):
        damage(path)
    train(other, tiny(), tmp_path / "run", machine=machine, progress=lines)
    assert any("damaged" in line for line in lines.said)
    assert summary(tmp_path / "run")["frozen_features"]["head"]["from_cache"] == 0
    assert outcome(tmp_path / "run") == outcome(reference)


def uncached(data: Path, to: Path) -> Path:
    """A copy that can have no cache: a file stands where its folder would be."""
    other = copy_of(data, to)
    shutil.rmtree(other / "cache")
    (other / "cache").write_text("")
    return other


def test_without_room_for_a_cache_images_are_decoded_as_they_come(
    reference: Path,
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    lines: Any,
) -> None:
    other = uncached(data, tmp_path / "other")
    train(other, tiny(), tmp_path / "run", machine=machine, progress=lines)
    assert any("decoding at each step" in line for line in lines.said)
    assert outcome(tmp_path / "run") == outcome(reference)


@pytest.mark.parametrize("fault", ["corrupt", "gone"])
def test_an_image_that_is_lost_on_the_way_is_named(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    fault: str,
) -> None:
    other = uncached(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    path = other / table.loc[table["split"] == "train", "path"].iloc[0]
    content, left = path.read_bytes(), iter(range(100))

    def losing(*args: Any) -> float:
        if next(left) == 6:  # the second stage begins
            path.unlink()
            if fault == "corrupt":
                path.write_bytes(content[: len(content) // 2])
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "do_step", losing)
        with pytest.raises(BadInput, match=path.name):
            train(other, tiny(), tmp_path / "run", machine=machine)
    path.write_bytes(content)
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(reference)


def test_an_image_that_is_corrupt_before_the_cache_is_built_is_named(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    shutil.rmtree(other / "cache")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    path = other / table["path"].iloc[3]
    truncated(path)
    with pytest.raises(BadInput, match=path.name):
        train(other, tiny(), tmp_path / "run", machine=machine)
    assert not [p for p in (other / "cache").rglob("*.npy") if p.is_file()]


def test_the_test_images_are_real_images(data: Path) -> None:
    table = pd.read_csv(data / "manifest.csv", dtype=str)
    with Image.open(data / table["path"].iloc[0]) as image:
        assert min(image.size) > 32


# --- 23, 24 -------------------------------------------------------------------------------


def test_out_of_memory_halves_the_micro_batch_and_records_it(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = step_module.do_step, []

    def hungry(inputs: Any, context: Any, slots: Any, order: Any, micro: int, place: Any) -> float:
        if place[0] == 1 and micro > 2:
            raise torch.OutOfMemoryError("no memory left")
        sizes.append((place[0], micro, len(slots)))
        return original(inputs, context, slots, order, micro, place)

    monkeypatch.setattr(engine, "do_step", hungry)
    train(data, tiny(), tmp_path / "run", machine=machine)
    found = summary(tmp_path / "run")
    assert found["micro_batches"] == {"all": 2}
    assert "memory ran out in stage all: micro-batches of 2 instead of 4" in found["notes"][0]
    assert {s for s in sizes if s[0] == 1} == {(1, 2, 8)}  # the step is of 8 images as before


def test_out_of_memory_at_the_smallest_micro_batch_is_one_line(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any) -> float:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(engine, "do_step", hungry)
    with pytest.raises(BadInput, match="not enough memory even for micro-batches of 2"):
        train(data, tiny(), tmp_path / "run", machine=machine)


def test_two_runs_in_one_folder(stopped: Path, machine: Machine) -> None:
    with engine.locked(stopped), pytest.raises(BadInput, match=f"pid {os.getpid()}.*is writing"):
        resume(stopped, machine=machine)


def test_the_lock_of_a_dead_process_holds_nobody_up(
    stopped: Path, reference: Path, machine: Machine, outcome: Outcome
) -> None:
    (stopped / ".lock").write_text("pid 1")
    resume(stopped, machine=machine)
    assert outcome(stopped) == outcome(reference)


def test_a_finished_run_is_returned_as_it_is(reference: Path, machine: Machine, lines: Any) -> None:
    before = (reference / "calibration.json").stat().st_mtime_ns
    resume(reference, machine=machine, progress=lines)
    assert (reference / "calibration.json").stat().st_mtime_ns == before
    assert any("is finished" in line for line in lines.said)
