"""One bundle of weights that want bicubic pixels, a central crop and mean 0.5: one answer.

The reference is timm's own transform and the torch network, so nothing of ours is on that way.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor, nn

from helpers.browser_code import ANSWER, PREPARE, node
from helpers.serving import client, encoded, post
from lesionlab.api.predict import predict
from lesionlab.config import InputSettings
from lesionlab.data.cache import open_pixels
from lesionlab.data.images import Preprocessing, prepare
from lesionlab.data.manifest import Dataset
from lesionlab.deployment.bundle import INFO, Bundle, read_bundle
from lesionlab.deployment.export import to_onnx, torch_logits
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.publish import ExportData, Network, export_bundle
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.models.classifier import Classifier
from lesionlab.reporting.card import model_card

HALF = (0.5, 0.5, 0.5)
INPUT = InputSettings(size=16, interpolation="bicubic", crop=0.875, mean=HALF, std=HALF)


class Body(nn.Module):
    """(N, 3, 16, 16) -> (N, 6, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)

    def forward_features(self, images: Tensor) -> Tensor:
        return torch.relu(self.conv(images))


class Average(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Body(), Average(), nn.Sequential(nn.Linear(6, 3)), "linear").eval()


@pytest.fixture(scope="module")
def bundle(network: Classifier, tiny: Any, tiny_dataset: Dataset, tmp_path_factory: Any) -> Bundle:
    how = Preprocessing(**INPUT.model_dump())
    exported = to_onnx(network, how)

    def original(images: Any) -> Any:
        return torch_logits(network, images)

    ready = Network(exported.data, exported.outputs, exported.width, original)
    to = Path(tmp_path_factory.mktemp("parity")) / "bicubic"
    pixels = open_pixels(tiny_dataset, how)
    return export_bundle(
        tiny.tiny_recipe(settings=INPUT), ready, ExportData(tiny_dataset, pixels), to, model_card
    )


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Square, as timm's transform wants it, and rough, so that the filters differ."""
    noise = np.random.default_rng(4).integers(0, 256, (41, 41, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def wanted(network: Classifier, image: Image.Image) -> Any:
    transform = create_transform(
        (3, 16, 16), interpolation="bicubic", crop_pct=0.875, mean=HALF, std=HALF
    )
    return torch_logits(network, np.asarray(transform(image))[None])[0]


def test_predict_gives_the_answer_of_the_torch_network(
    bundle: Bundle, image: Image.Image, wanted: Any, tmp_path: Path
) -> None:
    image.save(tmp_path / "a.png")
    said = predict(bundle.source, tmp_path / "a.png")["predictions"][0]
    assert list(said["logits"].values()) == pytest.approx(wanted.tolist(), abs=1e-5)


def test_the_server_gives_it_and_says_how_it_looks(
    bundle: Bundle, image: Image.Image, wanted: Any
) -> None:
    app, _ = build([bundle.source], ServeSettings(workers=1))
    with client(app) as web:
        said = post(web, encoded(image)).json()["predictions"][0]
        (model,) = web.get("/v1/models").json()["models"]
    assert list(said["logits"].values()) == pytest.approx(wanted.tolist(), abs=1e-5)
    assert model["preprocessing"] == INPUT.model_dump(mode="json")


def test_the_browser_gives_it(
    bundle: Bundle, image: Image.Image, wanted: Any, tmp_path: Path
) -> None:
    """Its own pixels and words; between them ONNX Runtime, which a page has as WebAssembly."""
    image.save(tmp_path / "a.png")
    told = predict(bundle.source, tmp_path / "a.png")["predictions"][0]
    rgba = np.asarray(image.convert("RGBA"))
    picture = {"width": 41, "height": 41, "rgba": rgba.ravel().tolist()}
    info = json.loads((bundle.source / INFO).read_text())
    given = {"image": picture, "orientation": 1, "how": info["preprocessing"]}
    floats = np.array(node(PREPARE, given)["floats"], np.float32)
    outputs = Predictor(bundle).predict_normalised(floats.reshape(1, 3, 16, 16))
    np.testing.assert_allclose(outputs.logits[0], wanted, atol=1e-5)
    row = {"logits": outputs.logits[0].tolist(), "embedding": outputs.embedding[0].tolist()}
    given = {"folder": str(bundle.source), "info": info, "rows": [row], "abstain": "none"}
    (said,) = node(ANSWER, given)
    assert said["probabilities"] == pytest.approx(told["probabilities"], abs=1e-6)


def test_another_filter_or_crop_is_another_answer(bundle: Bundle, image: Image.Image) -> None:
    """Else the tests above would hold for any pixels."""
    predictor, seen = Predictor(bundle), bundle.preprocessing
    for other in (Preprocessing(16, mean=HALF, std=HALF, crop=0.875),
                  Preprocessing(16, mean=HALF, std=HALF, interpolation="bicubic")):  # fmt: skip
        both = [predictor.predict(prepare(image, how)[None]).logits[0] for how in (seen, other)]
        assert np.abs(both[0] - both[1]).max() > 1e-3


def test_the_card_says_what_the_network_sees(bundle: Bundle, bundle_folder: Path) -> None:
    assert "16 x 16 x 3, squash, bicubic, the centre of 18 x 18 (crop 0.875)" in bundle.card
    assert "16 x 16 x 3, squash, bilinear; outputs" in read_bundle(bundle_folder).card


def test_a_bundle_of_0_1_0_is_bilinear_and_whole(bundle_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle_folder, tmp_path / "old")
    info = json.loads((folder / INFO).read_text())
    del info["preprocessing"]["interpolation"], info["preprocessing"]["crop"]
    assert sorted(info["preprocessing"]) == ["channels", "fit", "mean", "size", "std"]
    (folder / INFO).write_text(json.dumps(info))
    assert read_bundle(folder).preprocessing == read_bundle(bundle_folder).preprocessing
    assert read_bundle(folder).preprocessing == Preprocessing(16)
