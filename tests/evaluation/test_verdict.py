"""The sentence on a pair says no more than its interval and its test."""

from __future__ import annotations

import pytest

from helpers.two_models import TWO
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.primary import primary_of
from lesionlab.evaluation.verdict import verdict

AUC, NLL = primary_of("roc_auc", TWO, ()), primary_of("nll", TWO, ())
AB = ("a", "b")


def test_verdicts() -> None:
    near = Measure(0.01, -0.02, 0.04, 100, "")
    assert verdict(AUC, AB, near, 0.3) == (
        "not distinguishable; a difference in roc auc above 0.040 is excluded"
    )
    far = Measure(-0.05, -0.08, -0.02, 100, "")
    assert verdict(AUC, AB, far, 0.01).startswith("b is better: roc auc differs by 0.050")
    assert "0.020 to 0.080" in verdict(AUC, AB, far, 0.01)
    assert verdict(NLL, AB, far, 0.01).startswith("a is better")


def test_a_limit_is_printed_as_it_is() -> None:
    """Not clipped at 0, and never as 0.000 when it lies on one side of it."""
    assert "-0.002 to 0.188" in verdict(AUC, AB, Measure(0.09, -0.002, 0.188, 60, ""), 0.04)
    assert "0.0002 to 0.188" in verdict(AUC, AB, Measure(0.09, 0.0002, 0.188, 60, ""), 0.04)
    assert "-0.188 to" not in verdict(AUC, AB, Measure(-0.09, -0.188, 0.002, 60, ""), 0.04)


@pytest.mark.parametrize(
    ("interval", "p", "shown"),
    [
        ((0.05, -0.01, 0.11), 0.03, "the interval contains 0, but the test gives p = 0.030"),
        ((0.05, 0.01, 0.11), 0.07, "does not contain 0, but the test gives p = 0.070"),
        ((-0.05, -0.11, -0.01), 0.07, "differs by 0.050 (95 % interval 0.010 to 0.110)"),
    ],
)
def test_where_test_and_interval_disagree_nobody_is_better(
    interval: tuple[float, float, float], p: float, shown: str
) -> None:
    text = verdict(AUC, AB, Measure(*interval, 60, ""), p)
    assert text.startswith("undecided: ")
    assert shown in text
    assert "better" not in text


def test_no_discordant_case_excludes_nothing() -> None:
    text = verdict(AUC, AB, Measure(0.0, -0.1, 0.1, 30, ""), 1.0, discordant=False)
    assert text == ("not distinguishable: no case tells them apart by roc auc; nothing is excluded")


def test_a_bound_is_rounded_up_and_never_0() -> None:
    def said(high: float) -> str:
        return verdict(AUC, AB, Measure(0.0, -high, high, 60, ""), 0.9)

    assert "above 0.033 is" in said(0.0324)
    assert "above 0.030 is" in said(0.03)
    assert "above 0.0005 is" in said(0.00041)
    assert "above 2.0e-08 is" in said(2e-8)


def test_a_p_value_is_never_0() -> None:
    assert "p < 0.001" in verdict(AUC, AB, Measure(0.05, -0.01, 0.11, 60, ""), 0.0002)
