from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.sections.errors import LIMIT, worst


def test_the_surest_mistakes_come_first_one_a_lesion(drawn: Callable[..., Predictions]) -> None:
    p = drawn(("mel", "bcc", "nv"), 600)
    found = worst(p, ("mel", "bcc"))
    y_pred = p.y_prob.argmax(1)
    for kind, rows in found.items():
        assert len(rows) > 0, kind
        assert (y_pred[rows] != p.y_true[rows]).all()
        truth = p.y_prob[rows, p.y_true[rows]]
        assert (np.diff(truth) >= 0).all()
        assert len(set(p.lesion_id[rows])) == len(rows)
    assert (p.y_true[found["missed"]] < 2).all()
    assert (y_pred[found["missed"]] == 2).all()
    assert (p.y_true[found["alarm"]] == 2).all()
    assert (y_pred[found["alarm"]] < 2).all()
    assert sum(map(len, found.values())) <= LIMIT


def test_without_malignant_classes_all_mistakes_are_confusions(
    drawn: Callable[..., Predictions],
) -> None:
    p = drawn(("a", "b", "c"), 900)
    found = worst(p, ())
    assert {k: len(v) for k, v in found.items()} == {"missed": 0, "alarm": 0, "confused": LIMIT}
