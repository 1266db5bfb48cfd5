"""Masks of photographs that EXIF turns, through the import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.picture_files import noise, saved
from lesionlab.data.images import TURNS, open_image
from lesionlab.data.importing import import_source
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.sources.table import source_named
from lesionlab.errors import BadInput

WIDTH, HEIGHT = 64, 48


def drawn(i: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4 + i : 14 + i, 6:20] = 255
    return mask


def imported(folder: Path, orientations: list[int], masks: list[Image.Image]) -> Dataset:
    for i, (orientation, mask) in enumerate(zip(orientations, masks, strict=True)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo = folder / "photos" / "ab"[i % 2] / f"{i}.jpg"
        for path in (photo, folder / "masks" / f"{i}_mask.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(saved(noise(i, (WIDTH, HEIGHT)), exif=exif))
        mask.save(folder / "masks" / f"{i}_mask.png")
    source = source_named("folder")
    import_source(source, folder / "photos", folder / "out", masks=folder / "masks",
                  max_rejected=0.5)  # fmt: skip
    return read_dataset(folder / "out")


def mask_of(data: Dataset, i: int) -> np.ndarray:
    row = data.table.set_index("image_id").loc[str(i)]
    mask = np.asarray(open_image(data.folder / row["mask"]))
    assert mask.shape == (row["height"], row["width"])
    return mask


def test_masks_of_stored_pixels_are_turned(tmp_path: Path) -> None:
    orientations = [6, 8, 3, 1]  # of the third the shape says nothing; the others do
    data = imported(tmp_path, orientations, [Image.fromarray(drawn(i)) for i in range(4)])
    for i, orientation in enumerate(orientations):
        plain = Image.fromarray(drawn(i))
        wanted = plain.transpose(TURNS[orientation]) if orientation > 1 else plain
        assert np.array_equal(mask_of(data, i), wanted), i
    assert any("2 masks were drawn on the stored pixels" in n for n in data.info.notes)
    assert any("the shape of 1 mask does not say" in n for n in data.info.notes)


def test_masks_of_upright_pixels_stay_also_where_the_shape_does_not_say(tmp_path: Path) -> None:
    upright = [Image.fromarray(drawn(i)) for i in range(3)]
    masks = [upright[0].transpose(TURNS[6]), upright[1].transpose(TURNS[8]), upright[2]]
    data = imported(tmp_path, [6, 8, 3], masks)
    for i, mask in enumerate(masks):
        assert np.array_equal(mask_of(data, i), mask), i


def test_a_mask_of_another_aspect_is_listed_and_its_image_kept(tmp_path: Path) -> None:
    masks = [Image.fromarray(drawn(0)), Image.new("L", (50, 50), 255), Image.fromarray(drawn(2))]
    data = imported(tmp_path, [1, 1, 1], masks)
    assert len(data.table) == 3
    assert list(data.table.sort_values("image_id")["mask"] == "") == [False, True, False]
    (lost,) = data.info.counts["rejected"]
    assert lost["path"] == "1_mask.png"
    assert "50 x 50 pixels does not fit its image of 64 x 48" in lost["reason"]


def test_masks_that_are_no_images_or_empty_are_told(tmp_path: Path) -> None:
    masks = [Image.fromarray(drawn(0)), Image.new("L", (WIDTH, HEIGHT)), Image.fromarray(drawn(2))]
    data = imported(tmp_path, [1, 1, 1], masks)
    assert any("1 mask is empty" in note for note in data.info.notes)
    (tmp_path / "masks" / "2_mask.png").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"2_mask\.png.*a mask: not an image of an allowed format"):
        import_source(source_named("folder"), tmp_path / "photos", tmp_path / "two",
                      masks=tmp_path / "masks")  # fmt: skip
