"""Counts, matrices, curves and words of an evaluation, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.cases import by_hand
from helpers.tables import predicted
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.prevalence import PREVALENCES
from lesionlab.evaluation.sections import (
    PointResult,
    calibration_section,
    class_counts,
    confusion_section,
    curves_section,
    decision_section,
    decisions_section,
    notes_section,
    operating_point_section,
)

UNKNOWN = Measure(None, None, None, 0, "")


def at(threshold: float, score: tuple[str, ...] = ("b",)) -> OperatingPoint:
    return OperatingPoint("fixed", threshold, threshold, score, "valid", None, 9, 9, UNKNOWN,
                          UNKNOWN)  # fmt: skip


def scored(positives: int, negatives: int, score: list[float]) -> tuple[Predictions, Measured]:
    """Cases of their own groups, the positives ("b") first; `score` is the probability of "b"."""
    y_true = [1] * positives + [0] * negatives
    table = predicted(y_true, [[1 - s, s] for s in score], [f"p{k}" for k in range(len(score))])
    return table, measure_cases(cases_of(table, (), None), resamples=20, seed=0)


def measured(c: Cases) -> Measured:
    return measure_cases(c, resamples=20, seed=0)


def test_a_group_of_two_classes_counts_in_both() -> None:
    c = by_hand([0, 0, 1, 1], np.full((4, 3), 1 / 3), ["p", "p", "p", "q"])
    assert class_counts(c) == {
        "a": {"images": 2, "groups": 1},
        "b": {"images": 2, "groups": 2},
        "c": {"images": 0, "groups": 0},
    }


def test_the_rows_of_the_confusion_table_are_the_truth() -> None:
    c = by_hand([0, 0, 0, 1], np.full((4, 3), 1 / 3))
    found = confusion_section(c, np.array([0, 0, 2, 0]))
    assert found["classes"] == ["a", "b", "c"]
    assert found["counts"].tolist() == [[2, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert found["counts"].dtype.kind == "i"
    np.testing.assert_allclose(
        found["rows"], [[2 / 3, 0, 1 / 3], [1, 0, 0], [np.nan, np.nan, np.nan]]
    )


def point_of(
    score: list[float], positives: int, prevalences: tuple[float, ...] = ()
) -> PointResult:
    table, m = scored(positives, len(score) - positives, score)
    return operating_point_section(at(0.4), table, m, prevalences)


def test_a_point_is_applied_as_it_was_chosen() -> None:
    found = point_of([0.9, 0.4, 0.39, 0.4, 0.1, 0.2, 0.3, 0.0], 3)
    assert found["chosen"] == at(0.4).to_json()
    assert found["threshold"] == 0.4
    assert found["counts"] == {"tp": 2, "fn": 1, "fp": 1, "tn": 4}  # 0.4 is positive
    shares = [found[k].value for k in ("sensitivity", "specificity", "ppv", "npv")]  # type: ignore[literal-required]
    assert shares == pytest.approx([2 / 3, 4 / 5, 2 / 3, 4 / 5])
    assert found["prevalence"] == 3 / 8


def test_predictive_values_at_other_prevalences_are_by_bayes_and_here_those_seen() -> None:
    found = point_of([0.9, 0.4, 0.39, 0.4, 0.1, 0.2, 0.3, 0.0], 3, (0.5, 0.02, 3 / 8))
    at_prevalence = [row["prevalence"] for row in found["at_prevalence"]]
    assert at_prevalence == sorted({*PREVALENCES, 0.5, 3 / 8})  # each once, in order
    rows = {row["prevalence"]: row for row in found["at_prevalence"]}
    assert rows[3 / 8]["ppv"] == found["ppv"].to_json()
    assert rows[3 / 8]["npv"] == found["npv"].to_json()
    assert rows[0.5]["ppv"]["value"] == pytest.approx((2 / 3) / (2 / 3 + 1 / 5))
    assert rows[0.02]["npv"]["value"] == pytest.approx(0.8 * 0.98 / (0.8 * 0.98 + 0.02 / 3))


@pytest.mark.parametrize("positives", [0, 4])
def test_a_point_on_cases_of_one_kind_has_no_prevalence_of_its_own(positives: int) -> None:
    found = point_of([0.9, 0.8, 0.1, 0.5], positives)
    assert found["prevalence"] is None
    assert [row["prevalence"] for row in found["at_prevalence"]] == sorted(PREVALENCES)
    assert found["sensitivity"].value == (0.75 if positives else None)
    assert found["specificity"].value == (None if positives else 0.25)
    assert all(row["ppv"]["value"] is None for row in found["at_prevalence"])


def test_a_point_on_a_summed_score() -> None:
    table = predicted([0, 1, 2], [[0.3, 0.3, 0.4], [0.5, 0.0, 0.5], [0.2, 0.2, 0.6]], list("pqr"))
    m = measured(cases_of(table, ("a", "b"), None))
    found = operating_point_section(at(0.5, ("a", "b")), table, m, ())
    assert found["counts"] == {"tp": 2, "fn": 0, "fp": 0, "tn": 1}


def test_reliability_is_that_of_the_decision_and_of_each_class() -> None:
    y_prob = np.random.default_rng(0).dirichlet(np.ones(3), 90)
    c = by_hand(np.arange(90) % 2, y_prob)  # "c" is absent
    found = calibration_section(c)
    assert found["score"] == "highest probability"
    assert list(found["classes"]) == ["a", "b"]
    for bins, hit, score in (
        (found["bins"], c.y_pred == c.y_true, y_prob.max(1)),
        (found["classes"]["b"]["bins"], c.y_true == 1, y_prob[:, 1]),
    ):
        n = np.array([b["n"] for b in bins])
        assert n.sum() == 90
        assert n @ [b["observed"]["value"] for b in bins] == pytest.approx(hit.sum())
        assert n @ [b["mean_prob"] for b in bins] == pytest.approx(score.sum())
    assert {"slope", "intercept"} <= set(found["classes"]["a"])


def test_the_decision_curve_is_of_the_malignant_score_else_of_the_positive_class() -> None:
    prob = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    y_true = np.arange(30) % 3
    found = decision_section(by_hand(y_true, prob, malignant=("a",)))
    assert found is not None
    assert (found["score"], found["prevalence"], found["n"]) == (
        "malignant",
        pytest.approx(1 / 3),
        30,
    )
    two = decision_section(by_hand(y_true % 2, prob[:, :2] / prob[:, :2].sum(1)[:, None]))
    assert two is not None
    assert two["score"] == "b"  # the second, where none is malignant
    assert decision_section(by_hand(y_true, prob)) is None
    assert decision_section(by_hand([0] * 30, prob, malignant=("a",))) is None  # one kind only


def test_every_score_has_its_curves_and_bands_of_enough_groups_only() -> None:
    prob = np.random.default_rng(0).dirichlet(np.ones(3), 90)
    found = curves_section(measured(by_hand(np.arange(90) % 3, prob, malignant=("a", "b"))))
    assert list(found) == ["a", "b", "c", "malignant"]
    assert found["a"]["roc"]["band"] is not None
    assert found["a"]["pr"]["band"] is None  # 30 groups, 40 needed
    few = curves_section(measured(by_hand(np.arange(30) % 3, prob[:30])))
    assert few["a"]["roc"]["band"] is None
    assert few["a"]["roc"]["tpr"][-1] == 1


def test_what_the_decisions_assume_is_said_of_those_that_were_made() -> None:
    bare = decisions_section("image", (), None)
    assert set(bare) == {"argmax", "unit"}
    assert "which are not known" in bare["argmax"]
    assert bare["unit"] == "each image is one case"
    whole = decisions_section("lesion", ("mel", "bcc"), {"mel": 0.25, "bcc": 0.0512345, "nv": 0.7})
    assert set(whole) == {"argmax", "unit", "prior_corrected", "malignant"}
    assert "(mel 0.25, bcc 0.0512, nv 0.7)" in whole["argmax"]
    assert whole["malignant"] == "score: sum of the probabilities of mel, bcc"
    grades = decisions_section("image", (), None, ("G1", "G2", "G3"))
    assert grades["ordered"] == "the classes are grades, in this order: G1, G2, G3"


CLEAN = by_hand([0, 1, 2], [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])


def test_clean_cases_need_no_note() -> None:
    assert notes_section(0, CLEAN) == ()


@pytest.mark.parametrize(
    ("y_true", "y_prob", "notes"),
    [
        ([0, 1, 1], CLEAN.y_prob, ["absent from the truth, ignored in every mean: c"]),
        ([1, 1, 1], CLEAN.y_prob, ["absent from the truth, ignored in every mean: a, c",
                                   "only one class occurs: no ranking can be measured"]),
        ([0, 1, 2], [[0.4, 0.4, 0.2], [0.2, 0.5, 0.3], [0.1, 0.45, 0.45]],
         ["2 cases have a tie for the highest probability: the first class counts"]),
        ([0, 1, 2], [[0.6, 0.4, 0.0], [0.2, 0.5, 0.3], [0.1, 0.9, 0.0]],
         ["1 case has probability 0 for the true class: nll uses 2.2e-16"]),
        ([0, 1, 2], np.eye(3), ["every probability is 0 or 1, as of decisions: a ranking of them "
                                "has one threshold only"]),
    ],
)  # fmt: skip
def test_what_a_reader_must_know(y_true: list[int], y_prob: np.ndarray, notes: list[str]) -> None:
    c = by_hand(y_true, y_prob)
    assert list(notes_section(0, c)) == notes
    assert list(notes_section(3, c)) == ["3 images have no label and are left out", *notes]


def test_of_three_equal_probabilities_one_case_is_tied() -> None:
    c = replace(CLEAN, y_prob=np.full((3, 3), 1 / 3))
    assert notes_section(0, c)[0].startswith("3 cases have a tie")
