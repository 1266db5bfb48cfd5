"""Pictures in other colour spaces become sRGB, by the definition of the spaces."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.colour_profiles import SRGB, WIDE, converted, profile
from helpers.picture_files import noise, saved
from lesionlab.data.images import LEGACY, Preprocessing, UnreadableImage, open_image
from lesionlab.deployment.decode import read_view

LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True},
}  # fmt: skip


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("name", WIDE)
def test_wide_gamuts_are_converted_within_two_grey_levels(name: str, form: str) -> None:
    space, image = WIDE[name], noise(3, (64, 64))
    data = saved(image, form, icc_profile=profile(*space, name), **LOSSLESS[form])
    wanted = converted(np.asarray(image), *space)
    assert np.abs(np.asarray(open_image(data)) - wanted).max() <= 2
    assert np.abs(np.asarray(image) - wanted).max() > 10  # so that it matters


def srgb_profiles() -> dict[str, bytes]:
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "of LittleCMS": built_in,
        "of version 4": profile(SRGB, 0.0, "sRGB IEC61966-2.1"),
        "by another name": profile(SRGB, 0.0, "c2"),
        "damaged": built_in[:100],
        "none at all": b"no profile",
        "of greys": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    }


@pytest.mark.parametrize("which", srgb_profiles())
def test_srgb_and_what_is_no_profile_leave_every_pixel(which: str) -> None:
    pixels = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), -1).reshape(18 * 18, 18, 3)
    image = Image.fromarray(pixels.astype(np.uint8)).resize((36, 648), Image.Resampling.NEAREST)
    data = saved(image, "PNG", icc_profile=srgb_profiles()[which])
    assert np.array_equal(np.asarray(open_image(data)), np.asarray(image))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L"])
def test_other_modes_with_a_wide_profile(mode: str) -> None:
    space = WIDE["Display P3"]
    image = noise(3).quantize(8) if mode == "P" else noise(3).convert(mode)
    data = saved(image, "PNG", icc_profile=profile(*space, "Display P3"))
    plain = np.asarray(image.convert("L" if mode == "L" else "RGB"))
    wanted = plain if mode == "L" else converted(plain, *space)  # greys keep their values
    assert np.abs(np.asarray(open_image(data)).astype(float) - wanted).max() <= 2


def test_cmyk_is_converted_by_its_own_profile_or_as_before() -> None:
    image = noise(3).convert("CMYK")
    plain = open_image(saved(image, "TIFF"))
    wrong = open_image(saved(image, "TIFF", icc_profile=profile(*WIDE["Rec. 2020"], "Rec. 2020")))
    assert np.array_equal(plain, wrong)  # of another space than the picture


def test_a_turned_photograph_is_converted_and_turned() -> None:
    space, image, exif = WIDE["Display P3"], noise(3, (64, 48)), Image.Exif()
    exif[0x0112] = 6
    data = saved(image, "TIFF", icc_profile=profile(*space, "Display P3"), exif=exif)
    turned = np.rot90(converted(np.asarray(image), *space), -1)
    assert np.abs(np.asarray(open_image(data)) - turned).max() <= 2


def test_a_huge_jpeg_is_converted_too() -> None:
    """Its scaled decode is another path than `open_image`."""
    image = noise(3, (24, 18)).resize((2400, 1800), Image.Resampling.BICUBIC)
    data = saved(image, "JPEG", quality=95, icc_profile=profile(*WIDE["Display P3"], "Display P3"))
    how = Preprocessing(64)
    drafted, whole = (read_view(data, how, draft=d).pixels.astype(int) for d in (True, False))
    unlike = read_view(saved(image, "JPEG", quality=95), how).pixels.astype(int)
    assert np.abs(drafted - whole).max() <= 3
    assert np.abs(drafted - unlike).max() > 10


def test_data_sets_of_0_1_0_keep_their_pixels() -> None:
    image = noise(3)
    data = saved(image, "PNG", icc_profile=profile(*WIDE["Display P3"], "Display P3"))
    assert np.array_equal(np.asarray(open_image(data, reading=LEGACY)), np.asarray(image))


@pytest.mark.parametrize(("number", "name"), [(12, "Display P3"), (9, "Rec. 2020"), (22, "22")])
@pytest.mark.parametrize("form", ["AVIF", "PNG"])
def test_a_wide_gamut_by_number_alone_is_refused(form: str, number: int, name: str) -> None:
    plain = saved(noise(3), form)
    if form == "AVIF":
        marked = plain.replace(b"colrnclx\0\1", b"colrnclx\0" + bytes([number]))
    else:
        body = b"cICP" + bytes([number, 13, 0, 1])
        chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        marked = plain[:33] + chunk + plain[33:]
    assert marked != plain
    open_image(plain)
    with pytest.raises(UnreadableImage, match=f"colours of .*{name} without a profile"):
        open_image(marked)
