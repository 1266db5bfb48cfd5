"""Sections that need more than predictions: subgroups, readers, the checklist."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import Cards, Chart, Paragraph, Part, ReportContent, Table
from lesionlab.reporting.language import language
from lesionlab.reporting.report import render
from lesionlab.reporting.sections import (
    calibration,
    checklist,
    decision,
    headline,
    provenance,
    readers,
    subgroups,
)
from lesionlab.reporting.sections.curves import readers as reader_points

WORDS = language("en")


def measure(value: float | None, half: float | None = None, n: int = 50) -> dict[str, Any]:
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "n": n, "method": "test"}


def level(name: str, metric: dict[str, Any], note: str = "") -> dict[str, Any]:
    return {
        "level": name, "n": 50, "groups": 40, "positives": 9, "metric": metric,
        "calibration": measure(0.01, 0.02), "predicted": 0.2, "observed": 0.21,
        "sensitivity": measure(0.9, 0.05), "specificity": measure(0.8, 0.05), "note": note,
    }  # fmt: skip


def comparison(difference: dict[str, Any], same: bool = True) -> dict[str, Any]:
    point = {"name": "eight readers", "sensitivity": measure(0.7, 0.1),
             "specificity": measure(0.8, 0.1), "same_images": same}  # fmt: skip
    return {
        "point": point, "images": 50, "reader": {"specificity": measure(0.8, 0.1)},
        "difference": {readers.PAIRED: difference}, "beaten": None,
    }  # fmt: skip


def test_subgroups_say_too_few_instead_of_guessing(content: ReportContent) -> None:
    rows = [level("female", measure(0.9, 0.03)), level("male", measure(0.4), "too few to say")]
    attribute = {"name": "sex", "metric": "roc_auc", "fewest": 20,
                 "everybody": level("all", measure(0.88, 0.02)), "levels": rows}  # fmt: skip
    made = subgroups.section(dataclasses.replace(content, subgroups=[attribute]), WORDS)
    assert made is not None
    chart = made.blocks[1]
    assert isinstance(chart, Chart)
    assert "0.400 (too few to say)" in str(chart.svg)
    assert str(chart.svg).count("whisker") == 2  # everybody and female: no line without interval
    assert chart.table is not None
    assert [row[0] for row in chart.table.rows] == ["all cases", "female", "male"]
    assert subgroups.section(content, WORDS) is None


def test_readers_are_only_told_apart_where_the_interval_says_so(content: ReportContent) -> None:
    def said(difference: dict[str, Any]) -> str:
        shown = dataclasses.replace(content, readers=[comparison(difference)])
        made = readers.section(shown, WORDS)
        assert made is not None
        assert isinstance(made.blocks[1], Paragraph)
        return made.blocks[1].text

    assert "minus that of the pooled reader was +0.100" in said(measure(0.1, 0.05))
    assert "do not show a difference" not in said(measure(0.1, 0.05))
    assert "do not show a difference" in said(measure(0.1, 0.2))
    assert "too few images" in said(measure(0.1))
    assert readers.section(content, WORDS) is None


def test_reader_points_are_solid_on_the_same_images_only(content: ReportContent) -> None:
    gap = measure(0.1, 0.2)
    shown = dataclasses.replace(
        content,
        readers=[comparison(gap), comparison(gap, same=False)],
        published=[comparison(gap, same=False)["point"] | {"sensitivity": measure(0.8)}],
    )
    points = reader_points(shown)
    assert [p.solid for p in points] == [True, False, False]
    assert points[0].x_range is not None
    assert points[2].y_range is None  # published without an interval
    made = readers.section(shown, WORDS)
    assert made is not None
    assert isinstance(made.blocks[-1], Table)
    assert [row[-1] for row in made.blocks[-1].rows] == ["yes", "some of them", "no"]


def test_the_checklist_fills_in_what_is_known_and_nothing_else(content: ReportContent) -> None:
    def rows(shown: ReportContent) -> dict[str, str]:
        table = checklist.section(shown, WORDS).blocks[1]
        assert isinstance(table, Table)
        return {row[0]: row[3] for row in table.rows}

    full = rows(content)
    assert full["Funding and competing interests"] == full["Ethics approval"] == "NOT PROVIDED"
    assert "net" in full["Details of the model"]
    bare = dataclasses.replace(content, data=None, config=None, history=(), openings=None)
    for topic in ("Details of the model", "How the data were split", "Initial weights"):
        assert rows(bare)[topic] == "NOT PROVIDED"
    assert content.data is not None
    leaky = dataclasses.replace(content, data=dataclasses.replace(content.data, leaky=True))
    assert "LEAKY" in rows(leaky)["Level at which the splits are disjoint"]


def test_what_a_run_wrote_down_stands_beside_its_curves(content: ReportContent) -> None:
    line = "warning: differs from the input of the weights (w.pth): size 64 (theirs: 160)"
    noted = dataclasses.replace(content, training_notes=(line,))
    assert line in render(noted, "en")
    assert line not in render(content, "en")


def of(content: ReportContent, predictions: Predictions, **options: Any) -> ReportContent:
    """The content with one part, of these predictions."""
    kept = tuple(c for c in content.malignant if c in predictions.classes)
    found = evaluate_predictions(predictions, malignant=kept, **options).to_json()
    return dataclasses.replace(content, parts=(Part("valid", predictions, found),), malignant=kept)


def test_chance_is_of_the_classes_that_occur(
    content: ReportContent, drawn: Callable[..., Predictions]
) -> None:
    def chance(shown: ReportContent) -> str:
        cards = headline.section(shown, WORDS).blocks[0]
        assert isinstance(cards, Cards)
        return cards.items[0].note

    assert chance(content) == "chance: 0.333"
    data = drawn(("mel", "bcc", "nv"))
    assert chance(of(content, data.take(data.y_true != 1))) == "chance: 0.500"


@pytest.mark.parametrize(("k", "says"), [(2, "half of the sum over both"), (3, "summed over cl")])
def test_the_brier_score_is_explained_as_it_is_computed(
    content: ReportContent, drawn: Callable[..., Predictions], k: int, says: str
) -> None:
    data = drawn(("mel", "bcc", "nv"))
    if k == 2:
        data = data.take(data.y_true != 1)
        prob = data.y_prob[:, [0, 2]] / data.y_prob[:, [0, 2]].sum(1, keepdims=True)
        data = dataclasses.replace(
            data, classes=("mel", "nv"), y_true=data.y_true // 2, y_prob=prob, logits=None
        )
    shown = of(content, data)
    table = next(
        b for b in calibration.section(shown, WORDS).blocks
        if isinstance(b, Table) and b.rows[1][0] == "Brier score"
    )  # fmt: skip
    squares = (data.y_prob - np.eye(k)[data.y_true]) ** 2
    expected = squares[:, 0].mean() if k == 2 else squares.sum(1).mean()
    assert table.rows[1][1].startswith(f"{expected:.3f}")
    assert says in table.rows[1][2]


def decided(score: np.ndarray, y_true: np.ndarray, content: ReportContent) -> tuple[str, Table]:
    """The sentence on the decision curve of two classes, and its table."""
    n = len(score)
    names, none = np.array([f"i{i}" for i in range(n)], object), np.full(n, "", object)
    prob = np.stack([1 - score, score], axis=1)
    data = Predictions(names, none, none, ("nv", "mel"), y_true, prob)
    made = decision.section(of(content, data), WORDS)
    assert made is not None
    sentence, chart = made.blocks[1:]
    assert isinstance(sentence, Paragraph)
    assert isinstance(chart, Chart)
    assert chart.table is not None
    return sentence.text, chart.table


def test_a_gain_is_said_where_its_interval_says_so(content: ReportContent) -> None:
    generator = np.random.default_rng(0)
    y_true = (generator.random(300) < 0.3).astype(np.int64)
    good = 1 / (1 + np.exp(-(generator.normal(size=300) * 2 + 6 * y_true - 4)))
    text, table = decided(good, y_true, content)
    assert text.startswith("At threshold probabilities 0.")
    assert "pointwise" in text
    assert table.columns[-1] == "model minus the better of the two"
    assert all("(" in row[-1] for row in table.rows)
    chance, _ = decided(generator.random(300), y_true, content)
    assert chance.startswith("At no threshold probability")
    assert "does not show that the model is of no use" in chance
    few, table = decided(good[:30], y_true[:30], content)
    assert few.startswith("There are too few groups")
    assert not any("(" in row[-1] for row in table.rows)


def test_the_order_of_grades_is_stated(
    content: ReportContent, drawn: Callable[..., Predictions]
) -> None:
    shown = of(content, drawn(("mel", "bcc", "nv")), ordered=True)
    section = provenance.section(shown, WORDS)
    cells = [row for b in section.blocks if isinstance(b, Table) for row in b.rows]
    assert ("Order of the classes", "the classes are grades, in this order: mel, bcc, nv") in cells
    assert "quadratic_kappa" in shown.focus.evaluation["metrics"]
    assert "quadratic_kappa" not in content.focus.evaluation["metrics"]
