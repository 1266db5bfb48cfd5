"""Pointing and shares by hand; what each part of a picture leaves."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.explanation import localisation


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
