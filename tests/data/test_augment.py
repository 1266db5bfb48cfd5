"""Augmentation by the batch: invariants, and a slow reference to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="augmentation needs the extra 'train'")

from lesionlab.config import AugmentSettings  # noqa: E402
from lesionlab.data import augment as module  # noqa: E402
from lesionlab.data.augment import augment, draw_epoch, fixed_views, to_input  # noqa: E402
from lesionlab.data.images import Preprocessing, normalise  # noqa: E402

PLAIN = Preprocessing(size=12, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
HOW = Preprocessing(size=12)
GREY = Preprocessing(size=12, channels=1, mean=(0.3,), std=(0.2,))
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
ALL = {
    "flips": "dihedral",
    "rotation": 30,
    "zoom": 0.2,
    "shift": 0.1,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.4,
    "hue": 0.1,
}


def settings(**values: object) -> AugmentSettings:
    return AugmentSettings.model_validate(values)


def draws(n: int = 6, **values: object) -> module.Draws:
    return draw_epoch(settings(**values), 0, 0, 0, n)


def pixels(n: int = 6) -> Any:
    return torch.from_numpy(PIXELS[:n])


def test_no_augmentation_is_what_the_clinic_sees() -> None:
    plain = to_input(pixels(), HOW)
    assert torch.equal(augment(pixels(), draws(), HOW), plain)
    assert np.array_equal(plain.numpy(), normalise(PIXELS, HOW))
    assert plain.is_contiguous(memory_format=torch.channels_last)


def test_grey_images_go_the_same_way() -> None:
    grey = PIXELS[..., :1]
    shown = to_input(torch.from_numpy(grey), GREY)
    assert np.array_equal(shown.numpy(), normalise(grey, GREY))
    changed = augment(torch.from_numpy(grey), draws(**ALL), GREY)
    assert changed.shape == (6, 1, 12, 12)
    assert changed.isfinite().all()


def test_flips_and_turns_alone_are_the_affine_map_without_its_rounding() -> None:
    views = fixed_views(8)
    eight = torch.from_numpy(PIXELS[:1].repeat(8, 0))
    exact, mapped = module._dihedral(eight, views), module._affine(eight, views, "black")
    assert torch.allclose(exact.float(), mapped, atol=1e-2)


def test_the_eight_views_are_eight_and_the_first_is_the_image() -> None:
    eight = torch.from_numpy(PIXELS[:1].repeat(8, 0))
    shown = augment(eight, fixed_views(8), PLAIN)
    assert torch.equal(shown[0], to_input(eight, PLAIN)[0])
    assert len({view.numpy().tobytes() for view in shown}) == 8
    assert all(sorted(view.flatten()) == sorted(shown[0].flatten()) for view in shown)


def test_the_order_of_the_images_does_not_matter() -> None:
    table, order = draws(**ALL), [3, 0, 5, 1, 4, 2]
    shown = augment(pixels(), table, HOW)
    again = augment(pixels()[order], table[order], HOW)
    assert torch.allclose(again, shown[order], atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        ALL,
        {"flips": "dihedral"},
        {"flips": "both", "brightness": 0.2},
        {"rotation": 45},
        {"saturation": 0.5},
    ],
)
def test_an_image_does_not_see_its_batch(values: dict[str, object]) -> None:
    table = draws(**values)
    shown = augment(pixels(), table, HOW)
    for i in range(6):
        alone = augment(pixels()[i : i + 1], table[i : i + 1], HOW)
        assert torch.allclose(alone[0], shown[i], atol=1e-4)


def naive_colour(image: np.ndarray, row: np.ndarray) -> np.ndarray:
    """One image, one pixel at a time in the mind: hue, saturation, brightness, contrast."""
    unit = image.astype(np.float64) / 255
    angle = 2 * np.pi * row[module.HUE]
    axis = np.ones(3) / np.sqrt(3)
    turned = (
        unit * np.cos(angle)
        + np.cross(axis, unit) * np.sin(angle)
        + (unit @ axis)[..., None] * axis * (1 - np.cos(angle))
    )
    luma = turned @ np.array([0.299, 0.587, 0.114])
    grey = luma[..., None] + row[module.SATURATION] * (turned - luma[..., None])
    bright = grey * row[module.BRIGHT]
    return np.clip(0.5 + (bright - 0.5) * row[module.CONTRAST], 0, 1)


@pytest.mark.parametrize(
    "values",
    [
        {"brightness": 0.4},
        {"contrast": 0.4},
        {"brightness": 0.3, "contrast": 0.3},
        {"saturation": 0.6},
        {"hue": 0.2},
        {"brightness": 0.2, "contrast": 0.2, "saturation": 0.3, "hue": 0.1},
    ],
)
def test_colours_against_a_slow_reference(values: dict[str, object]) -> None:
    table = draws(**values)
    shown = augment(pixels(), table, PLAIN).permute(0, 2, 3, 1).numpy()
    for i in range(6):
        assert shown[i] == pytest.approx(naive_colour(PIXELS[i], table[i]), abs=2e-5)


def test_colours_are_normalised_last() -> None:
    table = draws(**ALL)
    unit = augment(pixels(), table, PLAIN).permute(0, 2, 3, 1).numpy()
    shown = augment(pixels(), table, HOW).permute(0, 2, 3, 1).numpy()
    assert shown == pytest.approx((unit - np.array(HOW.mean)) / np.array(HOW.std), abs=1e-5)
    assert 0 <= unit.min() <= unit.max() <= 1


@pytest.mark.parametrize("name", [k for k in ALL if k != "flips"])
def test_a_setting_does_not_move_the_draws_of_the_others(name: str) -> None:
    table, without = draws(**ALL), draws(**{k: v for k, v in ALL.items() if k != name})
    differing = np.flatnonzero((table != without).any(0))
    columns = {
        "rotation": [module.ANGLE],
        "zoom": [module.ZOOM],
        "shift": [module.SHIFT_X, module.SHIFT_Y],
        "brightness": [module.BRIGHT],
        "contrast": [module.CONTRAST],
        "saturation": [module.SATURATION],
        "hue": [module.HUE],
    }
    assert differing.tolist() == columns[name]


def test_draws_are_a_pure_function_of_their_place() -> None:
    how = settings(**ALL)
    assert np.array_equal(draw_epoch(how, 1, 2, 3, 50), draw_epoch(how, 1, 2, 3, 50))
    others = [(2, 2, 3), (1, 1, 3), (1, 2, 4)]
    for place in others:
        assert not np.array_equal(draw_epoch(how, *place, 50), draw_epoch(how, 1, 2, 3, 50))


def test_draws_stay_within_their_settings() -> None:
    table = draw_epoch(settings(**ALL), 0, 0, 0, 4000)
    limits = {
        module.ANGLE: (-30, 30),
        module.ZOOM: (0.8, 1.2),
        module.SHIFT_X: (-0.1, 0.1),
        module.BRIGHT: (0.7, 1.3),
        module.SATURATION: (0.6, 1.4),
        module.HUE: (-0.1, 0.1),
    }
    for column, (low, high) in limits.items():
        span = (high - low) / 20
        assert low <= table[:, column].min() < low + span
        assert high - span < table[:, column].max() <= high + 1e-6


@pytest.mark.parametrize(
    ("flips", "views"), [("none", 1), ("horizontal", 2), ("both", 4), ("dihedral", 8)]
)
def test_each_kind_of_flips_has_its_views_equally_often(flips: str, views: int) -> None:
    table = draw_epoch(settings(flips=flips), 0, 0, 0, 4000)
    _, counts = np.unique(table[:, [module.TURN, module.MIRROR]], axis=0, return_counts=True)
    assert len(counts) == views
    assert counts.min() > 0.8 * 4000 / views
    image = torch.from_numpy(PIXELS[:1].repeat(64, 0))
    shown = augment(image, table[:64], PLAIN)
    assert len({v.numpy().tobytes() for v in shown}) == views


def test_both_flips_are_the_two_flips() -> None:
    one = PIXELS[:1]
    image = torch.from_numpy(one.repeat(64, 0))
    shown = augment(image, draw_epoch(settings(flips="both"), 0, 0, 0, 64), PLAIN)
    found = {np.round(v.permute(1, 2, 0).numpy() * 255).astype(np.uint8).tobytes() for v in shown}
    flips = (one[0], one[0][:, ::-1], one[0][::-1], one[0][::-1, ::-1])
    assert found == {np.ascontiguousarray(f).tobytes() for f in flips}


def table_with(**columns: float) -> module.Draws:
    row = fixed_views(1)
    for name, value in columns.items():
        row[0, getattr(module, name)] = value
    return row


def test_corners_laid_bare_are_black_or_reflected() -> None:
    white = torch.full((1, 12, 12, 3), 255, dtype=torch.uint8)
    turned = augment(white, table_with(ANGLE=45), PLAIN, "black")
    assert turned[0, :, 0, 0].tolist() == [0, 0, 0]
    assert turned[0, :, 6, 6].tolist() == pytest.approx([1, 1, 1])
    assert (augment(white, table_with(ANGLE=45), PLAIN, "reflect") > 0.99).all()


def test_zoom_magnifies_and_shift_moves() -> None:
    dot = torch.zeros((1, 12, 12, 3), dtype=torch.uint8)
    dot[0, 5:7, 5:7] = 255
    larger = augment(dot, table_with(ZOOM=2.0), PLAIN)
    assert larger.sum() > 3 * to_input(dot, PLAIN).sum()
    moved = augment(dot, table_with(SHIFT_X=0.25), PLAIN)
    assert moved[0, 0].sum(0).argmax() == 2  # the window moves right, so the dot moves left
    assert moved[0, 0].sum(1).argmax() == 5
