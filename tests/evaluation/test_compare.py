"""Comparisons: pairing, the right test for the data, the verdict, and level and power."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.compare import CONDITIONAL, Comparison, compare_predictions, verdict
from lesionlab.evaluation.difference import _partial, _precision
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.paired import delong_difference
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import PRIMARIES, primary_of

TWO, THREE = ("benign", "malignant"), ("mel", "nv", "bkl")


def predictions(
    classes: tuple[str, ...],
    skill: float,
    seed: int,
    n: int = 120,
    patients: int | None = None,
) -> Predictions:
    """Predictions whose truth does not depend on the seed; images of a patient share an error."""
    y_true = np.random.default_rng([99, n]).integers(0, len(classes), n)
    rng = np.random.default_rng(seed)
    group = np.arange(n) if patients is None else np.arange(n) % patients
    shared = rng.normal(0, 1, (group.max() + 1, len(classes)))[group]
    z = skill * np.eye(len(classes))[y_true] + shared + rng.normal(0, 0.3, (n, len(classes)))
    prob = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    ids = np.array([f"i{k}" for k in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    owner = blank if patients is None else np.array([f"p{g}" for g in group], dtype=object)
    return Predictions(ids, owner, blank, classes, y_true, prob)


def compared(a: Predictions, b: Predictions, **options: object) -> Comparison:
    options.setdefault("resamples", 300)
    return compare_predictions([("a", a), ("b", b)], **options)  # type: ignore[arg-type]


def test_two_classes_one_image_a_group_is_delong_and_mcnemar() -> None:
    a, b = predictions(TWO, 2.0, 1), predictions(TWO, 0.5, 2)
    found = compared(a, b)
    pair, positive = found.pairs[0], a.y_true == 1
    d, error, p = delong_difference(positive, a.y_prob[:, 1], b.y_prob[:, 1])
    assert pair.test == "DeLong"
    assert pair.p_value == p
    assert pair.difference.value == pytest.approx(d)
    assert pair.difference.low == pytest.approx(d - 1.959964 * error, abs=1e-6)
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


def test_the_quick_areas_are_the_metrics_own() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        positive, score = rng.random(40) < 0.3, np.round(rng.random(40), seed % 3 + 1)
        positive[:2] = (True, False)
        wanted = metrics.average_precision(positive, score), metrics.partial_auc(positive, score)
        found = _precision(positive, score), _partial(positive, score)
        assert found == pytest.approx(wanted, abs=1e-12)


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


def test_verdicts() -> None:
    auc, nll = primary_of("roc_auc", TWO, ()), primary_of("nll", TWO, ())
    near = Measure(0.01, -0.02, 0.04, 100, "")
    assert verdict(auc, ("a", "b"), near, 0.3) == (
        "not distinguishable; a difference in roc auc above 0.040 is excluded"
    )
    far = Measure(-0.05, -0.08, -0.02, 100, "")
    assert verdict(auc, ("a", "b"), far, 0.01).startswith("b is better: roc auc differs by 0.050")
    assert "0.020 to 0.080" in verdict(auc, ("a", "b"), far, 0.01)
    assert verdict(nll, ("a", "b"), far, 0.01).startswith("a is better")


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
