from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.score_values import (
    ScoreColumns,
    probabilities_of,
    probability_of,
    softmax,
)
from lesionlab.evaluation.table_reading import TableReading


def columns(
    rows: list[list[str]], names: tuple[str, ...], logits: bool = False, named: bool = False
) -> ScoreColumns:
    table = pd.DataFrame(rows, columns=list(names), dtype=str)
    return ScoreColumns(table, names, named, Path("p.csv"), TableReading(logits=logits))


def test_exact_probabilities_are_left_alone() -> None:
    values, notes = probabilities_of(columns([["0.3", "0.7"], ["1e-8", "0.99999999"]], ("a", "b")))
    assert values.tolist() == [[0.3, 0.7], [1e-8, 0.99999999]]
    assert notes == []


def test_sums_may_be_off_by_as_much_as_the_decimals_explain() -> None:
    two = columns([["0.33", "0.33", "0.33"]], ("a", "b", "c"))
    values, notes = probabilities_of(two)
    assert values.sum() == pytest.approx(1)
    assert "rounding" in notes[0]
    with pytest.raises(BadInput, match=r"sum to 0\.99"):
        probabilities_of(columns([["0.33000", "0.33000", "0.33000"]], ("a", "b", "c")))


def test_log_probabilities_are_logits_too() -> None:
    p = np.array([[0.2, 0.8], [0.9, 0.1]])
    rows = [[repr(v) for v in row] for row in np.log(p).tolist()]
    values, notes = probabilities_of(columns(rows, ("mel", "nv")))
    assert np.allclose(values, p)
    assert "softmax" in notes[0]


def test_large_logits_do_not_overflow() -> None:
    assert np.allclose(softmax(np.array([[1000.0, 0.0], [-1000.0, 0.0]])), [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    "names", [("p_mel", "p_nv"), ("Prob(mel)", "Prob(nv)"), ("softmax_a", "softmax_b")]
)
def test_a_negative_probability_is_an_error_not_a_logit(names: tuple[str, ...]) -> None:
    rows = [["-0.01", "1.01"], ["0.5", "0.5"]]
    with pytest.raises(BadInput, match=r"outside \[0, 1\]"):
        probabilities_of(columns(rows, names))
    assert "softmax" in probabilities_of(columns(rows, names, logits=True))[1][0]


def test_votes_are_neither() -> None:
    """Whole numbers above 1 that are not per cent: nobody but the user can say."""
    with pytest.raises(BadInput, match="--logits"):
        probabilities_of(columns([["3", "1"], ["0", "4"]], ("mel", "nv")))


def test_columns_named_logits_that_hold_probabilities_are_read_as_what_they_are() -> None:
    found = columns([["0.2", "0.8"], ["0.6", "0.4"]], ("logit_mel", "logit_nv"), named=True)
    values, notes = probabilities_of(found)
    assert values.tolist() == [[0.2, 0.8], [0.6, 0.4]]
    assert notes == ["columns named logits hold probabilities"]


def test_one_column() -> None:
    assert probability_of(columns([["0,25"], ["50%"]], ("p",)))[0].tolist() == [0.25, 0.5]
    values, notes = probability_of(columns([["0.0"], ["-2"]], ("logit",), named=True))
    assert values.tolist() == pytest.approx([0.5, 1 / (1 + np.exp(2))])
    assert "sigmoid" in notes[0]
    with pytest.raises(BadInput, match=r"row 3 lies outside.*--logits"):
        probability_of(columns([["0.5"], ["2"]], ("p",)))
