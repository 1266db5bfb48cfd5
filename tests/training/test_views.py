"""The picture of what the network sees in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.api.augmentations import augmentations
from lesionlab.config import Settings
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.training.views import GAP, training_views

Recipe = Callable[..., Settings]


def test_the_first_of_each_row_is_the_image_and_the_others_are_not(
    data: Path, tiny: Recipe
) -> None:
    settings, dataset = tiny(), read_dataset(data)
    names, views = training_views(dataset, settings, settings.stages[1], 3, 4, seed=0)
    assert views.shape == (3, 5, 32, 32, 3)
    train = set(dataset.part("train")["image_id"])
    assert set(names) <= train
    for row in views:
        assert len({v.tobytes() for v in row}) == 5
        assert abs(float(row[1:].mean()) - float(row[0].mean())) < 80


def test_a_stage_that_augments_nothing_shows_the_image_again(data: Path, tiny: Recipe) -> None:
    settings = tiny()
    _, views = training_views(read_dataset(data), settings, settings.stages[0], 2, 2, seed=0)
    assert all((row == row[0]).all() for row in views)


def test_the_sheet_and_the_folder(data: Path, tiny: Recipe, tmp_path: Path) -> None:
    out, folder = tmp_path / "views.png", tmp_path / "views"
    told = augmentations(data, tiny(), out, folder=folder, images=2, views=3)
    assert told["stage"] == "all"
    with Image.open(out) as sheet:
        assert sheet.size == (4 * (128 + GAP) + GAP, 2 * (128 + GAP) + GAP)
        assert np.asarray(sheet).std() > 5
    names = sorted(p.name for p in folder.iterdir())
    assert names == sorted(f"{i}-{n}.png" for i in told["images"] for n in range(4))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "views.jpg"}, "ends in .png"),
        ({"stage": "al"}, "did you mean 'all'"),
        ({"out": "nowhere/views.png"}, "no such folder"),
    ],
)
def test_what_cannot_be_written_or_found(
    data: Path, tiny: Recipe, tmp_path: Path, options: dict[str, str], words: str
) -> None:
    out = tmp_path / options.get("out", "views.png")
    with pytest.raises(BadInput, match=words):
        augmentations(data, tiny(), out, stage=options.get("stage"))
    assert not list(tmp_path.iterdir())
