"""Two processes (torchrun, gloo): the samples and the curve of one; a death ends all; resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lesionlab.models.tensor_files import read_tensors
from lesionlab.training.distributed import Ranks, StatisticsInOrder, is_lost_peer
from lesionlab.training.recovery import RecoveryState

PRESET = """
batch_size = 12
micro_batch = 6
ema = 0.9
precision = "float32"
monitor = "valid_loss"
checkpoint_seconds = 0.0
[input]
size = 64
[optim]
name = "sgd"
[model]
name = "test_efficientnet"
pretrained = false
dropout = 0.2
drop_path = 0.1
[[stages]]
name = "head"
trainable = "head"
epochs = 1
cached_views = 2
[[stages]]
name = "all"
epochs = EPOCHS
max_lr = [1e-3, 1e-2]
augment = { flips = "dihedral", brightness = 0.2 }
[[stages]]
name = "norms"
trainable = "head"
frozen_batch_norm = "train"
epochs = 1
"""
# Tolerance of a loss: two processes add the same gradients in another order. Adam divides a
# gradient by its own size, which blows the rounding of small ones up, so the test uses SGD.
LOSS = 2e-5


def command(verb: list[str], processes: int) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(torchrun if processes > 1 else []), "-m", "lesionlab", *verb]


def launched(verb: list[str], processes: int) -> subprocess.CompletedProcess[str]:
    asked = command([*verb, "--threads", "1"], processes)
    return subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False)


def preset(folder: Path, epochs: int = 2) -> Path:
    path = folder / "tiny.toml"
    path.write_text(PRESET.replace("EPOCHS", str(epochs)))
    return path


def train_verb(data: Path, recipe: Path, out: Path) -> list[str]:
    return ["train", str(data), "--preset", str(recipe), "--out", str(out), "--json"]


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = launched(train_verb(data, preset(folder), folder / "run"), 1)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def history(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "history.csv")


def same_curve(run: Path, other: Path) -> None:
    a, b = history(run), history(other)
    assert (a[["stage", "epoch", "step"]] == b[["stage", "epoch", "step"]]).all(axis=None)
    for column in ("train_loss", "valid_loss"):
        assert np.allclose(a[column], b[column], atol=LOSS, rtol=0), (a[column], b[column])


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(data: Path, alone: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(data, tmp_path / "data"))
    shutil.rmtree(own / "cache")  # both need the pixels and the features: one makes them
    done = launched(train_verb(own, preset(tmp_path), tmp_path / "run"), 2)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "run")  # one process answers, once
    assert done.stderr.count("to train on") == 1
    assert "2 processes, each with 1 thread" in done.stderr
    same_curve(alone, tmp_path / "run")
    one, two = (read_tensors(run / "last.safetensors") for run in (alone, tmp_path / "run"))
    for name, value in one.items():
        if name.endswith("num_batches_tracked"):
            assert (value == two[name]).all(), name
        elif "running" in name:
            assert torch.allclose(value, two[name], rtol=1e-2, atol=1e-3), name
    predicted = (pd.read_csv(run / "predictions-valid.csv") for run in (alone, tmp_path / "run"))
    first, second = (table.filter(like="prob_").to_numpy() for table in predicted)
    assert np.abs(first - second).max() < 1e-3


def workers(parent: int) -> list[int]:
    """The processes that torchrun has started, by rank."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [int(e[5:]) for e in environment if e.startswith(b"RANK=")]
        if int(fields[1]) == parent and ranks:
            found[ranks[0]] = int(entry.name)
    return [found[rank] for rank in sorted(found)]


def wait_for(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 240  # two ranks import torch first
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_all_and_the_run_resumes(
    data: Path, alone: Path, tmp_path: Path, rank: int
) -> None:
    run = tmp_path / "run"
    verb = [*train_verb(data, preset(tmp_path), run), "--threads", "1"]
    process = subprocess.Popen(
        command(verb, 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(run, "checkpoints/0000000[4-9].json", process)
    ids = workers(process.pid)
    assert len(ids) == 2
    os.kill(ids[rank], signal.SIGKILL)
    assert process.wait(timeout=60) != 0
    process.communicate()
    assert not any(Path(f"/proc/{i}").exists() for i in ids)  # none is left behind
    assert not (run / "calibration.json").exists()
    done = launched(["resume", str(run), "--json"], 2)
    assert done.returncode == 0, done.stderr
    assert "not bit-exact" not in done.stderr
    same_curve(alone, run)


@pytest.mark.slow
def test_a_stop_saves_on_all_and_one_process_may_go_on(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    verb = [*train_verb(data, preset(tmp_path), run), "--threads", "1"]
    process = subprocess.Popen(
        command(verb, 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(run, "checkpoints/0000000[3-9].json", process)
    ids = workers(process.pid)
    os.kill(ids[1], signal.SIGTERM)  # one hears it, both obey
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"continue with: lesionlab resume {run}" in said
    done = launched(["resume", str(run), "--json"], 1)
    assert done.returncode == 0, done.stderr
    assert "not bit-exact with the uninterrupted run: processes was 2, is 1" in done.stderr
    same_curve(alone, run)


# --- the parts, in one process ------------------------------------------------------------


def test_rows_dealt_to_ranks_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(7)
    ranks = [Ranks(r, 3) for r in range(3)]
    parts = [r.mine(rows).astype(np.float32)[:, None] for r in ranks]

    def gather(found: list[Any], mine: Any) -> None:
        found[:] = parts

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    for rank in ranks:
        assert rank.gathered(parts[rank.rank], 7)[:, 0].tolist() == rows.tolist()
    dealt = [[n for n in range(5) if r.deals(n)] for r in ranks]
    assert sorted(n for some in dealt for n in some) == list(range(5))


def test_summed_gradients_keep_the_memory_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused optimisers walk the memory of weight and gradient alike: a layout is not a detail."""
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    before = layer.weight.grad.clone()
    monkeypatch.setattr("torch.distributed.all_reduce", lambda flat: flat.mul_(2))
    Ranks(0, 2).sum_gradients(list(layer.parameters()))
    assert torch.equal(layer.weight.grad, 2 * before)
    assert layer.weight.grad.stride() == layer.weight.stride() != layer.weight.contiguous().stride()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_statistics_are_those_of_one_process(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    batches = [torch.randn(6, 4, 3, 3) * (n + 1) for n in range(count)]
    single, world = nn.BatchNorm2d(4), 2
    for batch in batches:
        single(batch)
    layers = [nn.BatchNorm2d(4) for _ in range(world)]
    every = [StatisticsInOrder(layer, Ranks(r, world)) for r, layer in enumerate(layers)]
    for number, batch in enumerate(batches):
        with every[number % world].caught():
            layers[number % world](batch)

    def gather(found: list[Any], mine: Any) -> None:
        found[:] = [s.seen for s in every]

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    for statistics, layer in zip(every, layers, strict=True):
        statistics.apply(count)
        assert torch.allclose(layer.running_mean, single.running_mean, atol=1e-6)
        assert torch.allclose(layer.running_var, single.running_var, rtol=1e-6)
        assert layer.num_batches_tracked == count
        assert layer.momentum == single.momentum


def test_what_a_lost_process_looks_like() -> None:
    words = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"
    assert is_lost_peer(RuntimeError(words))
    assert not is_lost_peer(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert RecoveryState().notes == []
