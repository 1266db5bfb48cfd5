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


def by_hand(
    z: np.ndarray, y_true: np.ndarray, offset: np.ndarray | float = 0.0, prior: float = 3.0
) -> float:
    """The minimum of n NLL + prior (1/T - 1 - log 1/T), found without a derivative."""

    def loss(log_t: float) -> float:
        nll = metrics.nll(y_true, calibration.softmax(z / np.exp(log_t) + offset))
        return float(len(y_true) * nll + prior * (np.exp(-log_t) - 1 + log_t))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_is_the_most_probable_and_its_likelihood_follows_the_scale(
    scale: float,
) -> None:
    z, y_true = logits()
    offset = np.log([0.4, 0.3, 0.2, 0.1]) - np.log(0.25)
    found = calibration.fit_temperature(scale * z, y_true, offset)
    assert found.temperature == pytest.approx(by_hand(scale * z, y_true, offset), rel=1e-4)
    assert found.likeliest == pytest.approx(by_hand(scale * z, y_true, offset, 0.0), rel=1e-4)
    one = calibration.fit_temperature(z, y_true, offset)
    assert found.likeliest == pytest.approx(scale * one.likeliest, rel=1e-8)
    assert found.notes == ()


def test_of_many_rows_the_temperature_is_the_likeliest() -> None:
    z, y_true = logits(50)
    few = calibration.fit_temperature(4 * z, y_true)
    many = calibration.fit_temperature(np.tile(4 * z, (400, 1)), np.tile(y_true, 400))
    assert many.likeliest == pytest.approx(few.likeliest, rel=1e-9)
    assert many.temperature == pytest.approx(many.likeliest, rel=1e-3)
    assert 1 < few.temperature < 0.99 * few.likeliest  # a few are drawn towards 1


def test_labels_that_are_all_right_ask_for_no_certainty() -> None:
    z = np.array([[9.0, 0.0], [0.0, 9.0]] * 5)
    found = calibration.fit_temperature(z, np.array([0, 1] * 5))
    assert found.likeliest == 0.05
    # 10 * 9 p(b) = 3 (1 / b - 1) with p(b) = 1 / (1 + exp(9 b)): at b just above 1.
    assert found.temperature == pytest.approx(1.0, abs=0.01)
    (note,) = found.notes
    assert "labels of 10 rows do not determine the temperature" in note
    assert "alone they give 0.05, the border" in note


def test_labels_that_are_all_wrong_stop_at_the_border_with_a_note() -> None:
    z = np.array([[9.0, 0.0], [0.0, 9.0]] * 5)
    found = calibration.fit_temperature(z, np.array([1, 0] * 5))
    assert found.likeliest == 20.0
    # 90 / (1 + exp(-9 b)) = 3 (1 / b - 1)
    inverse = 1 / found.temperature
    assert 90 / (1 + np.exp(-9 * inverse)) == pytest.approx(3 * (1 / inverse - 1), rel=1e-6)
    assert "labels of 10 rows contradict the probabilities: alone they ask for" in found.notes[0]
    many = calibration.fit_temperature(np.tile(z, (10, 1)), np.tile([1, 0], 50))
    assert many.temperature == 20.0
    assert "contradict" in many.notes[0]
    small = calibration.fit_temperature(np.tile(z / 900, (500, 1)), np.tile([0, 1], 2500))
    assert small.temperature == 0.05
    assert "below the border of its range, 0.05" in small.notes[0]


def test_one_class_and_one_row_are_fitted_and_rows_that_say_nothing_leave_it_at_one() -> None:
    z, y_true = logits()
    only = y_true == 2
    found = calibration.fit_temperature(z[only], y_true[only])
    assert found.temperature == pytest.approx(by_hand(z[only], y_true[only]), rel=1e-4)
    assert (found.rows, found.notes) == (int(only.sum()), ())
    one = calibration.fit_temperature(np.array([[2.0, 0.0]]), np.array([0]))
    # 2 / (1 + exp(2 b)) = 3 (1 - 1 / b)
    inverse = 1 / one.temperature
    assert 2 / (1 + np.exp(2 * inverse)) == pytest.approx(3 * (1 - 1 / inverse), rel=1e-6)
    assert "labels of 1 row do not determine" in one.notes[0]
    nothing = calibration.fit_temperature(np.ones((40, 3)), np.arange(40) % 3)
    assert nothing.temperature == pytest.approx(1.0)
    assert nothing.notes


def test_order_of_rows_changes_nothing_and_weights_count_by_their_effective_number() -> None:
    z, y_true = logits(60)
    found = calibration.fit_temperature(z, y_true)
    order = np.random.default_rng(1).permutation(60)
    turned = calibration.fit_temperature(z[order], y_true[order])
    assert turned.temperature == pytest.approx(found.temperature, rel=1e-10)
    equal = calibration.fit_temperature(z, y_true, sample_weight=np.full(60, 7.0))
    assert equal.temperature == pytest.approx(found.temperature, rel=1e-9)
    kept = np.arange(60) < 25
    some = calibration.fit_temperature(z, y_true, sample_weight=kept * 2.0)
    assert some.temperature == pytest.approx(
        calibration.fit_temperature(z[kept], y_true[kept]).temperature, rel=1e-9
    )
    assert some.rows == 25
    twice = np.where(kept, 2.0, 1.0)
    rows = np.repeat(np.arange(60), twice.astype(int))
    effective = twice.sum() ** 2 / (twice**2).sum()
    assert calibration.fit_temperature(z, y_true, sample_weight=twice).temperature == pytest.approx(
        by_hand(z[rows], y_true[rows], prior=3 * len(rows) / effective), rel=1e-4
    )


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("true", [0.5, 1.0, 1.5, 2.5])
def test_on_new_data_a_fit_to_few_rows_is_not_worse_than_none(classes: int, true: float) -> None:
    """30 rows that are nearly all right; without the prior the mean excess is up to 0.6."""
    generator = np.random.default_rng(3)
    new = 8 * generator.normal(size=(1000, classes))
    chance = calibration.softmax(new)
    excess = []
    for _ in range(60):
        z = 8 * generator.normal(size=(30, classes))
        drawn = generator.random(30)[:, None]
        y = (calibration.softmax(z).cumsum(1)[:, :-1] < drawn).sum(1)
        t = calibration.fit_temperature(true * z, y).temperature
        none, fitted = (
            -(chance * np.log(calibration.softmax(true * new / s).clip(1e-300))).sum(1).mean()
            for s in (1.0, t)
        )
        excess.append(fitted - none)
    assert np.mean(excess) < 0.02
    if true in (0.5, 2.5):
        assert np.mean(excess) < -0.01


def test_temperature_leaves_out_unlabelled_rows_and_refuses_none_or_nan() -> None:
    z, y_true = logits()
    mixed = np.where(np.arange(len(y_true)) % 2, y_true, -1)
    expected = calibration.fit_temperature(z[1::2], y_true[1::2])
    assert calibration.fit_temperature(z, mixed).temperature == pytest.approx(
        expected.temperature, rel=1e-9
    )
    with pytest.raises(BadInput, match="no labelled row"):
        calibration.fit_temperature(z, np.full(len(z), -1))
    with pytest.raises(BadInput, match="finite"):
        calibration.fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))


def test_a_class_of_prior_zero_gets_probability_zero_and_does_not_break_the_fit() -> None:
    z, y_true = logits(k=3)
    kept = y_true < 2
    z, y_true = z[kept], y_true[kept]
    offset = calibration.log_prior_ratio([0.7, 0.3, 0.0], [0.5, 0.5, 0.0])
    t = calibration.fit_temperature(z, y_true, offset).temperature
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
