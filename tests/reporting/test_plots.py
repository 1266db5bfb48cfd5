from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from lesionlab.reporting import plots
from lesionlab.reporting.svg import Axis, Frame

SVG = "{http://www.w3.org/2000/svg}"
FRAME = Frame(Axis("x", 0, 1), Axis("y", 0, 1))
BAD = "<script>alert(1)</script>"
BINS = [plots.Point("", 0.2, 0.3, y_range=(0.1, 0.5))]

CHARTS: dict[str, Markup] = {
    "curve": plots.curve_plot(
        "k", BAD, BAD, FRAME, [plots.Curve(BAD, [0, 1], [0, 1], [0, 0.5], [0.2, 1])],
        reference=([0, 1], [0, 1]), points=[plots.Point(BAD, 0.5, 0.5, (0.4, 0.6), (0.4, 0.6))],
    ),
    "forest": plots.forest(
        "k", BAD, BAD, [plots.Interval(BAD, 0.5, 0.4, 0.6, "0.5"), plots.Interval("?", None)],
        Axis("v", 0, 1), reference=0.5,
    ),
    "confusion": plots.confusion("k", BAD, BAD, [BAD, "b"], [[3, 1], [0, 0]], "t", "c", "n"),
    "bars": plots.bars("k", BAD, BAD, [BAD, "b"], [("one", [3, 0], 0), ("two", [1, 2], 1)], "n"),
    "butterfly": plots.butterfly(
        "k", BAD, BAD,
        plots.TwoHistograms(Axis("p", 0, 1), [0, 0.5, 1], (BAD, [1, 3]), ("b", [0, 0])),
    )[0],
    "reliability": plots.reliability("k", BAD, BAD, FRAME, BINS, [(0, 0.5, 3), (0.5, 1, 0)], "n"),
    "flow": plots.flow("k", BAD, BAD, (BAD, "9"), [((BAD, "4"), True), (("b", "5"), False)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_an_image_with_a_name_a_description_and_no_script(name: str) -> None:
    root = ElementTree.fromstring(str(CHARTS[name]))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    ids = {e.get("id"): e.text for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")}
    named = (root.get("aria-labelledby") or "").split()
    assert set(named) == set(ids)
    assert [ids[k] for k in named] == [BAD, BAD]
    assert not list(root.iter(f"{SVG}script"))
    assert "nan" not in str(CHARTS[name]).lower().replace("finance", "")


def numbers(chart: Markup, class_: str) -> list[str]:
    root = ElementTree.fromstring(str(chart))
    return [e.text or "" for e in root.iter(f"{SVG}text") if class_ in (e.get("class") or "")]


def test_confusion_rows_sum_to_one_and_an_absent_class_has_none() -> None:
    counts = np.array([[8, 1, 1], [2, 6, 2], [0, 0, 0]])
    chart = plots.confusion("k", "t", "d", ["a", "b", "c"], counts, "truth", "called", "n")
    shares = [t for t in numbers(chart, "label") if t.replace(".", "").isdigit() or t == "–"]
    assert shares == ["0.80", "0.10", "0.10", "0.20", "0.60", "0.20", "–", "–", "–"]


def test_a_curve_without_a_name_stands_in_no_legend() -> None:
    band = plots.Curve("", [0, 1], [np.nan, np.nan], [0, 0], [1, 1])
    chart = plots.curve_plot("k", "t", "d", FRAME, [plots.Curve("shown", [0, 1], [0, 1]), band])
    assert numbers(chart, "small") == ["shown"]
    assert 'class="band s0"' in chart


def test_hollow_points_are_not_filled() -> None:
    solid, hollow = (plots.point(FRAME, plots.Point("p", 0.5, 0.5, solid=s)) for s in (True, False))
    assert "fill" in str(solid)
    assert "fill" not in str(hollow)


def test_the_threshold_splits_the_histogram() -> None:
    both = plots.TwoHistograms(Axis("p", 0, 1), [0, 0.5, 1], ("m", [1, 3]), ("b", [2, 2]))
    chart, frame = plots.butterfly("k", "t", "d", both, threshold=0.25)
    window = next(ElementTree.fromstring(str(chart)).iter(f"{SVG}clipPath"))[0]
    assert float(window.get("x", "0")) == pytest.approx(float(frame.px(0.25)), abs=0.1)
    end = float(window.get("x", "0")) + float(window.get("width", "0"))
    assert end == pytest.approx(frame.right, abs=0.1)


def test_a_forest_has_as_many_reference_lines_as_are_asked_for() -> None:
    rows = [plots.Interval("a", 0.2, 0.1, 0.3)]
    for reference, lines in ((None, 0), (0.5, 1), ((-0.5, 0.5), 2)):
        svg = plots.forest("k", "t", "d", rows, Axis("v", -1, 1), reference=reference)
        assert str(svg).count('class="reference"') == lines
