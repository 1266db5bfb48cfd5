from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn import metrics as sk

from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import Evaluation, evaluate_predictions
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.predictions import Predictions

CLASSES = ("nv", "mel", "bcc")


def table(groups: int = 200, seed: int = 0, per_group: int = 2, k: int = 3) -> Predictions:
    generator = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), per_group)
    prior = np.array([0.6, 0.25, 0.15, 0.1])[:k]
    y_true = generator.choice(k, groups, p=prior / prior.sum())[code]
    z = np.log(prior) + generator.normal(size=(groups, k))[code]
    z = z + 0.5 * generator.normal(size=(len(code), k))
    z[np.arange(len(code)), y_true] += 2
    y_prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    names = np.array([f"i{i}" for i in range(len(code))], dtype=object)
    lesions = np.array([f"L{c}" for c in code], dtype=object)
    blank = np.full(len(code), "", dtype=object)
    return Predictions(names, blank, lesions, CLASSES[:k], y_true.astype(np.int64), y_prob)


def run(data: Predictions, **options: object) -> Evaluation:
    options = {"malignant": tuple(c for c in data.classes if c in ("mel", "bcc"))} | options
    return evaluate_predictions(data, **{"resampling": Resampling(200), **options})


def measures(value: object, path: str = "") -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high", "n", "method"}:
            yield path, value
        for key, inner in value.items():
            yield from measures(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from measures(inner, f"{path}[{i}]")


def test_point_estimates_agree_with_scikit_learn() -> None:
    data = table()
    found = run(data).metrics
    y_pred = data.y_prob.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(data.y_true, y_pred),
        "balanced_accuracy": sk.balanced_accuracy_score(data.y_true, y_pred),
        "roc_auc": sk.roc_auc_score(data.y_true, data.y_prob, multi_class="ovr"),
        "mcc": sk.matthews_corrcoef(data.y_true, y_pred),
        "kappa": sk.cohen_kappa_score(data.y_true, y_pred),
        "f1_macro": sk.f1_score(data.y_true, y_pred, average="macro"),
        "nll": sk.log_loss(data.y_true, data.y_prob),
        "brier": sk.brier_score_loss(data.y_true, data.y_prob),
        "majority_accuracy": (data.y_true == 0).mean(),
        "error_rate": 1 - sk.accuracy_score(data.y_true, y_pred),
        "hand_till_auc": sk.roc_auc_score(data.y_true, data.y_prob, multi_class="ovo"),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("k", [2, 3])
def test_every_measure_holds_its_value_between_its_limits_or_says_why_not(k: int) -> None:
    prior = np.full(k, 1 / k)
    found = run(table(k=k), prior=prior).to_json()
    json.dumps(found, allow_nan=False)
    seen = dict(measures(found))
    assert len(seen) > 60
    for path, m in seen.items():
        if m["value"] is None or m["low"] is None:
            assert m["method"].startswith(
                ("too few", "undefined", "not computed", "15 equal-width")
            ), (path, m)
        else:
            assert m["low"] <= m["value"] <= m["high"], (path, m)
            assert m["n"] > 0
    assert found["metrics"]["ece"]["low"] is None


def test_the_summary_counts_what_was_measured() -> None:
    data = table()
    found = run(data)
    assert (found.n, found.groups, found.resampled, found.unit) == (400, 200, "lesion", "image")
    assert found.class_counts["nv"] == {
        "images": int((data.y_true == 0).sum()),
        "groups": int((data.y_true == 0).sum() // 2),
    }
    assert sum(found.prevalence.values()) == pytest.approx(1)
    assert found.majority_class == "nv"
    counts = np.array(found.to_json()["confusion"]["counts"])
    np.testing.assert_array_equal(counts, sk.confusion_matrix(data.y_true, data.y_prob.argmax(1)))
    np.testing.assert_allclose(np.array(found.to_json()["confusion"]["rows"]).sum(1), 1)
    assert found.undefined_replicates == {}


def test_the_same_seed_gives_the_same_intervals_and_row_order_does_not_matter() -> None:
    data = table(80)
    first = run(data).to_json()
    assert run(data).to_json() == first
    assert run(data, resampling=Resampling(200, 1)).to_json()["metrics"] != first["metrics"]


def test_repeating_every_image_adds_no_certainty() -> None:
    one = table(120, per_group=1)
    rows = np.repeat(np.arange(120), 4)
    many = one.take(rows)
    names = np.array([f"i{i}" for i in range(480)], dtype=object)
    many = Predictions(names, many.patient_id, many.lesion_id, CLASSES, many.y_true, many.y_prob)
    narrow, wide = run(one).metrics, run(many).metrics
    for name in ("accuracy", "balanced_accuracy", "roc_auc", "nll", "kappa"):
        a, b = narrow[name], wide[name]
        assert b.value == pytest.approx(a.value)
        assert b.high - b.low > 0.9 * (a.high - a.low), name


def test_prior_correction_divides_by_the_prior() -> None:
    data = table()
    prior = np.array([0.6, 0.25, 0.15])
    found = run(data, prior=prior)
    expected = sk.balanced_accuracy_score(data.y_true, (data.y_prob / prior).argmax(1))
    measured = found.metrics["balanced_accuracy_prior_corrected"]
    assert measured.value == pytest.approx(expected)
    assert "prior_corrected" in found.decisions
    assert "nv 0.6, mel 0.25, bcc 0.15" in found.decisions["argmax"]
    assert found.confusion_prior_corrected is not None
    without = run(data)
    assert without.metrics["balanced_accuracy_prior_corrected"].value is None
    assert without.confusion_prior_corrected is None


@pytest.mark.parametrize(("malignant", "column"), [(("nv",), 0), (("mel",), 1), ((), 1)])
def test_two_classes_have_one_auc_of_the_malignant_or_second(
    malignant: tuple[str, ...], column: int
) -> None:
    data = table(k=2)
    found = run(data, malignant=malignant)
    assert found.positive == CLASSES[column]
    expected = sk.roc_auc_score(data.y_true == column, data.y_prob[:, column])
    assert found.metrics["roc_auc"].value == pytest.approx(expected)
    expected = sk.average_precision_score(data.y_true == column, data.y_prob[:, column])
    assert found.metrics["average_precision"].value == pytest.approx(expected)
    assert found.metrics["partial_auc_80"].value is not None


def test_malignant_v_benign_sums_the_malignant_probabilities() -> None:
    data = table()
    found = run(data).malignant_v_benign
    assert found is not None
    expected = sk.roc_auc_score(data.y_true > 0, data.y_prob[:, 1:].sum(1))
    assert found["roc_auc"].value == pytest.approx(expected)
    called = data.y_prob.argmax(1) > 0
    assert found["sensitivity"].value == pytest.approx(called[data.y_true > 0].mean())
    assert found["ppv"].value == pytest.approx((data.y_true > 0)[called].mean())
    assert run(data, malignant=()).malignant_v_benign is None


def test_an_operating_point_is_applied_unchanged() -> None:
    point = choose_operating_point(
        table(400, seed=1), score=("mel", "bcc"), chosen_on="valid", policy="sensitivity"
    )
    data = table()
    (found,) = run(data, operating_points=[point], prevalences=[0.005]).operating_points
    score, truth = data.y_prob[:, 1:].sum(1), data.y_true > 0
    assert found["threshold"] == point.threshold
    assert found["counts"]["tp"] == int((truth & (score >= point.threshold)).sum())
    assert sum(found["counts"].values()) == len(data)
    at = [row["prevalence"] for row in found["at_prevalence"]]
    assert {0.001, 0.005, 0.01, 0.02, 0.1, found["prevalence"]} == set(at)


def test_curves_are_thin_and_true() -> None:
    data = table(1500)
    found = run(data).to_json()["curves"]
    assert set(found) == {"nv", "mel", "bcc", "malignant"}
    for name, curve in found.items():
        for kind, axes in (("roc", ("fpr", "tpr")), ("pr", ("recall", "precision"))):
            xs, ys = (np.array(curve[kind][axis]) for axis in axes)
            assert 2 <= len(xs) <= 200
            assert (np.diff(xs) >= 0).all()
            band = curve[kind]["band"]
            assert len(band["low"]) == len(band["high"]) == 101
            low, high = (np.array(band[k], float) for k in ("low", "high"))
            known = ~np.isnan(low)  # no band at a recall of few positives
            assert known[50:].all()
            assert (low[known] <= high[known]).all()
            assert ((ys >= 0) & (ys <= 1)).all()
        roc = curve["roc"]
        assert (roc["fpr"][0], roc["tpr"][0], roc["threshold"][0]) == (0, 0, None)
        assert (roc["fpr"][-1], roc["tpr"][-1]) == (1, 1)
        if name != "malignant":
            k = CLASSES.index(name)
            exact = sk.roc_auc_score(data.y_true == k, data.y_prob[:, k])
            assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(exact, abs=2e-3)


def test_lesions_and_patients_as_units() -> None:
    data = table()
    by_lesion = run(data, unit="lesion")
    assert (by_lesion.n, by_lesion.groups) == (200, 200)
    mean = data.y_prob.reshape(200, 2, 3).mean(1)
    expected = (mean.argmax(1) == data.y_true[::2]).mean()
    assert by_lesion.metrics["accuracy"].value == pytest.approx(expected)
    assert "mean" in by_lesion.decisions["unit"]
    patients = np.array([f"p{i // 4}" for i in range(400)], dtype=object)
    data = Predictions(data.image_id, patients, data.lesion_id, CLASSES, data.y_true, data.y_prob)
    by_patient = run(data, unit="patient")
    assert (by_patient.n, by_patient.resampled) == (100, "patient")
    truth = (data.y_true > 0).reshape(100, 4).any(1)
    score = data.y_prob[:, 1:].sum(1).reshape(100, 4).max(1)
    assert by_patient.malignant_v_benign is not None
    assert by_patient.malignant_v_benign["roc_auc"].value == pytest.approx(
        sk.roc_auc_score(truth, score)
    )


def test_rows_without_label_are_left_out_and_said() -> None:
    data = table()
    y_true = data.y_true.copy()
    y_true[:3] = -1
    hidden = Predictions(
        data.image_id, data.patient_id, data.lesion_id, CLASSES, y_true, data.y_prob
    )
    found = run(hidden)
    assert (found.n, found.unlabelled) == (397, 3)
    assert "3 images have no label" in found.notes[0]


def test_an_absent_class_is_ignored_and_said() -> None:
    data = table()
    data = data.take(np.flatnonzero(data.y_true != 2))
    found = run(data)
    assert any("bcc" in note for note in found.notes)
    assert found.per_class["bcc"]["roc_auc"].value is None
    assert found.per_class["bcc"]["sensitivity"].value is None
    assert found.metrics["balanced_accuracy"].value == pytest.approx(
        np.mean([found.per_class[c]["sensitivity"].value for c in ("nv", "mel")])
    )
    json.dumps(found.to_json(), allow_nan=False)


def test_a_single_class_is_measured_as_far_as_it_goes() -> None:
    data = table()
    found = run(data.take(np.flatnonzero(data.y_true == 1)))
    assert found.metrics["roc_auc"].value is None
    assert found.per_class["mel"]["sensitivity"].value is not None
    assert any("only one class" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_few_groups_say_too_few() -> None:
    found = run(table(12, seed=3), malignant=("mel",))
    assert found.metrics["balanced_accuracy"].low is None
    assert found.metrics["balanced_accuracy"].method.startswith("too few to say")
    assert found.metrics["balanced_accuracy"].value is not None


def test_ties_and_impossible_truths_are_noted() -> None:
    data = table(30)
    flat = data.y_prob.copy()
    flat[0] = [0.5, 0.5, 0.0]
    flat[1] = [0.0, 0.0, 0.0]
    flat[1, (data.y_true[1] + 1) % 3] = 1
    found = run(
        Predictions(data.image_id, data.patient_id, data.lesion_id, CLASSES, data.y_true, flat)
    )
    assert any("tie" in note for note in found.notes)
    assert any("probability 0" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"malignant": ("melanoma",)}, "'melanoma' is not predicted; did you mean 'mel'|known"),
        ({}, {"malignant": CLASSES}, "all classes are malignant"),
        ({}, {"prior": np.array([0.5, 0.5])}, "prior does not fit"),
        ({}, {"resampling": Resampling(5)}, "too few"),
        ({}, {"prevalences": [0.02, 2]}, r"prevalence 2 lies outside"),
        ({}, {"unit": "patient"}, "no row has a patient_id"),
        ({}, {"unit": "eye"}, "no unit 'eye'"),
        ({"y_true": np.full(400, -1)}, {}, "no row has a label"),
        ({"classes": ("nv",), "y_prob": np.ones((400, 1))}, {"malignant": ()}, "fewer than two"),
    ],
)
def test_refusals(change: dict, options: dict, message: str) -> None:
    data = table()
    fields = {
        "image_id": data.image_id,
        "patient_id": data.patient_id,
        "lesion_id": data.lesion_id,
        "classes": CLASSES,
        "y_true": data.y_true,
        "y_prob": data.y_prob,
    }
    with pytest.raises(BadInput, match=message):
        run(Predictions(**(fields | change)), **options)


def test_a_lesion_with_two_labels_is_refused_by_name() -> None:
    data = table()
    y_true = data.y_true.copy()
    y_true[0], y_true[1] = 0, 1
    mixed = Predictions(
        data.image_id, data.patient_id, data.lesion_id, CLASSES, y_true, data.y_prob
    )
    with pytest.raises(BadInput, match="lesion 'L0' carries the labels 'nv' and 'mel'"):
        run(mixed, unit="lesion")


def test_measures_are_plain_values() -> None:
    found = run(table(40)).metrics
    assert all(isinstance(m, Measure) for m in found.values())
    assert all(isinstance(m.value, float | None) for m in found.values())
