from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from lesionlab.reporting.svg import Axis, Frame, fit, label, nice_ticks, path, tag, text_width


def test_text_and_attributes_are_escaped() -> None:
    made = tag("text", "<b>&", class_='"><script>')
    assert str(made) == '<text class="&#34;&gt;&lt;script&gt;">&lt;b&gt;&amp;</text>'


def test_children_that_are_markup_are_kept() -> None:
    assert str(tag("g", label("x", 1, 2))) == '<g><text x="1" y="2" class="label">x</text></g>'


def test_path_keeps_every_corner_and_drops_what_lies_on_a_line() -> None:
    x, y = [0, 1, 2, 3, 3, 3, 10], [0, 0, 0, 0, 5, 9, 9]
    assert 'd="M0,0L3,0L3,9L10,9"' in path(x, y, "line")


def test_path_keeps_a_turn_back_on_the_same_line() -> None:
    assert 'd="M0,0L5,0L2,0"' in path([0, 5, 2], [0, 0, 0], "line")


def test_path_skips_unknown_points() -> None:
    assert 'd="M0,0L2,2"' in path([0, 1, 2], [0, np.nan, 2], "line")
    assert path([np.nan], [1], "line") == ""


@pytest.mark.parametrize("kind", ["linear", "log", "logit"])
def test_an_axis_rises_from_its_low_to_its_high_end(kind: str) -> None:
    axis = Axis("a", 0.01, 0.9, kind)  # type: ignore[arg-type]
    shares = axis.share(np.array([0.01, 0.1, 0.5, 0.9]))
    assert shares[0] == pytest.approx(0)
    assert shares[-1] == pytest.approx(1)
    assert (np.diff(shares) > 0).all()
    assert axis.share(-5) == 0
    assert Axis("a", 0.01, 0.9, kind, reverse=True).share(0.01) == 1  # type: ignore[arg-type]


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (0.35, 1.42), (-3, 12345), (1e-6, 3e-6)):
        ticks = nice_ticks(low, high)
        assert 3 <= len(ticks) <= 9
        assert all(low - 1e-9 <= t <= high + 1e-9 for t in ticks)
    assert nice_ticks(2, 2) == (2,)
    assert Axis("lr", 1e-5, 2e-3, "log").marks() == (1e-5, 1e-4, 1e-3)


def test_larger_values_lie_higher() -> None:
    frame = Frame(Axis("x", 0, 10), Axis("y", 0, 1))
    assert frame.py(0) == frame.bottom
    assert frame.py(1) == frame.top
    assert frame.px(10) == frame.right
    ElementTree.fromstring(f"<g>{frame.draw()}</g>")


def test_wide_characters_count_twice() -> None:
    assert text_width("恶性") > 1.5 * text_width("ab")
    assert fit("short", 100) == "short"
    assert text_width(fit("x" * 90, 80)) <= 80
