"""Frozen features are computed once for a data set, whatever the split, and change no bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lesionlab.config import Settings
from lesionlab.data.feature_store import row_ids
from lesionlab.models.classifier import build
from lesionlab.progress import SILENT
from lesionlab.training import features as features_module
from lesionlab.training.device import Machine
from lesionlab.training.features import BATCH, Frozen, frozen_features
from lesionlab.training.setup import open_parts, preprocessing, stage_pixels
from lesionlab.training.train import train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy of the data set without any features."""
    other = shutil.copytree(data, tmp_path / "own")
    shutil.rmtree(other / "cache" / "features", ignore_errors=True)
    return Path(other)


def frozen(data: Path, settings: Settings, machine: Machine, root: Path) -> Frozen:
    parts, how = open_parts(data), preprocessing(settings)
    torch.manual_seed(0)
    network = build(settings.model, settings.shown, 2)
    pixels = stage_pixels(parts, settings, how.size, SILENT)
    ids = row_ids(parts.dataset.table)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Frozen(network, "test_efficientnet", how, machine, lambda: pixels, ids, root)


def resplit(data: Path) -> None:
    """Training and validation images change places, and the rows their order."""
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    table["split"] = table["split"].map({"train": "valid", "valid": "train", "test": "test"})
    table.iloc[::-1].to_csv(data / "manifest.csv", index=False)


def told(run: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((run / "summary.json").read_text())["frozen_features"][
        "head"
    ]
    return found


def test_a_row_is_the_same_bits_in_any_company(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    body = frozen(data, tiny(), machine, tmp_path)
    pixels = body.pixels().take(np.arange(BATCH))
    whole = body.embed(pixels, 1)
    assert (body.embed(pixels[::-1], 1)[::-1] == whole).all()
    assert (body.embed(pixels[:5], 1) == whole[:5]).all()


def test_the_key_holds_all_that_the_numbers_follow_from(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    body = frozen(data, tiny(), machine, tmp_path)
    keys = {body.key(0), body.key(1)}
    keys.add(replace(body, how=replace(body.how, size=40)).key(0))
    keys.add(replace(body, how=replace(body.how, mean=(0.0, 0.0, 0.0))).key(0))
    keys.add(replace(body, how=replace(body.how, interpolation="bicubic")).key(0))
    keys.add(replace(body, how=replace(body.how, crop=0.875)).key(0))
    keys.add(replace(body, architecture="another").key(0))
    keys.add(replace(body, machine=replace(machine, threads=7)).key(0))
    assert replace(body, ids=["x"], root=tmp_path / "x").key(0) in keys
    with torch.no_grad():
        next(body.network.body.parameters()).mul_(1.000001)
    keys.add(body.key(0))
    assert len(keys) == 9


def test_a_second_run_computes_nothing_and_is_the_same(
    own: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    train(own, tiny(), tmp_path / "first", machine=machine)
    n = len(open_parts(own).train) * 2 + len(open_parts(own).valid)
    assert told(tmp_path / "first") == {"from_cache": 0, "computed": n, "engine": "torch"}
    assert not (tmp_path / "first" / "features").exists()
    shutil.rmtree(own / "images")  # and nothing is decoded
    train(own, tiny(), tmp_path / "second", machine=machine)
    assert told(tmp_path / "second") == {"from_cache": n, "computed": 0, "engine": "torch"}
    assert outcome(tmp_path / "first") == outcome(reference)
    assert outcome(tmp_path / "second") == outcome(reference)


def test_another_split_shares_the_rows_and_changes_no_bit(
    own: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    other = Path(shutil.copytree(own, tmp_path / "other"))
    resplit(other)
    train(other, tiny(), tmp_path / "fresh", machine=machine)  # with no cache of its own
    train(own, tiny(), tmp_path / "first", machine=machine)
    resplit(own)
    train(own, tiny(), tmp_path / "shared", machine=machine)
    assert told(tmp_path / "shared")["from_cache"] > 0
    assert told(tmp_path / "fresh")["from_cache"] == 0
    assert outcome(tmp_path / "shared") == outcome(tmp_path / "fresh")


def test_a_cache_that_cannot_be_written_leaves_them_in_the_run(
    own: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    (own / "cache" / "features").write_text("")
    train(own, tiny(), tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(reference)
    assert not (tmp_path / "run" / "features").exists()  # it is finished


def test_a_body_that_has_moved_does_not_fill_the_shared_cache(
    own: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    stages = [
        {"name": "all", "epochs": 1},
        {"name": "head", "trainable": "head", "epochs": 1, "cached_views": 1},
    ]
    train(own, tiny(stages=stages), tmp_path / "run", machine=machine)
    assert told(tmp_path / "run")["computed"] > 0
    assert not (own / "cache" / "features").exists()


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a child must not go on as a second pytest)
            os._exit(1)
        os._exit(0)
    return child


def test_two_processes_at_once_compute_each_row_once(
    own: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = frozen(own, tiny(), machine, tmp_path / "store")
    rows = np.arange(len(body.ids))
    original = Frozen.embed

    def slow(self: Frozen, pixels: Any, view: int) -> Any:
        time.sleep(0.2)
        return original(self, pixels, view)

    monkeypatch.setattr(Frozen, "embed", slow)

    def work(number: int) -> None:
        found = frozen_features(body, rows[:: 1 - 2 * number], 1, SILENT)
        (tmp_path / f"{number}.txt").write_text(str(found.computed))

    children = [in_child(lambda n=n: work(n)) for n in range(2)]
    assert all(os.waitpid(c, 0)[1] == 0 for c in children)
    counts = sorted(int((tmp_path / f"{n}.txt").read_text()) for n in range(2))
    assert counts == [0, len(set(body.ids))]


def test_kill_9_in_the_middle_loses_no_more_than_a_segment(
    own: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = frozen(own, tiny(), machine, tmp_path / "store")
    rows = np.arange(len(body.ids))
    whole = frozen_features(replace(body, root=tmp_path / "whole"), rows, 1, SILENT)
    monkeypatch.setattr(features_module, "BATCH", 8)
    monkeypatch.setattr("lesionlab.data.feature_store.SEGMENT_ROWS", 16)
    original, left = Frozen.embed, iter(range(100))

    def dying(self: Frozen, pixels: Any, view: int) -> Any:
        if len(pixels) > 1 and next(left) == 3:  # in the second segment
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, pixels, view)

    with monkeypatch.context() as fault:
        fault.setattr(Frozen, "embed", dying)
        child = in_child(lambda: frozen_features(body, rows, 1, SILENT))
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    found = frozen_features(body, rows, 1, SILENT)
    assert found.from_cache == 16
    again = found.take(np.zeros(len(rows), np.int64), rows)
    assert np.allclose(again, whole.take(np.zeros(len(rows), np.int64), rows), atol=1e-6)
    assert not list((tmp_path / "store").rglob(".*.part"))
