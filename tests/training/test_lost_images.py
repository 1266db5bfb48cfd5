"""Damaged images, caches and features (faults 18 to 20)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from helpers.faults import copy_of, flipped, summary, truncated
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]


def test_a_damaged_pixel_cache_is_rebuilt(
    stopped: Path,
    reference: Path,
    data: Path,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    lines: Any,
) -> None:
    other = copy_of(data, tmp_path / "other")
    caches = list((other / "cache").glob("*.npy"))
    for cache in caches:  # other tests may have left one of another size
        flipped(cache)
    resume(stopped, dataset_folder=other, machine=machine, progress=lines)
    assert any("damaged" in line and c.name in line for line in lines.said for c in caches)
    assert outcome(stopped) == outcome(reference)


@pytest.mark.parametrize("damage", [truncated, flipped, lambda path: path.write_text("")])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_damaged_features_are_computed_again(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    damage: Callable[[Path], None],
    suffix: str,
    lines: Any,
) -> None:
    other = copy_of(data, tmp_path / "other")
    for path in (other / "cache" / "features").glob(f"*/0*{suffix}"):
        damage(path)
    train(other, tiny(), tmp_path / "run", machine=machine, progress=lines)
    assert any("damaged" in line for line in lines.said)
    assert summary(tmp_path / "run")["frozen_features"]["head"]["from_cache"] == 0
    assert outcome(tmp_path / "run") == outcome(reference)


def uncached(data: Path, to: Path) -> Path:
    """A copy that can have no cache: a file stands where its folder would be."""
    other = copy_of(data, to)
    shutil.rmtree(other / "cache")
    (other / "cache").write_text("")
    return other


def test_without_room_for_a_cache_images_are_decoded_as_they_come(
    reference: Path,
    data: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    lines: Any,
) -> None:
    other = uncached(data, tmp_path / "other")
    train(other, tiny(), tmp_path / "run", machine=machine, progress=lines)
    assert any("decoded at each step" in line for line in lines.said)
    assert outcome(tmp_path / "run") == outcome(reference)


@pytest.mark.parametrize("fault", ["corrupt", "gone"])
def test_an_image_that_is_lost_on_the_way_is_named(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    fault: str,
) -> None:
    other = uncached(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    path = other / table.loc[table["split"] == "train", "path"].iloc[0]
    content, left = path.read_bytes(), iter(range(100))

    def losing(*args: Any) -> float:
        if next(left) == 6:  # the second stage begins
            path.unlink()
            if fault == "corrupt":
                path.write_bytes(content[: len(content) // 2])
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "do_step", losing)
        with pytest.raises(BadInput, match=path.name):
            train(other, tiny(), tmp_path / "run", machine=machine)
    path.write_bytes(content)
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(reference)


def test_an_image_that_is_corrupt_before_the_cache_is_built_is_named(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    other = copy_of(data, tmp_path / "other")
    shutil.rmtree(other / "cache")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    path = other / table["path"].iloc[3]
    truncated(path)
    with pytest.raises(BadInput, match=path.name):
        train(other, tiny(), tmp_path / "run", machine=machine)
    assert not [p for p in (other / "cache").rglob("*.npy") if p.is_file()]


def test_the_test_images_are_real_images(data: Path) -> None:
    table = pd.read_csv(data / "manifest.csv", dtype=str)
    with Image.open(data / table["path"].iloc[0]) as image:
        assert min(image.size) > 32
