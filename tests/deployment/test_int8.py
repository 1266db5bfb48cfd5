"""int8 is published with its cost, or refused with the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab.data.cache import open_pixels
from lesionlab.deployment import int8
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.int8 import Cost, cost, quantise, refuse_costly
from lesionlab.deployment.onnx_check import check_onnx
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.publish import ExportData, export_bundle
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.card import model_card


def predictions(n: int = 300) -> Predictions:
    rng = np.random.default_rng(0)
    y = (np.arange(n) % 2).astype(np.int64)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * y - 1)))
    ids = np.array([f"i{k}" for k in range(n)], dtype=object)
    empty = np.full(n, "", dtype=object)
    return Predictions(ids, empty, empty, ("ben", "mal"), y, np.stack([1 - p, p], 1))


def test_no_change_costs_nothing() -> None:
    before = predictions()
    found = cost(before, before.y_prob, ("mal",))
    assert found.upper == 0
    assert found.positives == 150
    refuse_costly(found)


def test_noise_costs_something() -> None:
    before = predictions()
    noise = np.random.default_rng(1).uniform(-0.4, 0.4, len(before))
    p = (before.y_prob[:, 1] + noise).clip(0, 1)
    found = cost(before, np.stack([1 - p, p], 1), ("mal",))
    assert 0 < found.auc_float32 - found.auc_int8 < found.upper
    with pytest.raises(BadInput, match=r"costs too much .* AUC 0\.9\d+ in float32"):
        refuse_costly(found)


def test_too_few_positives() -> None:
    with pytest.raises(BadInput, match=r"int8 needs 100 positive .* 99 positives"):
        refuse_costly(Cost(99, 0.9, 0.9, 0.0, 0.0))


def test_no_malignant_class() -> None:
    before = predictions()
    with pytest.raises(BadInput, match="malignant against benign"):
        cost(before, before.y_prob, ())


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantised_models_are_standard_and_near(tiny: Any, per_channel: bool) -> None:
    network = tiny.tiny_network(tiny.tiny_weights())
    images = np.random.default_rng(0).normal(size=(32, 3, 16, 16)).astype(np.float32)

    def batches() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        return ({"images": batch} for batch in np.split(images, 4))

    small = quantise(network.data, batches, per_channel)
    check_onnx(small, "int8")
    import onnxruntime

    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"images": images})[0]
    wanted = network.original(images)
    assert 0 < np.abs(logits - wanted).max() < 0.1 * np.abs(wanted).max()


def test_a_bundle_in_int8(
    tiny: Any, tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few positives it is refused and nothing is written; else it says what it costs."""
    pixels = open_pixels(tiny_dataset, tiny.HOW)
    network = tiny.tiny_network(tiny.tiny_weights())

    def export() -> Any:
        recipe, to = tiny.tiny_recipe(), tmp_path / "b"
        return export_bundle(
            recipe, network, ExportData(tiny_dataset, pixels), to, model_card, with_int8=True
        )

    with pytest.raises(BadInput, match="int8 needs 100 positive"):
        export()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(int8, "MIN_POSITIVES", 5)
    info = export().info
    assert info.precision == "int8"
    assert info.int8 is not None
    assert info.int8["upper"] <= 0.01
    assert info.operating_points[0].policy == "sensitivity"
    assert "int8, per" in (tmp_path / "b" / "MODEL_CARD.md").read_text()
    Predictor(read_bundle(tmp_path / "b")).self_test()
