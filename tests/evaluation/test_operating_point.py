from __future__ import annotations

import json
import re

import numpy as np
import pytest
from scipy import stats

from lesionlab.errors import BadInput
from lesionlab.evaluation import operating_point as op
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.policies import DEFAULT_POLICY, DEFAULT_TARGET, POLICIES
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.language import LANGUAGES, language

CLASSES = ("nv", "mel", "bcc")
MALIGNANT = ("mel", "bcc")


def predictions(n: int = 600, seed: int = 0, per_patient: int = 1) -> Predictions:
    generator = np.random.default_rng(seed)
    malignant = generator.random(n) < 0.3
    score = 1 / (1 + np.exp(-(generator.normal(size=n) + 2 * malignant - 1)))
    part = generator.random(n)
    y_prob = np.stack([1 - score, score * part, score * (1 - part)], axis=1)
    y_true = np.where(malignant, 1 + (part < 0.5), 0).astype(np.int64)
    names = np.array([f"i{i}" for i in range(n)], dtype=object)
    patients = np.array([f"p{i // per_patient}" for i in range(n)], dtype=object)
    return Predictions(names, patients, np.full(n, "", dtype=object), CLASSES, y_true, y_prob)


def choose(data: Predictions, **options: object) -> op.OperatingPoint:
    return op.choose_operating_point(data, score=MALIGNANT, chosen_on="valid", **options)


def test_the_default_is_the_highest_threshold_whose_lower_bound_reaches_95_percent() -> None:
    data = predictions()
    point = choose(data)
    assert point.policy == "sensitivity_bound"
    score = score_of(data.y_prob, CLASSES, MALIGNANT)
    positive = score[data.y_true > 0]
    hits, n = int((positive >= point.threshold).sum()), len(positive)
    assert stats.beta.ppf(0.05, hits, n - hits + 1) >= 0.95
    assert stats.beta.ppf(0.05, hits - 1, n - hits + 2) < 0.95
    assert point.sensitivity.value == pytest.approx(hits / n)


def test_59_positive_groups_are_needed_and_58_refused() -> None:
    data = predictions()
    rows = np.flatnonzero(data.y_true > 0)
    negatives = np.flatnonzero(data.y_true == 0)
    assert op.groups_needed(0.95) == 59
    point = choose(data.take(np.concatenate([rows[:59], negatives])))
    assert point.sensitivity.value == 1.0
    with pytest.raises(
        BadInput, match=r"58 positive groups; .*needs 59, at least 1 more.*policy 'sensitivity'"
    ):
        choose(data.take(np.concatenate([rows[:58], negatives])))
    few = data.take(np.concatenate([rows[:58], negatives]))
    assert choose(few, policy="sensitivity").sensitivity.value >= 0.95


def test_images_of_one_patient_do_not_count_as_many() -> None:
    data = predictions(600, per_patient=10)
    with pytest.raises(BadInput, match="groups"):
        choose(data.take(np.arange(580)))


def positives(sizes: np.ndarray, scores: np.ndarray, negatives: np.ndarray) -> Predictions:
    """Patients with so many positive images, their scores, and negative images of others."""
    n = len(scores) + len(negatives)
    score = np.concatenate([scores, negatives])
    patients = [*np.repeat(np.arange(len(sizes)), sizes), *(-1 - np.arange(len(negatives)))]
    return Predictions(
        np.array([f"i{i}" for i in range(n)], dtype=object),
        np.array([f"p{c}" for c in patients], dtype=object),
        np.full(n, "", dtype=object),
        ("nv", "mel"),
        (np.arange(n) < len(scores)).astype(np.int64),
        np.stack([1 - score, score], axis=1),
    )


def by_bound(data: Predictions, target: float = 0.95) -> op.OperatingPoint:
    return op.choose_operating_point(data, score=("mel",), chosen_on="valid", target=target)


def lopsided(small: int, giants: int, size: int) -> Predictions:
    sizes = np.array([1] * small + [size] * giants)
    scores = np.linspace(0.5, 0.9, sizes.sum())
    return positives(sizes, scores, np.linspace(0.1, 0.4, 50))


def test_the_bound_is_refused_by_the_effective_number_of_groups() -> None:
    data = lopsided(60, 5, 12)  # (60 + 60)^2 / (60 + 5 * 144) = 18.46
    with pytest.raises(BadInput, match=r"65 positive groups, worth 18\.4 .*, at least 41 more"):
        by_bound(data)
    point, refusal = op.default_operating_point(data, score=("mel",), chosen_on="valid")
    assert point is None
    assert "at least 41 more" in refusal
    assert stats.beta.ppf(0.05, 120**2 / 780, 1) == pytest.approx(0.850, abs=5e-4)


def test_the_number_of_further_groups_is_the_least_that_can_be_enough() -> None:
    sizes = np.array([1] * 60 + [12] * 5)
    best = 780 / 120  # of this size a further group adds most: images that the average one has

    def worth(further: int) -> float:
        return (120 + further * best) ** 2 / (780 + further * best**2)

    assert worth(40) < 59 <= worth(41)
    more = np.concatenate([sizes, np.full(41, 6), np.full(1, 7)])
    scores = np.linspace(0.5, 0.9, more.sum())
    assert by_bound(positives(more, scores, np.linspace(0.1, 0.4, 50))).threshold < 0.5


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_is_given_only_where_its_exact_bound_is_reached(
    target: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.geometric(1 / 3, int(generator.integers(20, 300)))
    scores = 1 / (1 + np.exp(-generator.normal(1, 1, sizes.sum())))
    data = positives(sizes, scores, 1 / (1 + np.exp(-generator.normal(-1, 1, 300))))
    worth = sizes.sum() ** 2 / (sizes**2).sum()
    try:
        point = by_bound(data, target)
    except BadInput:
        assert worth < op.groups_needed(target)
        return
    found = (scores >= point.threshold).mean()
    assert stats.beta.ppf(0.05, found * worth, (1 - found) * worth + 1) >= target


def test_a_point_that_calls_everybody_positive_is_refused() -> None:
    sizes, scores = np.ones(59, int), np.linspace(0.05, 0.9, 59)
    negatives = np.linspace(0.05, 0.4, 50)
    with pytest.raises(BadInput, match="only where every case is called positive"):
        by_bound(positives(sizes, scores, negatives))
    zero = positives(sizes, np.append(scores[1:], 0.0), negatives)
    point, refusal = op.default_operating_point(zero, score=("mel",), chosen_on="valid")
    assert point is None
    assert "every case is called positive" in refusal
    negatives[0] = 0.04  # one case below: a point, whose specificity speaks for itself
    assert by_bound(positives(sizes, scores, negatives)).specificity.value == 1 / 50


def kept(studies: int, share: float, giant: int, icc: float) -> float:
    """How often true sensitivity is at least 0.95: `share` of 300 patients are giants."""
    generator, held = np.random.default_rng(17), []
    for _ in range(studies):
        sizes = np.where(generator.random(300) < share, giant, 1)
        effect = np.repeat(np.sqrt(icc) * generator.normal(size=300), sizes)
        scores = effect + np.sqrt(1 - icc) * generator.normal(size=len(effect))
        point = by_bound(positives(sizes, stats.norm.cdf(scores), np.full(50, 1e-9)))
        held.append(stats.norm.sf(stats.norm.ppf(point.threshold)) >= 0.95)
    return float(np.mean(held))


@pytest.mark.slow
def test_the_bound_is_kept_where_few_patients_hold_half_of_the_images() -> None:
    """86 % with the jackknife's effective n; bench/coverage_bounds.py has more designs."""
    assert kept(200, 0.06, 16, 0.8) >= 0.95


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_the_point_estimates_reach_their_targets_and_no_better_threshold_does(
    target: float,
) -> None:
    data = predictions()
    score = score_of(data.y_prob, CLASSES, MALIGNANT)
    positive = data.y_true > 0
    cuts = np.unique(score)
    sensitivity = np.array([(score[positive] >= t).mean() for t in cuts])
    specificity = np.array([(score[~positive] < t).mean() for t in cuts])
    found = choose(data, policy="sensitivity", target=target)
    assert found.sensitivity.value >= target
    assert found.specificity.value == pytest.approx(specificity[sensitivity >= target].max())
    found = choose(data, policy="specificity", target=target)
    assert found.specificity.value >= target
    assert found.sensitivity.value == pytest.approx(sensitivity[specificity >= target].max())
    found = choose(data, policy="youden")
    assert found.sensitivity.value + found.specificity.value == pytest.approx(
        (sensitivity + specificity).max()
    )


@pytest.mark.parametrize("price", [0.1, 1, 5, 50])
def test_cost_is_least(price: float) -> None:
    data = predictions()
    score = score_of(data.y_prob, CLASSES, MALIGNANT)
    positive = data.y_true > 0

    def cost(t: float) -> float:
        return price * (score[positive] < t).sum() + (score[~positive] >= t).sum()

    best = min(cost(t) for t in [*np.unique(score), 2.0])
    assert cost(choose(data, policy="cost", target=price).threshold) == pytest.approx(best)


def test_a_fixed_threshold_is_kept_and_a_case_at_it_is_positive() -> None:
    point = choose(predictions(), policy="fixed", target=0.4)
    assert point.threshold == 0.4
    y_prob = np.array([[0.6, 0.4, 0.0], [0.6 + 1e-9, 0.4 - 1e-9, 0.0]])
    assert op.apply_operating_point(point, y_prob, CLASSES).tolist() == [True, False]


def test_the_threshold_lies_between_scores_so_that_rounding_moves_no_case() -> None:
    data = predictions()
    score = score_of(data.y_prob, CLASSES, MALIGNANT)
    for policy in ("sensitivity_bound", "sensitivity", "specificity", "youden"):
        threshold = choose(data, policy=policy).threshold
        assert (score != threshold).all()
        rounded = score.astype(np.float32) >= threshold
        assert (rounded == (score >= threshold)).all()


def test_ties_and_extremes() -> None:
    assert op.between(np.array([0.0, 0.0]), 0.0) == 0.0
    assert op.between(np.array([0.2, 0.6]), 0.2) == 0.1
    data = predictions(200)
    constant = np.tile([0.5, 0.3, 0.2], (200, 1))
    flat = Predictions(
        data.image_id, data.patient_id, data.lesion_id, CLASSES, data.y_true, constant
    )
    point = choose(flat, policy="specificity", target=0.9)
    assert point.specificity.value == 1.0
    assert point.sensitivity.value == 0.0
    assert choose(flat, policy="sensitivity").sensitivity.value == 1.0


def test_it_round_trips_exactly_through_json() -> None:
    point = choose(predictions(), prior={"nv": 0.7, "mel": 0.2, "bcc": 0.1})
    text = json.dumps(point.to_json(), allow_nan=False)
    assert op.OperatingPoint.from_json(json.loads(text)) == point
    with pytest.raises(BadInput, match="not an operating point"):
        op.OperatingPoint.from_json({"threshold": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chosen_on": "test"}, "never chosen on test"),
        ({"policy": "yuden"}, "did you mean 'youden'"),
        ({"policy": "cost"}, "needs a target"),
        ({"policy": "fixed"}, "needs a target"),
        ({"target": 1.0}, "does not fit"),
        ({"target": float("nan")}, "does not fit"),
        ({"score": ("melanoma",)}, "not predicted"),
        ({"score": ()}, "no class"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    options = {"score": MALIGNANT, "chosen_on": "valid"} | options
    with pytest.raises(BadInput, match=message):
        op.choose_operating_point(predictions(), **options)


def test_one_kind_of_case_only_is_refused() -> None:
    data = predictions()
    with pytest.raises(BadInput, match="no negative case"):
        choose(data.take(np.flatnonzero(data.y_true > 0)))
    with pytest.raises(BadInput, match="no positive case"):
        choose(data.take(np.flatnonzero(data.y_true == 0)))


def test_the_default_is_a_promise_or_withheld_with_the_reason() -> None:
    data = predictions()
    positive, negative = np.flatnonzero(data.y_true > 0), np.flatnonzero(data.y_true == 0)
    for groups, why in ((58, "58 positive groups; .* needs 59"), (59, "^$")):
        some = data.take(np.concatenate([positive[:groups], negative]))
        point, refusal = op.default_operating_point(some, score=MALIGNANT, chosen_on="valid")
        assert re.search(why, refusal)
        if point is not None:
            assert (point.policy, point.target) == (DEFAULT_POLICY, DEFAULT_TARGET)
        assert (point is None) == (groups == 58)
    nobody = op.default_operating_point(data, score=(), chosen_on="valid")
    assert nobody == (None, "no class is malignant")


def test_each_policy_has_its_chooser_and_its_words() -> None:
    assert set(op.CHOOSERS) == set(POLICIES)
    for code in LANGUAGES:
        assert all(f"policy.{name}" in language(code).strings for name in POLICIES)
