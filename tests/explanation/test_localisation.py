"""Pointing and shares by hand; what each part of a picture leaves."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.explanation import localisation
from lesionlab.explanation.statistics import mean_measure, rank_correlation


def square(top: int, left: int, size: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def test_pointing_hits_misses_and_does_not_know() -> None:
    masks = np.stack([square(2, 2, 4)] * 4 + [np.zeros((20, 20), bool)])
    maps = np.zeros((5, 20, 20), np.float32)
    maps[0, 3, 3] = 1
    maps[1, 15, 15] = 1
    maps[2, [3, 15], [3, 15]] = 1  # two highest points, one of them inside
    maps[4, 3, 3] = 1
    found = localisation.pointing(maps, masks)
    assert found[:3].tolist() == [1, 0, 0.5]
    assert np.isnan(found[3])  # constant
    assert np.isnan(found[4])  # no mask


def test_share_inside_counts_positive_attribution_only() -> None:
    mask = square(0, 0, 2)[None]
    maps = np.zeros((1, 20, 20), np.float32)
    maps[0, 0, 0], maps[0, 10, 10], maps[0, 5, 5] = 3, 1, -100
    assert localisation.share_inside(maps, mask).tolist() == [0.75]
    assert np.isnan(localisation.share_inside(-np.ones_like(maps), mask)[0])


def test_references_point_to_the_middle_and_anywhere() -> None:
    middle = localisation.centre(2, 21)
    assert np.unravel_index(middle[0].argmax(), (21, 21)) == (10, 10)
    assert localisation.pointing(middle, np.stack([square(8, 8, 5, 21)] * 2)).tolist() == [1, 1]
    drawn = localisation.random(400, 20)
    hits = localisation.pointing(drawn, np.stack([square(0, 0, 10)] * 400))
    assert hits.mean() == pytest.approx(0.25, abs=0.07)
    assert (drawn == localisation.random(400, 20)).all()


def test_parts_of_a_picture() -> None:
    mask = square(6, 6, 8)
    ring = localisation.ring(mask)
    assert ring[6, 10]
    assert ring[5, 10]
    assert not ring[10, 10]
    assert not ring[0, 0]
    diamond = np.abs(np.arange(20) - 10)[:, None] + np.abs(np.arange(20) - 10)[None] <= 5
    assert (localisation.box(diamond) == square(5, 5, 11)).all()
    view = np.random.default_rng(0).integers(0, 255, (1, 20, 20, 3)).astype(np.uint8)
    kept = {p: localisation.only(p, view, diamond[None])[0] for p in localisation.PARTS}
    assert (kept["whole"] == view[0]).all()
    assert (kept["lesion_only"][diamond] == view[0][diamond]).all()
    assert (kept["lesion_only"][~diamond] == view[0][diamond].mean(0).round()).all()
    box = square(5, 5, 11)
    assert (
        kept["background_only"][box] == view[0][~box].mean(0).round()
    ).all()  # the shape is hidden with the lesion
    assert (kept["background_only"][~box] == view[0][~box]).all()
    other = np.where(box[None, ..., None], 255 - view, view)  # what was taken away never shows
    assert (localisation.only("background_only", other, diamond[None])[0]
            == kept["background_only"]).all()  # fmt: skip
    assert localisation.left_over("background_only", diamond[None])[0] == pytest.approx(279 / 400)


def test_mean_measure_takes_the_group_as_its_unit() -> None:
    draw = np.random.default_rng(0)
    values = np.repeat(draw.normal(size=30), 10)  # ten copies of each tell nothing new
    once = mean_measure(values[::10], np.arange(30).astype(object))
    ten = mean_measure(values, np.repeat(np.arange(30), 10).astype(object))
    assert ten.low == pytest.approx(once.low)
    assert ten.high == pytest.approx(once.high)
    assert ten.n == 300


def test_mean_measure_covers_and_knows_when_it_cannot() -> None:
    draw = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 3).astype(object)
    hits = 0
    for _ in range(300):
        values = np.repeat(draw.normal(size=15), 3) + 0.5 * draw.normal(size=45)
        m = mean_measure(values, groups)
        assert m.low is not None
        assert m.high is not None
        hits += m.low <= 0 <= m.high
    assert 0.91 < hits / 300 < 0.99
    few = mean_measure(np.arange(4.0), np.arange(4).astype(object))
    assert few.low is None
    assert "too few" in few.method
    assert mean_measure(np.array([np.nan]), np.array(["a"], object)).value is None


def test_rank_correlation_ignores_the_scale_and_refuses_constants() -> None:
    a = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
    assert rank_correlation(a, np.exp(a)).tolist() == pytest.approx([1, 1])
    assert rank_correlation(a, -a).tolist() == pytest.approx([-1, -1])
    assert np.isnan(rank_correlation(a, np.zeros_like(a))).all()
