"""The report in a real browser: the explorer reads what the evaluation counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import Part, ReportContent
from lesionlab.reporting.report import render

pytestmark = pytest.mark.slow  # a browser

BAD = '<img src=x onerror="document.title=1">'
CLASSES = ("mel", BAD, "nv")


@pytest.fixture(scope="module")
def content() -> ReportContent:
    """300 images; one class is named like an attack."""
    rng = np.random.default_rng(0)
    n = 300
    truth = rng.choice(3, n, p=[0.2, 0.15, 0.65])
    z = rng.normal(0, 1, (n, 3)) + np.log([0.2, 0.15, 0.65])
    z[np.arange(n), truth] += 1.5
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"I{i}" for i in range(n)], object)
    none = np.array([""] * n, object)
    p = Predictions(ids, none, none, CLASSES, truth.astype(np.int64), prob)
    point = choose_operating_point(p, score=CLASSES[:2], chosen_on="valid")
    e = evaluate_predictions(
        p, malignant=CLASSES[:2], operating_points=[point], resampling=Resampling(100)
    ).to_json()
    return ReportContent("a run", (Part("valid", p, e),), CLASSES[:2], openings=[])


def expected(content: ReportContent, threshold: float) -> tuple[int, int, int, int]:
    p = content.focus.predictions
    called, positive = p.y_prob[:, :2].sum(1) >= threshold, p.y_true < 2
    return tuple(
        int(v.sum())
        for v in (called & positive, ~called & positive, called & ~positive, ~called & ~positive)
    )  # type: ignore[return-value]


def shown(page: Any) -> tuple[int, int, int, int]:
    return tuple(
        int(page.inner_text(f"#ex-{name}").replace(",", "")) for name in ("tp", "fn", "fp", "tn")
    )  # type: ignore[return-value]


def threshold(page: Any) -> float:
    """The exact threshold behind the four digits that are shown."""
    data = page.evaluate("JSON.parse(document.getElementById('explorer-data').textContent).t")
    near = float(page.inner_text("#threshold-value"))
    return float(min(data, key=lambda t: abs(t - near)))


def test_it_opens_without_an_error_or_a_request(opened: Any, content: ReportContent) -> None:
    page, complaints = opened(render(content))
    assert page.title().startswith("a run")
    assert page.locator("img").count() == 0  # the hostile class name stayed text
    assert BAD in page.inner_text("#confusion")
    page.wait_for_timeout(100)
    assert complaints == []


def test_it_starts_at_the_locked_point(opened: Any, content: ReportContent) -> None:
    page, complaints = opened(render(content))
    point = content.focus.evaluation["operating_points"][0]
    counts = point["counts"]
    assert shown(page) == (counts["tp"], counts["fn"], counts["fp"], counts["tn"])
    assert page.inner_text("#ex-sensitivity") == f"{point['sensitivity']['value']:.3f}"
    assert page.inner_text("#ex-specificity") == f"{point['specificity']['value']:.3f}"
    assert page.inner_text("#ex-ppv") == f"{point['ppv']['value']:.3f}"
    low, high = point["sensitivity"]["low"], point["sensitivity"]["high"]
    assert page.inner_text("#ex-sensitivity-interval") == f"{low:.3f}–{high:.3f}"
    assert complaints == []


@pytest.mark.parametrize("scale", ["linear", "logit"])
def test_dragging_over_the_histogram_moves_everything(
    opened: Any, content: ReportContent, scale: str
) -> None:
    page, complaints = opened(render(content))
    page.check(f"input[name=scale][value={scale}]")
    svg = page.locator(f"#explorer-{scale}")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    places, dots = [], []
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    for share in (0.3, 0.5, 0.8):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
        assert shown(page) == expected(content, threshold(page))
        places.append(threshold(page))
        dots.append(page.get_attribute("#explorer-roc-dot", "transform"))
    page.mouse.up()
    assert places == sorted(places)
    assert len(set(dots)) == 3
    if scale == "linear":
        assert places[1] == pytest.approx(0.5, abs=0.03)
    page.mouse.move(box["x"], box["y"])  # the button is up: nothing follows any more
    assert threshold(page) == places[-1]
    assert complaints == []


def test_the_keyboard_reaches_every_threshold(opened: Any, content: ReportContent) -> None:
    page, complaints = opened(render(content))
    page.focus("#threshold")
    before = threshold(page)
    page.keyboard.press("ArrowRight")
    assert threshold(page) > before
    assert shown(page) == expected(content, threshold(page))
    page.keyboard.press("ArrowLeft")
    assert threshold(page) == before
    page.keyboard.press("End")
    assert shown(page)[:3:2] == (0, 0)  # nobody is called malignant
    assert page.inner_text("#ex-ppv") == "–"
    page.keyboard.press("Home")
    assert shown(page)[1::2] == (0, 0)  # everybody is
    page.click(".go-locked")
    assert threshold(page) == pytest.approx(before)
    assert "sensitivity" in (page.get_attribute("#threshold", "aria-valuetext") or "")
    assert complaints == []


def test_predictive_values_follow_the_prevalence(opened: Any, content: ReportContent) -> None:
    page, _ = opened(render(content))
    tp, fn, fp, tn = shown(page)
    se, sp = tp / (tp + fn), tn / (tn + fp)
    page.fill("#prevalence", "2")
    ppv = se * 0.02 / (se * 0.02 + (1 - sp) * 0.98)
    assert page.inner_text("#ex-ppv") == f"{ppv:.3f}"
    page.click('.set-prevalence[data-value="0.1"]')
    ppv = se * 0.1 / (se * 0.1 + (1 - sp) * 0.9)
    assert page.inner_text("#ex-ppv") == f"{ppv:.3f}"
    assert "100" in page.inner_text("#ex-frequency")
    point = content.focus.evaluation["operating_points"][0]
    at = next(row for row in point["at_prevalence"] if row["prevalence"] == 0.1)
    for name, digits in (("ppv", 3), ("npv", 4)):
        low, high = (f"{at[name][k]:.{digits}f}" for k in ("low", "high"))
        assert page.inner_text(f"#ex-{name}-interval") == f"{low}–{high}"
    page.fill("#prevalence", "0")  # refused: the last value stays
    assert page.inner_text("#ex-ppv") == f"{ppv:.3f}"


def test_on_test_it_warns_beside_the_slider(opened: Any, content: ReportContent) -> None:
    part = dataclasses.replace(content.focus, name="test")
    page, _ = opened(render(dataclasses.replace(content, parts=(part,))))
    assert "Do not choose a threshold here" in page.inner_text("#explorer p.danger")
    page, _ = opened(render(content))
    assert page.locator("#explorer p.danger").count() == 0


def test_tables_open_and_nothing_is_wider_than_a_phone(opened: Any, content: ReportContent) -> None:
    page, complaints = opened(
        render(content), viewport={"width": 390, "height": 800}, has_touch=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    summary = page.locator("#confusion summary").first
    summary.scroll_into_view_if_needed()
    summary.click()
    assert page.locator("#confusion details[open] td").first.is_visible()
    assert complaints == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_prints(opened: Any, content: ReportContent, lang: str) -> None:
    page, _ = opened(render(content, lang))
    assert page.pdf(format="A4").startswith(b"%PDF")
