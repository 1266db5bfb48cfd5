"""What is measured of a model before it is published, on rows and numbers made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.datasets import dataset, row
from lesionlab.array_types import Rows
from lesionlab.data.images import normalise
from lesionlab.deployment import int8, measure
from lesionlab.deployment.bundle import Bundle, read_bundle
from lesionlab.deployment.measure import (
    BATCH,
    TOLERANCE,
    Images,
    calibrate_sets,
    check_parity,
    distance_to_run,
    fit_distances,
    to_int8,
)
from lesionlab.deployment.ood import detector_of
from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.errors import BadInput
from lesionlab.evaluation.conformal import prediction_sets
from lesionlab.evaluation.predictions import Predictions
from lesionlab.progress import SILENT
from lesionlab.run_folder import FactsCoding

N = 60
SEXES = ("male", "female", "")


@dataclass(frozen=True)
class Made:
    """Pixels of row k, made when they are asked for; their first value is k."""

    def __len__(self) -> int:
        return N

    def take(self, rows: Rows) -> Any:
        made = [np.random.default_rng(k).integers(0, 256, (16, 16, 3)) for k in rows]
        pixels = np.stack(made).astype(np.uint8)
        pixels[:, 0, 0, 0] = rows
        return pixels


@pytest.fixture
def images(tmp_path: Path, tiny: Any) -> Images:
    """60 rows of three classes: 20 for validation, 40 for training."""
    rows = [
        row(f"i{k}", "valid" if k % 3 == 1 else "train", tiny.CLASSES[k // 2 % 3], sex=SEXES[k % 3])
        for k in range(N)
    ]
    data = dataset(tmp_path, *rows, classes=tiny.CLASSES, malignant=("mel",))
    return Images(data, Made(), SILENT)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return read_bundle(bundle_folder)


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle, 1)


def test_a_sample_is_of_its_part_without_repeats_and_always_the_same(images: Images) -> None:
    valid = set(range(1, N, 3))
    assert set(images.sample("valid", 100).tolist()) == valid
    some = images.sample("valid", 7)
    assert len(set(some.tolist())) == 7
    assert set(some.tolist()) < valid
    assert some.tolist() == images.sample("valid", 100)[:7].tolist() != sorted(some.tolist())


def test_a_part_that_is_not_there(images: Images) -> None:
    with pytest.raises(BadInput, match="no images in split 'calib'"):
        images.sample("calib", 7)
    unsplit = replace(images.dataset, table=images.dataset.table.assign(split=""))
    with pytest.raises(BadInput, match="the data set has not been split"):
        replace(images, dataset=unsplit).sample("valid", 7)


def test_batches_are_the_rows_in_order_with_their_facts(images: Images) -> None:
    rows = np.random.default_rng(0).permutation(N)[: 2 * BATCH + 3]
    plain = list(images.batches(rows, "test"))
    assert [len(pixels) for pixels, _ in plain] == [BATCH, BATCH, 3]
    assert [facts for _, facts in plain] == [None] * 3
    assert np.concatenate([p[:, 0, 0, 0] for p, _ in plain]).tolist() == rows.tolist()
    coded = list(replace(images, facts=FactsCoding(columns=("sex",))).batches(rows, "test"))
    codes = np.concatenate([np.asarray(f) for _, f in coded])
    of_sex = {SEXES[k % 3]: codes[n].tolist() for n, k in enumerate(rows)}
    assert len({tuple(code) for code in of_sex.values()}) == 3
    for n, k in enumerate(rows):  # no row has another's facts
        assert codes[n].tolist() == of_sex[SEXES[k % 3]]


def test_outputs_are_those_of_each_row(images: Images, predictor: Predictor) -> None:
    rows = images.sample("train", 2 * BATCH + 3)
    found = images.outputs(predictor, rows, "test")
    whole = predictor.predict(Made().take(rows))
    for name in ("logits", "prob", "embedding"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-5)
    assert found.cam is None


def test_predictions_have_the_labels_of_their_rows(images: Images, tiny: Any) -> None:
    rows = np.array([5, 0, 3])
    prob = np.full((3, 3), 1 / 3, np.float32)
    found = images.predictions(rows, prob)
    assert found.image_id.tolist() == ["i5", "i0", "i3"]
    assert found.y_true.tolist() == [2, 0, 1]
    assert (found.classes, found.y_prob.dtype) == (tiny.CLASSES, np.dtype(np.float64))


def parity_with(
    images: Images, predictor: Predictor, tiny: Any, change: Callable[[Any], Any]
) -> Any:
    """Parity with an original whose logits are changed."""
    rows = images.sample("valid", 20)
    prob = predictor.predict(Made().take(rows)).prob
    weights = tiny.tiny_weights()
    return check_parity(images, predictor, lambda x: change(weights.logits(x)), rows, prob)


def test_parity_is_the_largest_and_the_mean_difference(
    images: Images, predictor: Predictor, tiny: Any
) -> None:
    shift = np.array([2e-4, 0, 0], np.float32)
    found = parity_with(images, predictor, tiny, lambda logits: logits + shift)
    rows = images.sample("valid", 20)
    logits = tiny.tiny_weights().logits(normalise(Made().take(rows), predictor.how))
    moved, plain = (predictor.probabilities(z) for z in (logits + shift, logits))
    difference = np.abs(moved - plain)
    assert (found.images, found.part, found.tolerance) == (20, "valid", TOLERANCE)
    assert found.max_probability_difference == pytest.approx(difference.max(), abs=1e-6)
    assert found.mean_probability_difference == pytest.approx(difference.mean(), abs=1e-6)
    assert 0 < found.mean_probability_difference < found.max_probability_difference < TOLERANCE


@pytest.mark.parametrize("value", [0.1, np.nan])
def test_one_image_that_differs_is_enough_to_refuse(
    images: Images, predictor: Predictor, tiny: Any, value: float
) -> None:
    def change(logits: Any) -> Any:
        logits[-1, 0] += value
        return logits

    with pytest.raises(BadInput, match=r"on 20 validation images .*nothing was written"):
        parity_with(images, predictor, tiny, change)


def test_the_distance_to_the_run_is_over_the_images_that_both_have(images: Images) -> None:
    prob = np.array([[0.5, 0.5, 0], [0.25, 0.25, 0.5]], np.float32)
    rows = np.array([4, 2])
    reference = {"i4": np.array([0.5, 0.375, 0.125]), "i9": np.array([1.0, 0, 0])}
    assert distance_to_run(images, rows, prob, reference) == 0.125
    reference["i2"] = np.array([0.5, 0.5, 0])
    assert distance_to_run(images, rows, prob, reference) == 0.5
    assert distance_to_run(images, rows, prob, {}) is None


def test_sets_hold_the_truth_where_they_were_calibrated() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [100, 100, 3])
    z = rng.normal(size=(203, 3)) + 2 * np.eye(3)[y]
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"i{k}" for k in range(203)], dtype=object)
    empty = np.full(203, "", dtype=object)
    rule = calibrate_sets(Predictions(ids, empty, empty, ("a", "b", "c"), y, prob), "calib")
    assert (rule.name, rule.calibrated_on, rule.groups) == ("90 %", "calib", (100, 100, 3))
    inside = prediction_sets(rule, prob)
    assert inside[y == 0, 0].mean() >= 0.9
    assert not inside[:, :2].all()
    assert inside[:, 2].all()  # three images calibrate nothing: it is in every set
    with pytest.raises(BadInput, match="test"):
        calibrate_sets(Predictions(ids, empty, empty, ("a", "b", "c"), y, prob), "test")


def test_distances_are_fitted_on_training_and_their_thresholds_on_the_part(images: Images) -> None:
    rng = np.random.default_rng(0)
    train = images.sample("train", 40)
    bank = rng.normal(size=(40, 6)).astype(np.float32)
    held_out = rng.normal(size=(200, 6)).astype(np.float32)
    arrays, statistics = fit_distances(images, train, bank, held_out, "valid")
    labels = images.dataset.label_indices(images.dataset.table)[train]
    assert arrays["bank_labels.npy"].tolist() == labels.tolist()
    assert {name: a.dtype.name for name, a in arrays.items()} == {
        "bank.npy": "float16",
        "bank_labels.npy": "int16",
        "ood_mean.npy": "float32",
        "ood_basis.npy": "float32",
    }
    np.testing.assert_allclose(arrays["ood_mean.npy"], bank.mean(0), atol=1e-6)
    assert (statistics.fitted_on, statistics.n) == ("valid", 200)
    far = detector_of(arrays, statistics).mahalanobis(held_out) / statistics.mahalanobis_threshold
    assert 0 < (far > 1).mean() <= 0.01
    assert 0 < statistics.expected_rate <= 0.02


@pytest.mark.parametrize("better", [True, False])
def test_int8_takes_the_better_of_both_quantisations(
    images: Images, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    """`better`: per channel. Temperature and thresholds are fitted anew on its own outputs."""
    valid, train = images.sample("valid", 20), images.sample("train", 40)
    before = images.outputs(Predictor(bundle), valid, "test")
    fed: list[int] = []

    def quantise(model: bytes, calibration: Any, per_channel: bool) -> bytes:
        fed.append(sum(len(given["images"]) for given in calibration()))
        return model

    aucs = iter([0.9, 0.8] if better else [0.8, 0.9])

    def cost(*_: Any) -> int8.Cost:
        return int8.Cost(200, 0.91, next(aucs), 0.0, 0.005)

    monkeypatch.setattr(measure.int8, "quantise", quantise)
    monkeypatch.setattr(measure.int8, "cost", cost)
    small, outputs = to_int8(images, bundle, train, valid, before)
    assert fed == [min(40, int8.CALIBRATION_IMAGES)] * 2
    info = small.info
    assert info.precision == "int8"
    assert info.int8 is not None
    assert (info.int8["per_channel"], info.int8["auc_int8"]) == (better, 0.9)
    assert info.temperature != bundle.info.temperature
    np.testing.assert_allclose(outputs.prob, Predictor(small).probabilities(outputs.logits))
    (point,), (asked,) = info.operating_points, bundle.info.operating_points
    assert (point.policy, point.target, point.score) == (asked.policy, asked.target, asked.score)
    positive = images.predictions(valid, outputs.prob).y_true == 0
    found = (outputs.prob[positive, 0] >= point.threshold).mean()
    assert found >= 0.9
    assert point.sensitivity.value == pytest.approx(found)


def test_int8_that_costs_too_much_is_refused(
    images: Images, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure.int8, "quantise", lambda model, *_: model)
    monkeypatch.setattr(measure.int8, "cost", lambda *_: int8.Cost(200, 0.9, 0.85, 0.05, 0.07))
    rows = images.sample("valid", 20)
    empty = np.zeros((20, 3), np.float32)
    with pytest.raises(BadInput, match="costs too much"):
        to_int8(images, bundle, rows, rows, Outputs(empty, empty, empty))
