"""Decode once: the pixel cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.data import array_file, cache
from lesionlab.data.cache import CachedPixels, DecodedPixels, open_pixels
from lesionlab.data.images import (
    Preprocessing,
    Roi,
    UnreadableImage,
    key_parts,
    open_image,
    prepare,
)
from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo
from lesionlab.errors import BadInput

HOW = Preprocessing(size=16)


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, items: object, description: str, total: int | None = None) -> object:
        return iter(items)  # type: ignore[call-overload]

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng, rows = np.random.default_rng(0), []
    (tmp_path / "images").mkdir()
    for n in range(5):
        path = f"images/{n}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / path)
        digest = hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
        rows.append({"image_id": str(n), "path": path, "label": "a", "sha256": digest})
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).fillna("")
    for column in ("roi_x", "roi_y", "roi_size", "age"):
        table[column] = np.nan
    table.loc[4, ["roi_x", "roi_y", "roi_size"]] = [15.0, 10.0, 8.0]
    return Dataset(tmp_path, table, DatasetInfo(name="t", source="t", classes=("a",)))


def expected(dataset: Dataset, how: Preprocessing = HOW) -> np.ndarray:
    rois = [None] * 4 + [Roi(15.0, 10.0, 8.0)]
    images = [open_image(dataset.image_path(p)) for p in dataset.table["path"]]
    return np.stack([prepare(i, how, r) for i, r in zip(images, rois, strict=True)])


def test_rows_are_the_prepared_images_regions_too(dataset: Dataset) -> None:
    pixels = open_pixels(dataset, HOW)
    assert isinstance(pixels, CachedPixels)
    rows = np.array([4, 0, 0, 2])
    assert np.array_equal(pixels.take(rows), expected(dataset)[rows])
    assert len(pixels) == 5


def test_the_second_opening_decodes_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_pixels(dataset, HOW)
    monkeypatch.setattr(cache, "open_image", None)
    assert np.array_equal(open_pixels(dataset, HOW).take(np.arange(5)), expected(dataset))


def test_geometry_and_content_are_the_key(dataset: Dataset) -> None:
    key = cache.cache_key(dataset.table, HOW)
    others = [
        cache.cache_key(dataset.table, Preprocessing(size=17)),
        cache.cache_key(dataset.table, Preprocessing(size=16, fit="crop")),
        cache.cache_key(dataset.table, Preprocessing(size=16, channels=1, mean=(0.0,), std=(1.0,))),
        cache.cache_key(dataset.table, Preprocessing(size=16, interpolation="bicubic")),
        cache.cache_key(dataset.table, Preprocessing(size=16, crop=0.875)),
        cache.cache_key(dataset.table.iloc[::-1], HOW),
        cache.cache_key(dataset.table.assign(sha256="0"), HOW),
        cache.cache_key(dataset.table.assign(roi_size=9.0), HOW),
    ]
    assert len({key, *others}) == 9
    assert key == cache.cache_key(dataset.table, Preprocessing(size=16, mean=(0.1, 0.2, 0.3)))
    assert key == cache.cache_key(dataset.table.assign(label="b", split="test"), HOW)


def test_a_key_of_the_defaults_is_that_of_0_1_0(dataset: Dataset) -> None:
    """Caches that are there stay valid."""
    columns = ["path", "sha256", "roi_x", "roi_y", "roi_size"]
    geometry = {"size": 16, "fit": "squash", "channels": 3, "version": 1}
    digest = hashlib.sha256(json.dumps(geometry, sort_keys=True).encode())
    digest.update(dataset.table[columns].to_csv(index=False).encode())
    assert cache.cache_key(dataset.table, HOW) == digest.hexdigest()
    first = ("size", "fit", "channels", "mean", "std")
    assert repr(key_parts(HOW)) == repr({name: getattr(HOW, name) for name in first})


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "header": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    "side": lambda path: path.with_suffix(".json").write_text("{"),
    "side key": lambda path: path.with_suffix(".json").write_text(json.dumps({"key": 1})),
    "no side": lambda path: path.with_suffix(".json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_again(dataset: Dataset, damage: str) -> None:
    open_pixels(dataset, HOW)
    (path,) = (dataset.folder / "cache").glob("*.npy")
    DAMAGES[damage](path)
    said = Said()
    pixels = open_pixels(dataset, HOW, progress=said)
    assert np.array_equal(pixels.take(np.arange(5)), expected(dataset))
    assert damage == "no side" or any("rebuilding it" in line for line in said.lines)


def test_without_room_it_is_said_and_images_are_decoded(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(dataset.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    said = Said()
    pixels = open_pixels(dataset, HOW, progress=said)
    assert isinstance(pixels, DecodedPixels)
    assert "decoded at each step" in said.lines[0]
    assert np.array_equal(pixels.take(np.array([4, 1])), expected(dataset)[[4, 1]])


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = Said()
    pixels = open_pixels(dataset, HOW, progress=said)
    assert isinstance(pixels, DecodedPixels)
    assert "No space left on device" in said.lines[0]
    assert not list((dataset.folder / "cache").iterdir())


def test_an_unreadable_image_is_named_and_no_cache_is_left(dataset: Dataset) -> None:
    path = dataset.image_path("images/2.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadInput, match=r"2\.png"):
        open_pixels(dataset, HOW)
    assert not list((dataset.folder / "cache").iterdir())


def swap(dataset: Dataset) -> None:
    """Another readable picture under the name of the third."""
    Image.new("RGB", (30, 20), (1, 2, 3)).save(dataset.image_path("images/2.png"))


CHANGED = r"2\.png: is not the file that was imported \(its SHA-256 differs\); import .*again"


def test_an_image_that_was_changed_is_named_and_no_cache_is_left(dataset: Dataset) -> None:
    swap(dataset)
    with pytest.raises(UnreadableImage, match=CHANGED):
        open_pixels(dataset, HOW)
    assert not list((dataset.folder / "cache").iterdir())


def test_without_a_cache_an_image_that_was_changed_is_named(dataset: Dataset) -> None:
    pixels = cache.decoder(dataset, HOW)
    swap(dataset)
    assert np.array_equal(pixels.take(np.array([1, 3])), expected(dataset)[[1, 3]])
    with pytest.raises(UnreadableImage, match=CHANGED):
        pixels.take(np.array([1, 2]))


def test_a_cache_shows_what_was_imported_though_a_file_changes_later(dataset: Dataset) -> None:
    before = expected(dataset)
    open_pixels(dataset, HOW)
    swap(dataset)
    assert np.array_equal(open_pixels(dataset, HOW).take(np.arange(5)), before)


def test_where_the_manifest_has_no_sha256_nothing_is_compared(dataset: Dataset) -> None:
    unknown = replace(dataset, table=dataset.table.assign(sha256=""))
    swap(unknown)
    assert np.array_equal(open_pixels(unknown, HOW).take(np.arange(5)), expected(unknown))


def test_checksums_see_every_block_and_any_type() -> None:
    values = np.arange(3 * array_file.BLOCK, dtype=np.float32).reshape(-1, 1)
    before = array_file.checksums(values)
    assert len(before) == 3
    values[2 * array_file.BLOCK] += 1
    after = array_file.checksums(values)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]
