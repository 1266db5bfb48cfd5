"""Comparisons: pairing, the right test for the data, the verdict, and level and power."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.two_models import THREE, TWO, compared, predictions
from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.compare import CONDITIONAL, compare_predictions
from lesionlab.evaluation.paired import delong_difference
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import PRIMARIES


def test_two_classes_one_image_a_group_is_delong_and_mcnemar() -> None:
    a, b = predictions(TWO, 2.0, 1), predictions(TWO, 0.5, 2)
    found = compared(a, b)
    pair, positive = found.pairs[0], a.y_true == 1
    d, error, p = delong_difference(positive, a.y_prob[:, 1], b.y_prob[:, 1])
    assert pair.test == "DeLong"
    assert pair.p_value == p
    assert pair.difference.value == pytest.approx(d)
    assert error > 0
    assert pair.difference.method == "MOVER, logit t"
    assert pair.mcnemar is not None
    by_accuracy = compared(a, b, primary="accuracy").pairs[0]
    assert by_accuracy.test == "McNemar, exact"
    assert by_accuracy.p_value == pair.mcnemar[2]


@pytest.mark.parametrize("classes", [TWO, THREE])
@pytest.mark.parametrize("primary", PRIMARIES)
def test_every_primary_on_grouped_data(primary: str, classes: tuple[str, ...]) -> None:
    a, b = predictions(classes, 3, 1, 150, 75), predictions(classes, 0.6, 2, 150, 75)
    found = compared(a, b, primary=primary, malignant=(classes[1],), resamples=100)
    pair = found.pairs[0]
    assert "permutation" in pair.test
    assert pair.mcnemar is None
    assert pair.p_value < 0.05
    if pair.difference.low is None:
        assert "too few" in pair.verdict
    else:
        assert pair.verdict.startswith("a is better")
    swapped = compared(b, a, primary=primary, malignant=(classes[1],), resamples=100)
    other = swapped.pairs[0].difference
    assert other.value == pytest.approx(-(pair.difference.value or 0), abs=1e-12)
    json.dumps(found.to_json(), allow_nan=False)


def test_values_are_those_of_the_metrics() -> None:
    a, b = predictions(THREE, 2, 1, 120, 60), predictions(THREE, 1, 2, 120, 60)
    y = a.y_true
    wanted = {
        "accuracy": metrics.accuracy(y, metrics.decide(a.y_prob)),
        "balanced_accuracy": metrics.balanced_accuracy(y, metrics.decide(a.y_prob)),
        "roc_auc": metrics.roc_auc_macro(y, a.y_prob),
        "average_precision": metrics.average_precision_macro(y, a.y_prob),
        "nll": metrics.nll(y, a.y_prob),
        "brier": metrics.brier(y, a.y_prob),
        "malignant_roc_auc": metrics.roc_auc(y == 0, a.y_prob[:, 0]),
    }
    for name, value in wanted.items():
        found = compared(a, b, primary=name, malignant=("mel",), resamples=40)
        assert found.models[0].measure.value == pytest.approx(value, abs=1e-12), name


def test_the_same_model_twice_is_not_distinguishable() -> None:
    a = predictions(THREE, 1.5, 1, 120, 60)
    for primary in ("roc_auc", "balanced_accuracy", "nll"):
        pair = compared(a, a, primary=primary).pairs[0]
        assert (pair.difference.value, pair.p_value) == (0.0, 1.0)
        assert "not distinguishable" in pair.verdict


def test_rows_and_columns_may_stand_in_another_order() -> None:
    a, b = predictions(THREE, 2, 1), predictions(THREE, 1, 2)
    turned = b.take(np.random.default_rng(0).permutation(len(b)))
    order = [2, 0, 1]
    turned = Predictions(
        turned.image_id,
        turned.patient_id,
        turned.lesion_id,
        tuple(THREE[k] for k in order),
        np.array([order.index(k) for k in turned.y_true]),
        turned.y_prob[:, order],
    )
    assert compared(a, turned).to_json() == compared(a, b).to_json()


def test_images_without_label_are_left_out_and_counted() -> None:
    a, b = predictions(TWO, 2, 1), predictions(TWO, 1, 2)
    y = a.y_true.copy()
    y[:7] = -1
    unknown = Predictions(a.image_id, a.patient_id, a.lesion_id, a.classes, y, a.y_prob)
    found = compared(unknown, b)
    assert (found.n, found.unlabelled) == (113, 7)


def test_holm_over_three_models_and_the_statement() -> None:
    models = [(name, predictions(TWO, s, k)) for k, (name, s) in enumerate(
        {"a": 3.0, "b": 0.4, "c": 0.3}.items()
    )]  # fmt: skip
    found = compare_predictions(models, resamples=50)
    assert len(found.pairs) == 3
    assert all(p.p_holm >= p.p_value for p in found.pairs)
    assert min(p.p_holm for p in found.pairs) == pytest.approx(
        min(1.0, 3 * min(p.p_value for p in found.pairs))
    )
    assert found.to_json()["statement"] == CONDITIONAL


def test_a_unit_of_patients_makes_the_cases_independent() -> None:
    a, b = predictions(TWO, 2, 1, 120, 60), predictions(TWO, 1, 2, 120, 60)
    assert "permutation" in compared(a, b).pairs[0].test
    by_patient = compared(a, b, unit="patient", malignant=("malignant",))
    assert by_patient.n == by_patient.groups == 60
    assert by_patient.pairs[0].test == "DeLong"


def test_few_groups_give_a_value_and_no_interval() -> None:
    a, b = predictions(TWO, 2, 1, 40, 8), predictions(TWO, 1, 2, 40, 8)
    pair = compared(a, b).pairs[0]
    assert pair.difference.value is not None
    assert pair.difference.low is None
    assert pair.verdict == "too few to say which is better by roc auc"


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda p: p.take(np.arange(100)), r"20 image\(s\) are missing"),
        (lambda p: predictions(TWO, 1, 2, 130), "10 image"),
        (lambda p: predictions(THREE, 1, 2), "classes differ"),
        (
            lambda p: Predictions(
                p.image_id, p.patient_id, p.lesion_id, p.classes, 1 - p.y_true, p.y_prob
            ),
            "carry other labels",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(change: object, shown: str) -> None:
    a, b = predictions(TWO, 2, 1), predictions(TWO, 1, 2)
    with pytest.raises(BadInput, match=shown):
        compared(a, change(b))  # type: ignore[operator]


def test_other_refusals() -> None:
    a, b = predictions(TWO, 2, 1), predictions(TWO, 1, 2)
    with pytest.raises(BadInput, match="did you mean 'roc_auc'"):
        compared(a, b, primary="roc_uac")
    with pytest.raises(BadInput, match="which classes are malignant"):
        compared(a, b, primary="malignant_roc_auc")
    with pytest.raises(BadInput, match="two models are called"):
        compare_predictions([("a", a), ("a", b)])
    with pytest.raises(BadInput, match="needs two"):
        compare_predictions([("a", a)])
    one = a.take(a.y_true == 0)
    with pytest.raises(BadInput, match="only one class"):
        compared(one, one)


def test_several_pairs_have_simultaneous_intervals_and_one_pair_has_not() -> None:
    models = [(name, predictions(TWO, s, k)) for k, (name, s) in enumerate(
        {"a": 3.0, "b": 0.4, "c": 0.3}.items()
    )]  # fmt: skip
    alone = compare_predictions(models[:2], resamples=100).pairs[0].difference
    among = compare_predictions(models, resamples=100).pairs[0].difference
    assert alone.low is not None
    assert among.low is not None
    assert among.low < alone.low
    assert among.method.endswith("simultaneous over 3 pairs")
    assert "simultaneous" not in alone.method


def test_evaluate_and_compare_demand_the_same_number_of_groups() -> None:
    """Whatever the metric: where a model has no interval, its differences have none."""
    for groups in (8, 16, 24, 40, 60, 90, 130, 220):
        for patients in (None, groups):
            n = groups if patients is None else 2 * groups
            a, b = predictions(TWO, 2, 1, n, patients), predictions(TWO, 1, 2, n, patients)
            for name in PRIMARIES:
                found = compared(a, b, primary=name, malignant=("malignant",), resamples=60)
                said = [m.measure.low is None for m in found.models]
                assert (found.pairs[0].difference.low is None) == any(said), (name, n, patients)


def test_strong_models_are_not_told_to_be_equal() -> None:
    """30 images, all right by both: the first edition excluded every difference above 0.000."""
    y = np.arange(60) % 2
    p = predictions(TWO, 1.0, 1, 60)
    sure = np.where(y == 1, 0.99, 0.01)
    both = [
        Predictions(
            p.image_id, p.patient_id, p.lesion_id, TWO, y, np.stack([1 - s, s], axis=1)
        )
        for s in (sure, 0.5 + 0.4 * (sure - 0.5))
    ]  # fmt: skip
    for name in ("roc_auc", "accuracy", "balanced_accuracy"):
        pair = compared(*both, primary=name).pairs[0]
        assert (pair.difference.value, pair.p_value) == (0.0, 1.0)
        assert "nothing is excluded" in pair.verdict
        assert pair.difference.high is not None
        assert pair.difference.high > 0.05


def test_a_margin_tests_every_other_model_against_the_first() -> None:
    models = [(name, predictions(TWO, 3.0, k, 300)) for k, name in enumerate("abc")]
    found = compare_predictions(models, resamples=100, margin=0.1)
    assert [(n.reference, n.new) for n in found.noninferiority] == [("a", "b"), ("a", "c")]
    assert {n.confidence for n in found.noninferiority} == {1 - 0.025 / 2}
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(BadInput, match="is not a number above 0 and below 1"):
        compare_predictions(models, margin=0.0)


def test_mcnemar_has_its_mid_p() -> None:
    a, b = predictions(TWO, 2.0, 1), predictions(TWO, 0.5, 2)
    exact = compared(a, b).to_json()["pairs"][0]["mcnemar"]
    assert exact["mid_p"] < exact["p_value"]
