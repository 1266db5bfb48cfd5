"""A mask shows the lesion at the place where it is in the picture, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.picture_files import saved
from lesionlab.data.images import TURNS
from lesionlab.data.mask_geometry import fitted, read_mask
from lesionlab.errors import BadInput


def spot(size: tuple[int, int] = (40, 30), white: int = 255) -> np.ndarray:
    """A mask of (width, height) with a bright square near its top left corner."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[size[1] // 6 : size[1] // 3, size[0] // 8 : size[0] // 4] = white
    return mask


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_drawn_on_stored_pixels_is_turned_as_its_photograph(orientation: int) -> None:
    mask = Image.fromarray(spot())
    upright = mask.transpose(TURNS[orientation])
    assert np.array_equal(fitted(mask, upright.size, orientation), upright)


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_mask_drawn_on_the_upright_photograph_stays(orientation: int) -> None:
    mask = Image.fromarray(spot((30, 40)))
    assert np.array_equal(fitted(mask, (30, 40), orientation), mask)


@pytest.mark.parametrize("scale", [2, 0.5, 3.3])
def test_a_mask_of_another_size_is_scaled_with_its_turn(scale: float) -> None:
    size = (round(80 * scale), round(60 * scale))
    mask = Image.fromarray(spot(size))
    seen = np.asarray(fitted(mask, (60, 80), 6)) > 127
    wanted = np.asarray(Image.fromarray(spot((80, 60))).transpose(TURNS[6])) > 127
    centres = [np.argwhere(m).mean(0) for m in (seen, wanted)]
    assert np.abs(centres[0] - centres[1]).max() <= 1


@pytest.mark.parametrize("size", [(40, 40), (30, 40), (40, 26), (256, 256)])
def test_another_aspect_is_refused(size: tuple[int, int]) -> None:
    told = rf"a mask of {size[0]} x {size[1]} pixels does not fit its image of 40 x 30"
    with pytest.raises(BadInput, match=told):
        fitted(Image.fromarray(spot(size)), (40, 30))


def inks() -> dict[str, Image.Image]:
    """The same mask as tools write it."""
    inside = spot() > 0
    palette = Image.fromarray(inside.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    on_nothing = np.zeros((*inside.shape, 4), np.uint8)
    on_nothing[inside] = (0, 0, 0, 255)
    red = np.zeros((*inside.shape, 4), np.uint8)
    red[inside] = (200, 30, 30, 255)
    return {
        "0 and 255": Image.fromarray(spot()),
        "0 and 1": Image.fromarray(spot(white=1)),
        "0 and 255 in 16 bits": Image.fromarray(spot().astype(np.uint16)),
        "0 and 1 in 16 bits": Image.fromarray(spot(white=1).astype(np.uint16)),
        "0 and 65535": Image.fromarray(inside.astype(np.uint16) * 65535),
        "one bit": Image.fromarray(inside),
        "the dark colour of a palette": palette,
        "colour": Image.fromarray(spot()).convert("RGB"),
        "black on nothing": Image.fromarray(on_nothing),
        "red on nothing": Image.fromarray(red),
    }


@pytest.mark.parametrize("ink", inks())
def test_every_way_to_write_a_mask_is_understood(ink: str) -> None:
    mask = read_mask(saved(inks()[ink], "PNG"), "a.png")
    assert np.array_equal(np.asarray(mask), spot())


def test_an_empty_mask_stays_empty_and_a_full_one_full() -> None:
    for value in (0, 255):
        blank = Image.new("L", (40, 30), value)
        assert read_mask(saved(blank, "PNG"), "a.png").getextrema() == (value, value)
