"""Which classes are taken for which: a small table with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tables import predicted
from lesionlab.explanation.confusions import confused_pairs, errors


def test_confused_pairs_count_both_ways() -> None:
    prob = np.eye(3)
    truth, called = [0] * 5 + [1] * 4 + [2] * 3, [0, 0, 1, 1, 1, 1, 1, 1, 0, 2, 2, 0]
    table = predicted(truth, prob[called].tolist(), [f"p{k}" for k in range(12)])
    first, second = confused_pairs(table)
    assert (first.first, first.second, first.count, first.back) == ("a", "b", 3, 1)
    assert first.first_as_second.value == pytest.approx(3 / 5)
    assert first.second_as_first.value == pytest.approx(1 / 4)
    assert first.of_errors.value == pytest.approx(4 / 5)
    assert (second.first, second.second, second.count, second.back) == ("c", "a", 1, 0)
    assert errors(table) == (5, 12)
