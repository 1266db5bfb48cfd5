from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lesionlab.errors import BadInput
from lesionlab.evaluation import calibration, metrics


def logits(n: int = 400, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, k, n)
    z = generator.normal(size=(n, k))
    z[np.arange(n), y_true] += 1.5
    return z, y_true


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_is_the_minimum_of_the_nll_and_follows_the_scale(scale: float) -> None:
    z, y_true = logits()
    offset = np.log([0.4, 0.3, 0.2, 0.1]) - np.log(0.25)

    def loss(log_t: float) -> float:
        return metrics.nll(y_true, calibration.softmax(scale * z / np.exp(log_t) + offset))

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    found = calibration.fit_temperature(scale * z, y_true, offset)
    assert found == pytest.approx(best, rel=1e-4)
    assert found == pytest.approx(scale * calibration.fit_temperature(z, y_true, offset), rel=1e-8)


def test_temperature_stays_in_its_bounds() -> None:
    z = np.array([[9.0, 0.0], [0.0, 9.0]] * 5)
    right = np.array([0, 1] * 5)
    assert calibration.fit_temperature(z, right) == 0.05
    assert calibration.fit_temperature(z, 1 - right) == 20.0


def test_temperature_leaves_out_unlabelled_rows_and_refuses_none_or_nan() -> None:
    z, y_true = logits()
    mixed = np.where(np.arange(len(y_true)) % 2, y_true, -1)
    expected = calibration.fit_temperature(z[1::2], y_true[1::2])
    assert calibration.fit_temperature(z, mixed) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(BadInput, match="no labelled row"):
        calibration.fit_temperature(z, np.full(len(z), -1))
    with pytest.raises(BadInput, match="finite"):
        calibration.fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))


def test_a_class_of_prior_zero_gets_probability_zero_and_does_not_break_the_fit() -> None:
    z, y_true = logits(k=3)
    kept = y_true < 2
    z, y_true = z[kept], y_true[kept]
    offset = calibration.log_prior_ratio([0.7, 0.3, 0.0], [0.5, 0.5, 0.0])
    t = calibration.fit_temperature(z, y_true, offset)
    assert 0.05 < t < 20
    prob = calibration.probabilities(z, t, [0.7, 0.3, 0.0], [0.5, 0.5, 0.0])
    assert (prob[:, 2] == 0).all()
    np.testing.assert_allclose(prob.sum(1), 1)


def test_probabilities_of_an_exact_model_move_to_another_prevalence_by_bayes() -> None:
    # Two Gaussian classes, trained in balance: z = log density.
    x = np.linspace(-3, 4, 50)
    z = np.stack([-(x**2) / 2, -((x - 1) ** 2) / 2], axis=1)
    prob = calibration.probabilities(z, 1.0, [0.9, 0.1], [0.5, 0.5])
    odds = np.exp(z[:, 1] - z[:, 0]) * 0.1 / 0.9
    np.testing.assert_allclose(prob[:, 1], odds / (1 + odds))
    moved = calibration.prior_shift(prob, [0.9, 0.1], [0.98, 0.02])
    np.testing.assert_allclose(moved, calibration.probabilities(z, 1.0, [0.98, 0.02], [0.5, 0.5]))
    np.testing.assert_allclose(calibration.prior_shift(moved, [0.98, 0.02], [0.9, 0.1]), prob)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_keeps_the_dtype_and_survives_large_logits(dtype: type) -> None:
    prob = calibration.softmax(np.array([[1000.0, 0.0], [0.0, -1000.0]], dtype))
    assert prob.dtype == dtype
    assert prob.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    z = np.zeros((2, 2), dtype)
    assert calibration.probabilities(z, 2.0, [0.5, 0.5], [0.5, 0.5]).dtype == dtype


@pytest.mark.parametrize(
    ("prior", "train"),
    [
        ([0.5, 0.5], [1.0, 0.0]),
        ([0.5, np.nan], [0.5, 0.5]),
        ([-0.1, 1.1], [0.5, 0.5]),
        ([1.0], [0.5, 0.5]),
    ],
)
def test_impossible_priors_are_refused(prior: list[float], train: list[float]) -> None:
    with pytest.raises(BadInput):
        calibration.log_prior_ratio(prior, train)


def test_a_shift_that_leaves_a_row_without_probability_is_refused() -> None:
    with pytest.raises(BadInput, match="row 1"):
        calibration.prior_shift(np.array([[0.5, 0.5], [0.0, 1.0]]), [0.5, 0.5], [1.0, 0.0])
