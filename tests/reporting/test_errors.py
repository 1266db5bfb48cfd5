from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import ReportContent
from lesionlab.reporting.language import language
from lesionlab.reporting.sections.errors import LIMIT, SHARES, mistakes, section, worst


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


@pytest.mark.parametrize(
    ("code", "shown"), [("en", "{a} of {b} shown"), ("zh", "共 {b} 例，显示 {a} 例")]
)
def test_a_cap_says_how_many_there_are(
    content: ReportContent, drawn: Callable[..., Predictions], code: str, shown: str
) -> None:
    """A heading with the cap alone, "(24)" of 173, read as the number of mistakes."""
    p = drawn(("mel", "bcc", "nv"), 900)
    focus = dataclasses.replace(content.focus, predictions=p)
    many = dataclasses.replace(content, parts=(focus, *content.parts[1:]))
    found = mistakes(p, ("mel", "bcc"))
    there = int(found["missed"].sum())
    assert there > SHARES["missed"] == len(worst(p, ("mel", "bcc"))["missed"])
    made = section(many, language(code))
    assert made is not None
    titles = [getattr(b, "caption", getattr(b, "title", "")) for b in made.blocks]
    wanted = shown.format(a=SHARES["missed"], b=there)
    assert any(wanted in title for title in titles), titles
