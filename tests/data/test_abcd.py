"""ABCD numbers on shapes and colours whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lesionlab.data.abcd import NAMES, abcd_table, asymmetry, measure_lesion, perimeter, to_lab

SIDE = 200
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE // 2


def disc(radius: float) -> np.ndarray:
    return radius**2 >= X**2 + Y**2


def painted(mask: np.ndarray, inside: tuple[int, ...], outside: tuple[int, ...]) -> np.ndarray:
    pixels = np.empty((*mask.shape, 3), np.uint8)
    pixels[mask], pixels[~mask] = inside, outside
    return pixels


def test_a_disc_is_round_symmetric_and_of_one_colour() -> None:
    found = measure_lesion(painted(disc(60), (95, 60, 45), (238, 205, 190)), disc(60))
    assert found.area == pytest.approx(math.pi * 60**2, rel=0.01)
    assert found.diameter == pytest.approx(120, abs=2.5)
    assert found.border_irregularity < 0.03
    assert found.asymmetry < 0.02
    assert found.solidity > 0.97
    assert found.colour_variegation == pytest.approx(0, abs=1e-9)
    assert found.colours == 1
    light, dark = to_lab(np.array([[238, 205, 190], [95, 60, 45]], np.uint8))
    assert found.contrast == pytest.approx(np.linalg.norm(light - dark))
    assert found.darkness == pytest.approx(light[0] - dark[0])


@pytest.mark.parametrize("radius", [20, 50, 80])
def test_perimeter_of_a_disc(radius: int) -> None:
    assert perimeter(disc(radius)) == pytest.approx(2 * math.pi * radius, rel=0.02)


def test_perimeter_of_a_square_is_within_the_known_error_of_four_directions() -> None:
    square = np.zeros((80, 80), bool)
    square[10:70, 10:70] = True
    assert perimeter(square) == pytest.approx(240, rel=0.06)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.1])
def test_an_ellipse_is_symmetric_however_it_is_turned(turn: float) -> None:
    u, v = np.cos(turn) * X + np.sin(turn) * Y, np.cos(turn) * Y - np.sin(turn) * X
    assert asymmetry((u / 70) ** 2 + (v / 35) ** 2 <= 1) < 0.03


def test_a_half_that_has_no_mirror_image() -> None:
    # A long bar with a bump on one side only: the bump has no mirror image along one axis.
    bar = (np.abs(X) <= 80) & (np.abs(Y) <= 10)
    bump = (np.abs(X) <= 10) & (Y > 10) & (Y <= 40)
    lopsided = asymmetry(bar | bump)
    assert lopsided > asymmetry(bar) + 0.05
    assert asymmetry(bar) < 0.03


def test_a_ragged_outline_is_more_irregular_and_less_solid() -> None:
    angle = np.arctan2(Y, X)
    ragged = np.hypot(X, Y) <= 60 * (1 + 0.25 * np.cos(9 * angle))
    plain = measure_lesion(painted(disc(60), (0, 0, 0), (255, 255, 255)), disc(60))
    found = measure_lesion(painted(ragged, (0, 0, 0), (255, 255, 255)), ragged)
    assert found.border_irregularity > plain.border_irregularity + 0.3
    assert found.solidity < 0.9


def test_colours_are_counted() -> None:
    pixels = painted(disc(60), (95, 60, 45), (238, 205, 190))
    pixels[disc(60) & (X > 20)] = (105, 110, 130)
    pixels[disc(60) & (X < -20)] = (175, 75, 70)
    found = measure_lesion(pixels, disc(60))
    assert found.colours == 3
    assert found.colour_variegation > 10


def test_shift_and_size_change_only_what_they_must() -> None:
    small, moved = disc(40), np.roll(disc(40), 13, 1)
    skin = (220, 180, 160)
    a, b = (measure_lesion(painted(m, (90, 60, 50), skin), m) for m in (small, moved))
    for name in NAMES:
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-6), name
    large = measure_lesion(painted(disc(80), (90, 60, 50), skin), disc(80))
    assert large.diameter == pytest.approx(2 * a.diameter, rel=0.03)
    assert large.border_irregularity == pytest.approx(a.border_irregularity, abs=0.02)


def test_no_lesion_is_unknown_and_specks_do_not_count() -> None:
    nothing = measure_lesion(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), bool))
    assert set(nothing.to_json().values()) == {None}
    specks = disc(40)
    specks[2:4, 2:4] = True
    assert measure_lesion(np.zeros((SIDE, SIDE, 3), np.uint8), specks).area == disc(40).sum()


def test_a_lesion_that_fills_the_picture_has_no_skin_around() -> None:
    found = measure_lesion(np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), bool))
    assert math.isnan(found.contrast)
    assert found.to_json()["contrast"] is None
    assert found.area == 900


def test_the_table_has_a_row_an_image() -> None:
    pixels = painted(disc(60), (95, 60, 45), (238, 205, 190))
    table = abcd_table(["a", "b"], lambda i: pixels, lambda i: disc(60) if i else None)
    assert list(table.columns) == ["image_id", *NAMES]
    assert np.isnan(table.loc[0, "area"])
    assert table.loc[1, "colours"] == 1
