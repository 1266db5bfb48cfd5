"""A frozen body through ONNX Runtime: the same features, whatever the company."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lesionlab.config import Settings
from lesionlab.data.feature_store import row_ids
from lesionlab.models.classifier import Classifier, build
from lesionlab.progress import SILENT
from lesionlab.training import features, onnx_backbone
from lesionlab.training.device import Machine
from lesionlab.training.features import Frozen, frozen_features
from lesionlab.training.onnx_backbone import compile_body
from lesionlab.training.setup import open_parts, preprocessing, stage_pixels
from lesionlab.training.train import train

Recipe = Callable[..., Settings]
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def network(tiny: Recipe) -> Classifier:
    torch.manual_seed(0)
    settings = tiny()
    found = build(settings.model, settings.shown, 2).eval()
    return found.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def test_its_features_are_torchs_and_a_row_is_the_same_bits_in_any_company(
    network: Classifier,
) -> None:
    embed = compile_body(network, SHAPE, 1)
    assert embed is not None
    images = torch.rand(9, *SHAPE)
    whole = embed(images)
    with torch.inference_mode():
        np.testing.assert_allclose(whole, network.embed(images).numpy(), atol=1e-5, rtol=1e-4)
    assert (embed(images.flip(0))[::-1] == whole).all()
    assert (embed(images[3:4]) == whole[3:4]).all()
    assert (embed(images.to(memory_format=torch.channels_last)) == whole).all()


def test_a_body_that_computes_otherwise_is_left_to_torch(
    network: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_backbone, "TOLERANCE", -1.0)
    assert compile_body(network, SHAPE, 1) is None
    monkeypatch.setattr(onnx_backbone, "_session", lambda *_: 1 / 0)
    assert compile_body(network, SHAPE, 1) is None


def test_a_large_data_set_takes_it_and_keeps_its_own_features(
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts, settings = open_parts(data), tiny()
    how = preprocessing(settings)
    torch.manual_seed(0)
    body = build(settings.model, settings.shown, 2).eval()
    pixels = stage_pixels(parts, settings, how.size, SILENT)
    ids = row_ids(parts.dataset.table)

    def made() -> Frozen:
        return Frozen(body, "test_efficientnet", how, machine, lambda: pixels, ids, tmp_path)

    rows = np.arange(6)
    eager = made()
    assert eager.engine == "torch"
    slow, key = frozen_features(eager, rows, 2, SILENT), eager.key(0)
    monkeypatch.setattr(features, "WORTH_COMPILING", 1)
    compiled = made()
    assert compiled.engine.startswith("onnxruntime ")
    assert compiled.key(0) != key
    fast = frozen_features(compiled, rows, 2, SILENT)
    assert (fast.computed, compiled.compiled is not None) == (12, True)
    again = frozen_features(made(), rows, 2, SILENT)
    assert again.computed == 0
    for view in (0, 1):
        of = np.full(6, view)
        np.testing.assert_allclose(fast.take(of, rows), slow.take(of, rows), atol=1e-5, rtol=1e-4)
        assert (again.take(of, rows) == fast.take(of, rows)).all()


@pytest.mark.slow
def test_a_run_says_what_did_compute_and_not_what_was_wanted(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(data, tmp_path / "data"))
    shutil.rmtree(other / "cache" / "features", ignore_errors=True)
    monkeypatch.setattr(features, "WORTH_COMPILING", 1)
    monkeypatch.setattr(onnx_backbone, "TOLERANCE", -1.0)
    told = []
    for name in ("first", "second"):
        train(other, tiny(), tmp_path / name, machine=machine)
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        told.append(summary["frozen_features"]["head"])
    assert told[0]["engine"] == "torch"
    assert told[1] == {"from_cache": told[0]["computed"], "computed": 0}
