"""Masks by row: from an archive by image id, at the size of the image, as the network sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.data.archive import open_tree
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset, DatasetInfo
from lesionlab.data.masks import masks_of
from lesionlab.errors import BadInput


def dataset(folder: Path) -> Dataset:
    table = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "width": [40, 40],
            "height": [20, 20],
            "roi_x": np.nan,
            "roi_y": np.nan,
            "roi_size": np.nan,
            "path": ["images/a.jpg", "images/b.jpg"],  # absent: nothing turns them
            "mask": ["masks/a.png", ""],
        }
    )
    return Dataset(folder, table, DatasetInfo(name="x", source="x", classes=("k",)))


def half(path: Path, size: tuple[int, int]) -> None:
    """White on the left half."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[:, : size[0] // 2] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_imported_masks(tmp_path: Path) -> None:
    half(tmp_path / "masks" / "a.png", (40, 20))
    found = masks_of(dataset(tmp_path), dataset(tmp_path).table, Preprocessing(size=16))
    assert found.known.tolist() == [True, False]
    assert found.original(0).shape == (20, 40)
    assert found.original(0)[:, :20].all()
    seen = found.take(np.array([1, 0]))
    assert not seen[0].any()
    assert seen[1, :, :8].all()
    assert not seen[1, :, 8:].any()
    with pytest.raises(BadInput, match="row 1 has no mask"):
        found.original(1)


def test_a_mask_lies_where_the_network_looks_and_does_not_ring(tmp_path: Path) -> None:
    """32 pixels a side, of which the middle 16 are kept: the left half stays the left half."""
    path = tmp_path / "masks" / "a.png"
    pixels = np.zeros((20, 40), np.uint8)
    pixels[5:10, 10:25] = 255  # in squashed pixels: rows 8 to 16, columns 8 to 20
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    how = Preprocessing(size=16, interpolation="bicubic", crop=0.5)
    seen = masks_of(dataset(tmp_path), dataset(tmp_path).table, how).take(np.array([0]))[0]
    wanted = np.zeros((16, 16), bool)
    wanted[:8, :12] = True
    assert np.array_equal(seen, wanted)
    bilinear = masks_of(
        dataset(tmp_path), dataset(tmp_path).table, Preprocessing(size=16, crop=0.5)
    )
    assert np.array_equal(seen, bilinear.take(np.array([0]))[0])


def test_masks_of_a_folder_take_the_size_of_the_image(tmp_path: Path) -> None:
    half(tmp_path / "given" / "b_segmentation.png", (80, 40))
    data = dataset(tmp_path)
    with open_tree(tmp_path / "given") as tree:
        found = masks_of(data, data.table, Preprocessing(size=16), tree)
        assert found.known.tolist() == [False, True]
        assert found.original(1).shape == (20, 40)


def test_masks_that_fit_no_image_are_refused(tmp_path: Path) -> None:
    half(tmp_path / "given" / "z.png", (40, 20))
    data = dataset(tmp_path)
    with (
        open_tree(tmp_path / "given") as tree,
        pytest.raises(BadInput, match="no mask is named"),
    ):
        masks_of(data, data.table, Preprocessing(size=16), tree)
