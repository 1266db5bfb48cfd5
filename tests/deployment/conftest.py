"""A tiny bundle, made without torch: three colours of picture, a network of one convolution."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from starlette.testclient import TestClient

from helpers.serving import client, encoded
from lesionlab.config import InputSettings
from lesionlab.data.cache import open_pixels
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo, read_dataset, write_dataset
from lesionlab.deployment.bundle import Bundle
from lesionlab.deployment.publish import ExportData, Network, Recipe, export_bundle
from lesionlab.deployment.schema import Training
from lesionlab.deployment.server import AppState
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.files import sha256_file
from lesionlab.reporting.card import model_card

CLASSES = ("mel", "nv", "=vasc")
COLOURS = {"mel": (60, 30, 30), "nv": (200, 160, 140), "=vasc": (180, 40, 90)}
SIZE = 16
INPUT = InputSettings(size=SIZE)
HOW = Preprocessing(**INPUT.model_dump())
D = 6


@dataclass(frozen=True)
class Weights:
    """A 1 x 1 convolution (D, 3), ReLU, average, linear (K, D)."""

    conv: npt.NDArray[np.float32]
    head: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        features = np.maximum(np.einsum("dc,nchw->ndhw", self.conv, images), 0)
        return np.asarray(features.mean((2, 3)) @ self.head.T + self.bias, np.float32)


def tiny_weights() -> Weights:
    rng = np.random.default_rng(0)
    conv = rng.normal(size=(D, 3)).astype(np.float32)
    head = rng.normal(size=(len(CLASSES), D)).astype(np.float32)
    return Weights(conv, head, np.array([0.1, 0.2, -0.3], np.float32))


def tiny_model(weights: Weights) -> onnx.ModelProto:
    """The same network as ONNX, with the three outputs of a bundle."""
    k = len(CLASSES)
    tensors = {
        "conv": weights.conv[:, :, None, None],
        "head": weights.head,
        "head_map": weights.head[:, :, None, None],
        "bias": weights.bias,
    }
    nodes = [
        helper.make_node("Conv", ["images", "conv"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["average"]),
        helper.make_node("Flatten", ["average"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "head", "bias"], ["logits"], transB=1),
        helper.make_node("Conv", ["features", "head_map"], ["cam"]),
    ]
    shapes: dict[str, list[Any]] = {
        "logits": ["batch", k],
        "embedding": ["batch", D],
        "cam": ["batch", k, SIZE, SIZE],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def tiny_network(weights: Weights) -> Network:
    data = tiny_model(weights).SerializeToString()
    return Network(data, ("logits", "embedding", "cam"), D, weights.logits)


def picture(label: str, rng: np.random.Generator, side: int = 24) -> Image.Image:
    noise = rng.normal(0, 20, (side, side, 3)) + np.array(COLOURS[label])
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def write_tiny_dataset(folder: Path, per_class: int = 40) -> Dataset:
    """Pictures of three colours, a third of them for validation."""
    rng, rows = np.random.default_rng(1), []
    (folder / "images").mkdir(parents=True)
    for label in CLASSES:
        for n in range(per_class):
            name = f"{label.strip('=')}{n}"
            picture(label, rng).save(folder / "images" / f"{name}.png")
            split = "valid" if n % 3 == 0 else "train"
            rows.append(
                {"image_id": name, "path": f"images/{name}.png", "label": label, "split": split}
                | {"sha256": sha256_file(folder / "images" / f"{name}.png")}
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).fillna("")
    info = DatasetInfo(name="tiny", source="test", classes=CLASSES, malignant=("mel",))
    write_dataset(Dataset(folder, table, info))
    return read_dataset(folder)


def tiny_recipe(**changes: Any) -> Recipe:
    point = OperatingPoint(
        policy="sensitivity",
        target=0.9,
        threshold=0.3,
        score=("mel",),
        chosen_on="valid",
        prior=None,
        positive_groups=10,
        negative_groups=20,
        sensitivity=Measure(value=0.9, low=0.6, high=1.0, n=10, method="test"),
        specificity=Measure(value=0.8, low=0.5, high=0.9, n=20, method="test"),
    )
    recipe = Recipe(
        name="tiny",
        settings=INPUT,
        classes=CLASSES,
        malignant=("mel",),
        temperature=1.5,
        prior={"mel": 0.2, "nv": 0.7, "=vasc": 0.1},
        train_prior=dict.fromkeys(CLASSES, 1 / 3),
        training=Training(
            dataset="tiny",
            source="test",
            licence="CC0",
            images={"train": 78, "valid": 42},
            classes=dict.fromkeys(CLASSES, 26),
            regions=False,
            model="one convolution",
            preset="none",
            seed=0,
            fingerprint="0" * 64,
        ),
        operating_points=(point,),
    )
    return replace(recipe, **changes)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def make_bundle(tiny_dataset: Dataset) -> Callable[..., Bundle]:
    """`make_bundle(to, network=..., **recipe)`: export the tiny network."""
    pixels = open_pixels(tiny_dataset, HOW)

    def make(to: Path, network: Network | None = None, **recipe: Any) -> Bundle:
        network = network or tiny_network(tiny_weights())
        return export_bundle(
            tiny_recipe(**recipe), network, ExportData(tiny_dataset, pixels), to, model_card
        )

    return make


@pytest.fixture(scope="session")
def bundle_folder(make_bundle: Callable[..., Bundle], tmp_path_factory: Any) -> Path:
    """A bundle as a folder; copy it before changing it."""
    folder = Path(tmp_path_factory.mktemp("bundles")) / "tiny"
    make_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The functions of this file, for tests (test files import no other test file)."""
    return sys.modules[__name__]


@pytest.fixture(scope="module")
def served(bundle_folder: Path) -> Iterator[tuple[TestClient, AppState]]:
    app, state = build([bundle_folder], ServeSettings(workers=2, queue=6, max_body_mb=1))
    with client(app) as talking:
        yield talking, state


@pytest.fixture
def web(served: tuple[TestClient, AppState]) -> TestClient:
    return served[0]


@pytest.fixture
def good(tiny: Any) -> bytes:
    return encoded(tiny.picture("mel", np.random.default_rng(3), 40))
