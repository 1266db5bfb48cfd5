"""Rules that are fitted on arrays hold what they promise, and are those of `evaluate`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

import lesionlab
from helpers.scored import GROUPS, P3, Y3, Z3, A, N, P, Y
from lesionlab import stats
from lesionlab.errors import BadInput


def test_operating_point_is_that_of_evaluate() -> None:
    point = stats.operating_point(Y, P, target=0.9, groups=GROUPS)
    (theirs,) = lesionlab.evaluate(
        y_true=Y, y_prob=P, groups=GROUPS, split="valid", policy="sensitivity_bound", target=0.9,
        resamples=50,
    ).operating_points  # fmt: skip
    assert theirs["threshold"] == point.threshold
    assert point.to_json() == theirs["chosen"]
    assert point.score == ("1",)
    with pytest.raises(BadInput, match="never chosen on test"):
        stats.operating_point(Y, P, split="test")
    with pytest.raises(BadInput, match="positive classes are not known"):
        stats.operating_point(Y3, P3)
    with pytest.raises(BadInput, match="needs 59"):
        stats.operating_point(Y[:60], P[:60])


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_conformal_sets_hold_the_truth(method: str) -> None:
    half = N // 2
    rule = stats.conformal(Y3[:half], P3[:half], method=method, alpha=0.2)
    sets = stats.prediction_sets(rule, P3[half:])
    assert sets.shape == (half, 3)
    assert sets[np.arange(half), Y3[half:]].mean() > 0.7
    with pytest.raises(BadInput, match="never calibrated on test"):
        stats.conformal(Y3, P3, split="test")
    with pytest.raises(BadInput, match="needs 9"):
        stats.conformal(Y3[:12], P3[:12])


def known_rows(method: str) -> AbstractContextManager[object]:
    """Isotonic and Dirichlet warn where they meet the rows that they were fitted on."""
    if method in ("isotonic", "dirichlet"):
        return pytest.warns(UserWarning, match="cases that the .* map was fitted on")
    return nullcontext()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic", "dirichlet"])
def test_calibrations_lower_the_loss_and_keep_the_shape(method: str) -> None:
    sure = softmax(4 * Z3, axis=1)
    fitted = stats.calibrate(Y3, sure, method=method)
    with known_rows(method):
        better = fitted.apply(sure)
    assert better.shape == sure.shape
    np.testing.assert_allclose(better.sum(axis=1), 1)
    before, after = (-np.log(p[np.arange(N), Y3].clip(1e-12)).mean() for p in (sure, better))
    assert after < before
    with known_rows(method):
        one = stats.calibrate(Y, P, method=method).apply(torch.tensor(P))
    assert one.shape == (N,)
    assert fitted.to_json()["classes"] == ["0", "1", "2"]


@pytest.mark.filterwarnings("error")
def test_other_rows_raise_no_warning_and_an_open_temperature_has_a_note() -> None:
    found = stats.calibrate(Y3[:200], P3[:200], method="isotonic")
    assert found.apply(P3[200:]).shape == (100, 3)
    with pytest.warns(UserWarning, match="calibration_half"):
        found.apply(P3[:200][::-1])  # in whatever order
    with pytest.warns(UserWarning, match="calibration_half"):
        found.apply(P3)
    right = stats.calibrate([0, 1] * 5, y_logit=[[9.0, 0.0], [0.0, 9.0]] * 5)
    assert "do not determine the temperature" in right.notes[0]
    assert stats.calibrate(Y3, P3).notes == found.notes == ()


def test_logits_are_calibrated_as_their_probabilities() -> None:
    by_logit = stats.calibrate(Y3, y_logit=3 * Z3).fitted.to_json()["temperature"]
    by_prob = stats.calibrate(Y3, softmax(3 * Z3, axis=1)).fitted.to_json()["temperature"]
    assert by_logit == pytest.approx(by_prob, rel=1e-6)
    table = pd.DataFrame(3 * Z3, columns=["logit_0", "logit_1", "logit_2"])
    turned = table[["logit_2", "logit_0", "logit_1"]]
    assert stats.calibrate(Y3, y_logit=turned).fitted.to_json()["temperature"] == pytest.approx(
        by_logit
    )
    with pytest.raises(BadInput, match="either y_prob or y_logit"):
        stats.calibrate(Y3)
    with pytest.raises(BadInput, match="2 classes, but the calibration has 3"):
        stats.calibrate(Y3, P3).apply(P)


def test_a_positive_class_that_stands_first_is_calibrated_as_itself() -> None:
    names = np.where(Y == 1, "ill", "well")
    by_name = stats.calibrate(names, P, positive="ill", method="platt").apply(P)
    by_number = stats.calibrate(Y, P, method="platt").apply(P)
    np.testing.assert_allclose(by_name, by_number, atol=1e-6)


def test_prediction_sets_reads_columns_by_name_and_refuses_another_shape() -> None:
    rule = stats.conformal(Y, P, alpha=0.1)
    both = np.stack([1 - P, P], axis=1)
    expected = stats.prediction_sets(rule, both).tolist()
    table = pd.DataFrame({"1": P, "0": 1 - P})
    assert stats.prediction_sets(rule, table).tolist() == expected
    assert stats.prediction_sets(rule, torch.tensor(both)).tolist() == expected
    for wrong in (P, P3):
        with pytest.raises(BadInput, match=r"y_prob: its shape is .*give \(N, 2\)"):
            stats.prediction_sets(rule, wrong)


@pytest.mark.parametrize("policy", ["sensitivity", "specificity", "fixed"])
def test_a_point_keeps_its_promise_where_it_was_chosen(policy: str) -> None:
    target = 0.4 if policy == "fixed" else 0.85
    point = stats.operating_point(Y, P, policy=policy, target=target)
    called = point.threshold <= P
    shares = {"sensitivity": called[Y == 1].mean(), "specificity": (~called)[Y == 0].mean()}
    for name, share in shares.items():
        assert getattr(point, name).value == pytest.approx(share, abs=1e-12)
    if policy == "fixed":
        assert point.threshold == 0.4
    else:
        assert shares[policy] >= 0.85


def test_softmax_survives_great_logits() -> None:
    """Logits of any offset are the same probabilities; none overflows."""
    near = stats.calibrate(Y3, y_logit=Z3).to_json()
    far = stats.calibrate(Y3, y_logit=Z3 + 5000).to_json()
    assert far["temperature"] == pytest.approx(near["temperature"], rel=1e-6)
    assert far["n"] == N
    with pytest.raises(BadInput, match=r"y_logit: logits of all classes are needed, \(N, K\)"):
        stats.calibrate(Y, y_logit=A)
    with pytest.raises(BadInput, match="give either y_prob or y_logit"):
        stats.calibrate(Y3, P3, y_logit=Z3)
