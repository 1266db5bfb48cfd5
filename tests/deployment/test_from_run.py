"""What a bundle takes from a finished run, made by hand: data, network, calibration, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from helpers.datasets import finished_run, lettered_parts, written
from lesionlab.config import Settings, parse
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.deployment import from_run as module
from lesionlab.deployment.export import Exported
from lesionlab.deployment.from_run import (
    export_data,
    network_of,
    open_finished,
    recipe_of,
    stored_metrics,
)
from lesionlab.errors import BadInput
from lesionlab.run_folder import FactsCoding, Run
from lesionlab.training.inference import load_network
from lesionlab.training.setup import Parts

CODING = FactsCoding(columns=("age",), age_mean=44.0, age_sd=2.0)


def settings(**model: Any) -> Settings:
    """A tiny network at 32 px, its head alone trained."""
    named = {"name": "test_efficientnet", "pretrained": False, **model}
    stage = {"name": "head", "trainable": "head", "epochs": 1, "cached_views": 1}
    shown = {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic"}
    values = {"name": "by hand", "model": named, "stages": [stage], "seed": 3}
    return parse(Settings, {**values, "input": {**shown, "crop": 0.9}})


Make = Callable[..., Run]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    about = {"malignant": ("mel",), "licence": "CC0", "modality": "dermoscopy"}
    return lettered_parts(tmp_path / "data", **about)


@pytest.fixture
def run(parts: Parts, tmp_path: Path) -> Run:
    return finished_run(tmp_path / "a run", settings(), parts, weights={"source": "a package"})


def test_a_recipe_says_what_the_run_knows(run: Run) -> None:
    recipe = recipe_of(open_finished(run), (), "too few images")
    assert recipe.name == "a run"
    assert (recipe.classes, recipe.malignant) == (("nv", "mel"), ("mel",))
    assert recipe.settings == run.config.settings.shown
    assert (recipe.temperature, recipe.prior) == (1.5, {"nv": 0.7, "mel": 0.3})
    assert recipe.train_prior == {"nv": 0.5, "mel": 0.5}
    assert (recipe.operating_points, recipe.no_operating_point) == ((), "too few images")
    assert recipe.facts is None
    assert not recipe.leaky
    training = recipe.training
    assert (training.dataset, training.source, training.licence) == ("hand", "by hand", "CC0")
    assert training.images == {"train": 6, "valid": 2, "test": 1}
    assert training.classes == {"nv": 4, "mel": 2}  # of the training part alone
    assert (training.model, training.preset, training.seed) == ("test_efficientnet", "by hand", 3)
    assert training.fingerprint == run.config.dataset.fingerprint
    assert training.weights == {"source": "a package"}
    assert not training.regions


@pytest.mark.parametrize(("last", "regions"), [(8.0, True), (np.nan, False)])
def test_trained_on_regions_means_all_of_them(
    parts: Parts, tmp_path: Path, last: float, regions: bool
) -> None:
    """Of the training part: images of others may lack theirs."""
    table = parts.dataset.table.assign(roi_x=4.0, roi_y=4.0, roi_size=8.0)
    table.loc[5, "roi_size"], table.loc[6, "roi_size"] = last, np.nan
    data = replace(parts.dataset, table=table)
    written(data)
    run = finished_run(tmp_path / "run", settings(), replace(parts, dataset=data))
    assert recipe_of(open_finished(run), ()).training.regions is regions


def test_what_is_leaky_or_synthetic_stays_so(tmp_path: Path) -> None:
    about = {"leaky": True, "leak_reason": "asked for", "synthetic": True}
    parts = lettered_parts(tmp_path / "data", **about)
    recipe = recipe_of(open_finished(finished_run(tmp_path / "run", settings(), parts)), ())
    assert (recipe.leaky, recipe.leak_reason, recipe.synthetic) == (True, "asked for", True)


def test_the_run_s_own_probabilities_come_along_by_image(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Preprocessing] = []
    pixels = object()

    def opened(dataset: Any, how: Preprocessing, progress: Any) -> Any:
        asked.append(how)
        return pixels

    monkeypatch.setattr(module, "open_pixels", opened)
    source = open_finished(run)
    data = export_data(source)
    assert data.pixels is pixels
    assert [(how.size, how.interpolation, how.crop) for how in asked] == [(32, "bicubic", 0.9)]
    assert list(data.reference) == ["g", "h"]  # the validation part
    for row, name in enumerate("gh"):
        np.testing.assert_array_equal(data.reference[name], source.predictions.y_prob[row])


def test_the_network_agrees_with_its_original(parts: Parts, tmp_path: Path) -> None:
    """In ONNX Runtime, with facts of the cases."""
    recipe = settings(metadata=["age"])
    run = finished_run(tmp_path / "run", recipe, parts, facts=CODING)
    network = network_of(run)
    how = Preprocessing(**recipe.shown.model_dump())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    facts = np.array([[0.0, 1.0], [2.0, 0.0], [-1.0, 0.0]], np.float32)
    given = {"images": normalise(pixels, how), "facts": facts}
    session = onnxruntime.InferenceSession(network.data, providers=["CPUExecutionProvider"])
    said = dict(zip(network.outputs, session.run(None, given), strict=True))
    np.testing.assert_allclose(said["logits"], network.original(*given.values()), atol=1e-3)
    assert said["embedding"].shape == (3, network.width)
    assert np.abs(np.diff(said["logits"], axis=0)).max() > 0.1


def test_a_network_of_images_alone_is_exported_without_facts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def exported(*given: Any) -> Exported:
        asked.append(given)
        return Exported(b"onnx", ("logits", "embedding"), 7, (0.5, 0.0))

    monkeypatch.setattr(module, "to_onnx", exported)
    network = network_of(run)
    ((model, how, width),) = asked
    assert (how.size, how.interpolation, width) == (32, "bicubic", 0)
    assert (network.data, network.width, network.cam_offset) == (b"onnx", 7, (0.5, 0.0))
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        wanted = load_network(run)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(network.original(images), wanted, atol=1e-4)
    assert not model.training


def test_only_metrics_that_were_measured_are_given(run: Run) -> None:
    assert stored_metrics(run) == {}
    for split in ("valid", "train"):
        run.metrics_path(split).write_text(json.dumps({"split": split}))
    assert stored_metrics(run) == {"valid": {"split": "valid"}}
    run.metrics_path("test").write_text("{}")
    assert list(stored_metrics(run)) == ["test", "valid"]


def test_a_run_that_is_not_finished_or_whose_data_changed(run: Run, parts: Parts) -> None:
    kept = run.predictions_path("valid").read_bytes()
    run.predictions_path("valid").unlink()
    with pytest.raises(BadInput, match="the run is not finished"):
        open_finished(run)
    run.predictions_path("valid").write_bytes(kept)
    moved = parts.dataset.folder.rename(parts.dataset.folder.with_name("moved"))
    with pytest.raises(BadInput, match="was not found; give it with --data"):
        open_finished(run)
    assert open_finished(run, moved).dataset.folder == moved
    written(replace(parts.dataset, folder=moved, table=parts.dataset.table.iloc[1:]))
    with pytest.raises(BadInput, match="has changed since the run began: 1 image gone"):
        open_finished(run, moved)
