"""The chart of repeated runs: which rows stand in it, in which order, and how far its axis goes."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from lesionlab.reporting.repeats_chart import repeats_chart

SVG = "{http://www.w3.org/2000/svg}"


def spread(mean: float, sd: float | None, n: int = 3) -> dict[str, Any]:
    return {"mean": mean, "sd": sd, "n": n}


def told(name: str = "tiny", leaky: bool = False, **more: Any) -> dict[str, Any]:
    parts = {"fold": {"roc_auc": spread(0.8, 0.05), "accuracy": spread(0.7, None, 1)}}
    return {"name": name, "leaky": leaky, "parts": parts} | more


def texts(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return ["".join(element.itertext()) for element in found]


def test_rows_come_by_metric_and_give_mean_sd_and_n() -> None:
    found = texts(repeats_chart([told(test={"roc_auc": spread(0.75, 0.01)})]))
    rows = [t for t in found if not re.fullmatch(r"[01](\.\d{1,2})?|mean . 1 .*", t) and t]
    assert rows == [
        "ROC AUC", "fold", "0.800 (SD 0.050, n = 3)", "test", "0.750 (SD 0.010, n = 3)",
        "accuracy", "fold", "0.700",
    ]  # fmt: skip


def test_several_presets_are_named_in_their_rows_and_the_leaky_one_is_called_so() -> None:
    svg = repeats_chart([told("one"), told("two", leaky=True)])
    assert [t for t in texts(svg) if t.endswith(", fold")] == ["one, fold", "LEAKY: two, fold"] * 2
    assert "one, LEAKY: two: repeated" in svg


def numbers_of_the_axis(svg: str) -> list[float]:
    return [float(t) for t in texts(svg) if re.fullmatch(r"[01](\.\d{1,2})?", t)]


@pytest.mark.parametrize("low", [spread(0.2, None, 1), spread(0.25, 0.05)])
def test_the_axis_reaches_down_to_the_lowest_row(low: dict[str, Any]) -> None:
    """A single run has no SD; it lies on the axis all the same, not over its own name."""
    both = told(parts={"fold": {"roc_auc": spread(0.9, 0.02), "malignant_ppv": low}})
    assert min(numbers_of_the_axis(repeats_chart([both]))) <= 0.2
    alone = told(parts={"fold": {"roc_auc": spread(0.9, 0.02)}})
    assert min(numbers_of_the_axis(repeats_chart([alone]))) == 0.5


def test_a_whisker_ends_where_the_scale_ends() -> None:
    wide, cut = (
        repeats_chart([told(parts={"fold": {"roc_auc": spread(mean, sd)}})])
        for mean, sd in ((0.95, 0.4), (0.95, 0.05))
    )
    ends = [re.findall(r"H([\d.]+)\"[^>]*whisker", svg) for svg in (wide, cut)]
    assert ends[0]
    assert ends[0] == ends[1]


def test_nothing_measured_is_an_empty_chart() -> None:
    assert "<svg" in repeats_chart([told(parts={})])


def test_a_hostile_name_stays_text() -> None:
    svg = repeats_chart([told("</title><script>alert(1)</script>")])
    assert ElementTree.fromstring(svg).find(f".//{SVG}script") is None
