from __future__ import annotations

import json

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.calibration import softmax
from lesionlab.evaluation.conformal import fit_conformal, prediction_sets
from lesionlab.evaluation.operating_point import apply_operating_point, choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.recalibration import (
    CALIBRATORS,
    calibrator_from_json,
    fit_calibrator,
    recalibrated,
)


def overconfident(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(n, 3)) * 1.5
    honest = softmax(z)
    y_true = (honest.cumsum(1) < generator.random(n)[:, None]).sum(1)
    return softmax(3 * z), y_true


@pytest.mark.parametrize("method", CALIBRATORS)
def test_each_method_mends_overconfidence_on_new_data_and_round_trips(method: str) -> None:
    y_prob, y_true = overconfident()
    new_prob, new_true = overconfident(seed=1)
    fitted = fit_calibrator(method, y_prob, y_true)
    mended = fitted.apply(new_prob)
    np.testing.assert_allclose(mended.sum(1), 1)
    honest = metrics.nll(new_true, softmax(np.log(new_prob) / 3))
    assert metrics.nll(new_true, mended) < honest + 0.03
    assert metrics.nll(new_true, new_prob) > honest + 0.1
    again = calibrator_from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(again.apply(new_prob), mended)


def test_temperature_is_recovered() -> None:
    fitted = fit_calibrator("temperature", *overconfident())
    assert fitted.to_json()["temperature"] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_zero_and_one_survive(method: str) -> None:
    y_prob, y_true = overconfident(200)
    fitted = fit_calibrator(method, y_prob, y_true)
    assert np.isfinite(fitted.apply(np.array([[1.0, 0.0, 0.0]]))).all()


def drawn(
    generator: np.random.Generator, n: int, k: int, distance: float, name: str
) -> Predictions:
    """Independent cases of `k` equally frequent classes, with sharpened posteriors."""
    y = generator.integers(0, k, n)
    d = distance / np.sqrt(2)
    z = d * generator.normal(size=(n, k)) + d**2 * np.eye(k)[y]
    ids, none = np.array([f"{name}{i}" for i in range(n)], object), np.array([""] * n, object)
    return Predictions(ids, none, none, tuple("abcdefg"[:k]), y, softmax(2 * z))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["isotonic", "dirichlet"])
def test_sets_cover_each_class_although_the_map_was_fitted_on_the_same_table(method: str) -> None:
    """Seven classes of about 50; on the rows of the map the mean coverage is 0.87."""
    generator = np.random.default_rng(0)
    new, covered = drawn(generator, 4000, 7, 3.0, "new"), []
    for _ in range(40):
        found = recalibrated(new, drawn(generator, 350, 7, 3.0, "old"), method, "calib")
        rule = fit_conformal(found.choosing, calibrated_on="calib", rare="include")
        sets = prediction_sets(rule, found.measured.y_prob)[np.arange(4000), new.y_true]
        covered.append([sets[new.y_true == k].mean() for k in range(7)])
    assert np.mean(covered) > 0.895
    assert np.mean(covered, axis=0).min() > 0.88


@pytest.mark.slow
def test_the_sensitivity_bound_is_kept_although_the_map_was_fitted_on_the_same_table() -> None:
    """240 cases of three classes; on the rows of the map it is kept in 90 % of 500 studies."""
    generator = np.random.default_rng(1)
    new, kept = drawn(generator, 10_000, 3, 2.0, "new"), []
    for _ in range(200):
        found = recalibrated(new, drawn(generator, 240, 3, 2.0, "old"), "isotonic", "calib")
        try:
            point = choose_operating_point(found.choosing, score="a", chosen_on="calib", target=0.9)
        except BadInput:  # reached only by calling everyone positive: no point is better
            continue
        called = apply_operating_point(point, found.measured.y_prob, new.classes)
        kept.append(called[new.y_true == 0].mean() >= 0.9)
    assert len(kept) > 150
    assert np.mean(kept) >= 0.95


def test_refusals() -> None:
    y_prob, y_true = overconfident(100)
    with pytest.raises(BadInput, match="did you mean 'isotonic'"):
        fit_calibrator("isotonik", y_prob, y_true)
    with pytest.raises(BadInput, match="does not occur"):
        fit_calibrator("platt", y_prob, np.minimum(y_true, 1))
    with pytest.raises(BadInput, match="not a calibration"):
        calibrator_from_json({"method": "magic"})
