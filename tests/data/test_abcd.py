"""ABCD numbers on shapes and colours whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lesionlab.data import abcd
from lesionlab.data.abcd import (
    MOST,
    NAMES,
    abcd_table,
    asymmetry,
    closeup,
    measure_lesion,
    perimeter,
    to_lab,
)

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


def speckled(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A lobed lesion of two noisy colours in a picture of `side` pixels, and its mask."""
    y, x = np.mgrid[:side, :side] / side - 0.45
    angle = np.arctan2(y, x)
    mask = np.hypot(x, 1.4 * y) <= 0.3 * (1 + 0.2 * np.cos(5 * angle) + 0.1 * np.sin(2 * angle))
    pixels = painted(mask, (95, 60, 45), (238, 205, 190))
    pixels[mask & (x > 0.07)] = (105, 110, 130)
    noise = np.random.default_rng(0).normal(0, 12, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), mask


def test_a_large_lesion_is_shrunk_and_its_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, mask = speckled(900)
    few = measure_lesion(pixels, mask)
    assert closeup(pixels, mask).scale > 1.2
    monkeypatch.setattr(abcd, "MOST", 10_000)
    every = measure_lesion(pixels, mask)
    assert every.area == mask.sum()
    for name in ("area", "diameter", "solidity", "colour_variegation", "contrast", "darkness"):
        assert getattr(few, name) == pytest.approx(getattr(every, name), rel=0.02), name
    for name in ("asymmetry", "border_irregularity"):
        assert getattr(few, name) == pytest.approx(getattr(every, name), abs=0.01), name
    assert few.colours == every.colours == 2


def test_the_dear_steps_see_no_more_pixels_in_a_larger_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, int] = {}
    for name in ("to_lab", "asymmetry", "perimeter", "_outline", "largest_area"):
        work = getattr(abcd, name)

        def watched(part, name=name, work=work):  # type: ignore[no-untyped-def]
            seen[name] = max(seen.get(name, 0), part.shape[0] * part.shape[1])
            return work(part)

        monkeypatch.setattr(abcd, name, watched)
    turn = abcd.ndimage.map_coordinates
    monkeypatch.setattr(abcd.ndimage, "map_coordinates",
                        lambda lesion, places, **options: seen.update(turned=places.shape[1])
                        or turn(lesion, places, **options))  # fmt: skip
    measure_lesion(*speckled(1600))
    assert set(seen) >= {"to_lab", "asymmetry", "perimeter", "_outline", "largest_area", "turned"}
    assert max(n for name, n in seen.items() if name != "turned") <= MOST**2
    assert seen["turned"] <= (2 * MOST + 5) ** 2


def test_a_small_lesion_in_a_large_picture_is_not_shrunk() -> None:
    small = closeup(np.zeros((1200, 1600, 3), np.uint8), np.pad(disc(60), ((0, 1000), (1400, 0))))
    assert small.scale == 1
    assert max(small.lesion.shape) < 220
    assert small.lesion.sum() == disc(60).sum()


def test_skin_around_keeps_away_from_another_lesion() -> None:
    both = disc(40) | (np.hypot(X, Y - 60) <= 8)
    pixels = painted(disc(40), (90, 60, 50), (220, 180, 160))
    pixels[both & ~disc(40)] = (0, 0, 0)
    alone = measure_lesion(painted(disc(40), (90, 60, 50), (220, 180, 160)), disc(40))
    assert measure_lesion(pixels, both).contrast == pytest.approx(alone.contrast)


def test_the_table_has_a_row_an_image() -> None:
    pixels = painted(disc(60), (95, 60, 45), (238, 205, 190))
    table = abcd_table(["a", "b"], lambda i: pixels, lambda i: disc(60) if i else None)
    assert list(table.columns) == ["image_id", *NAMES]
    assert np.isnan(table.loc[0, "area"])
    assert table.loc[1, "colours"] == 1
