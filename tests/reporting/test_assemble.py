"""What a report knows beyond the numbers: facts, thumbnails, where the data lie."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.datasets import dataset, row, written
from lesionlab.data.manifest import Dataset
from lesionlab.reporting.assemble import (
    QUALITIES,
    THUMBNAIL_BYTES,
    THUMBNAIL_SIDE,
    data_facts,
    dataset_beside,
    small_jpeg,
    thumbnailer,
)

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def colour_of(picture: bytes | None) -> str:
    """Which colour the middle of a JPEG has."""
    assert picture is not None
    image = Image.open(io.BytesIO(picture))
    assert (image.format, image.size) == ("JPEG", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    middle = image.getpixel((THUMBNAIL_SIDE // 2, THUMBNAIL_SIDE // 2))
    return list(COLOURS)[int(np.argmax(middle))]


@pytest.fixture
def painted(tmp_path: Path) -> Callable[..., Dataset]:
    """A data set of rows whose images are of the colour in their cell `paint`."""

    def make(*rows: dict[str, object]) -> Dataset:
        (tmp_path / "images").mkdir()
        for cells in rows:
            cells["path"] = f"images/{cells['image_id']}.png"
            colour = COLOURS[str(cells.pop("paint"))]
            Image.new("RGB", (40, 24), colour).save(tmp_path / str(cells["path"]))
        return dataset(tmp_path, *rows)

    return make


def test_the_facts_are_those_of_the_data_set(tmp_path: Path) -> None:
    data = dataset(
        tmp_path,
        row("a", "train", "nv", patient_id="p"),
        row("b", "train", "mel", patient_id="p"),
        row("c", "test", "nv", lesion_id="l"),
        row("d", "test", "nv", lesion_id="l"),
        row("e", "", "mel"),
        licence="CC0", citation="Me 2026", modality="ultrasound", synthetic=True, leaky=True,
        leak_reason="on purpose", notes=("odd",), split_policy={"policy": "grouped"},
    )  # fmt: skip
    facts = data_facts(data)
    assert (facts.images, facts.groups) == (5, 3)
    assert facts.parts == {
        "train": {"images": 2, "groups": 1, "classes": {"nv": 1, "mel": 1}},
        "test": {"images": 2, "groups": 1, "classes": {"nv": 2, "mel": 0}},
    }  # each value is a part: the number of crossing groups is none
    for name in ("name", "source", "licence", "citation", "modality", "synthetic", "leaky",
                 "leak_reason", "notes", "split_policy"):  # fmt: skip
        assert getattr(facts, name) == getattr(data.info, name), name


def test_copies_are_one_group_in_the_facts(tmp_path: Path) -> None:
    rows = [row("a", sha256="same"), row("b", sha256="same"), row("c")]
    assert data_facts(dataset(tmp_path, *rows)).groups == 2


def test_a_lesion_or_patient_shows_its_first_image(painted: Callable[..., Dataset]) -> None:
    thumbnail = thumbnailer(
        painted(
            row("a", patient_id="P", lesion_id="L1", paint="red"),
            row("b", patient_id="P", lesion_id="L2", paint="green"),
            row("c", patient_id="P", lesion_id="L2", paint="blue"),
        )
    )
    names = ("a", "b", "c", "P", "L1", "L2")
    assert [colour_of(thumbnail(name)) for name in names] == [
        "red", "green", "blue", "red", "red", "green",
    ]  # fmt: skip


def test_an_image_goes_before_a_lesion_and_a_lesion_before_a_patient_of_its_name(
    painted: Callable[..., Dataset],
) -> None:
    thumbnail = thumbnailer(
        painted(
            row("x", patient_id="1", lesion_id="2", paint="red"),
            row("y", patient_id="2", lesion_id="3", paint="green"),
            row("1", patient_id="9", lesion_id="9", paint="blue"),
        )
    )
    assert colour_of(thumbnail("1")) == "blue"
    assert colour_of(thumbnail("2")) == "red"


def test_there_is_no_picture_of_the_unknown_or_unreadable(painted: Callable[..., Dataset]) -> None:
    data = painted(row("a", paint="red"), row("b", paint="red"), row("c", paint="red"))
    (data.folder / "images" / "b.png").write_bytes(b"no picture")
    (data.folder / "images" / "c.png").unlink()
    thumbnail = thumbnailer(data)
    assert colour_of(thumbnail("a")) == "red"
    assert [thumbnail(name) for name in ("b", "c", "d", "")] == [None] * 4  # "": no patient


def test_a_thumbnail_is_of_the_region_where_it_is_known_whole(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    image = Image.new("RGB", (80, 40), COLOURS["red"])
    image.paste(COLOURS["blue"], (60, 0, 80, 40))
    image.save(tmp_path / "images" / "a.png")
    region = {"roi_x": 70.0, "roi_y": 20.0, "roi_size": 16.0}
    for cells, expected in (
        (region, "blue"),
        ({}, "red"),
        ({**region, "roi_size": ""}, "red"),  # half a region is none: the central square
    ):
        data = dataset(tmp_path, row("a", path="images/a.png", **cells))
        assert colour_of(thumbnailer(data)("a")) == expected


def noise(side: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def test_a_small_jpeg_is_of_the_best_quality_that_fits() -> None:
    image = noise(48)
    sizes = [len(saved(image, q)) for q in QUALITIES]
    assert sizes == sorted(sizes, reverse=True)
    for quality, size in zip(QUALITIES, sizes, strict=True):
        assert small_jpeg(image, size) == saved(image, quality)
    assert small_jpeg(image, sizes[1] - 1) == saved(image, QUALITIES[2])


def test_what_never_fits_is_of_the_lowest_quality() -> None:
    image = noise(2 * THUMBNAIL_SIDE)
    assert len(small_jpeg(image)) > THUMBNAIL_BYTES
    assert small_jpeg(image) == saved(image, QUALITIES[-1])


def test_a_small_jpeg_holds_no_metadata() -> None:
    image = Image.new("RGB", (16, 16))
    image.getexif()[0x010E] = "a name"  # ImageDescription
    picture = Image.open(io.BytesIO(small_jpeg(image)))
    assert not picture.getexif()
    assert "comment" not in picture.info


def test_the_data_lie_where_they_are_said_to_or_were(tmp_path: Path) -> None:
    here = written(dataset(tmp_path / "data", row("a")))
    assert dataset_beside(here, None) == here
    assert dataset_beside(here, Path("other")) == Path("other")
    assert dataset_beside(tmp_path / "gone", None) is None
    assert dataset_beside(tmp_path, None) is None  # a folder, and no data set
    assert dataset_beside(tmp_path / "gone", here) == here
