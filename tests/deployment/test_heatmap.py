"""Heat maps: the evidence for one class, where its places lie, and files in their folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.deployment.answers import Answer
from lesionlab.deployment.batch import ImageResult
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.heatmap import (
    HIGH,
    SIDE,
    STRENGTH,
    evidence,
    file_name,
    overlay,
    write_heatmap,
)
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.schema import BundleInfo
from lesionlab.errors import BadInput


@pytest.fixture
def info(bundle_folder: Path) -> BundleInfo:
    return read_bundle(bundle_folder).info


def result(info: BundleInfo, image_id: str, row: int = 1) -> ImageResult:
    """An image of which class `row` is the most probable, with evidence for it at one place."""
    values = dict.fromkeys(info.classes, 0.0) | {info.classes[row]: 1.0}
    answer = Answer(
        probabilities=values,
        logits=values,
        class_at_dataset_prior=info.classes[row],
        class_at_uniform_prior=info.classes[0],
        decision=None,
        conformal={},
        ood=None,
        similar=None,
    )
    cam = np.zeros((len(info.classes), 4, 4), np.float32)
    cam[row, 0, 0] = 1
    grey = np.full((16, 16, 3), 100, np.uint8)
    return ImageResult(Item(image_id, Path("a.png")), answer, pixels=grey, cam=cam)


def test_evidence_by_hand() -> None:
    """Class 1 against the mean of classes 0 and 2."""
    cam = np.array([[[1.0, 0.0]], [[5.0, 2.0]], [[3.0, 8.0]]], np.float32)
    np.testing.assert_array_equal(evidence(cam, 1), [[3.0, -2.0]])
    two = cam[:2]
    np.testing.assert_array_equal(evidence(two, 0), -evidence(two, 1))


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "=x", "x" * 300, "\u202e", ""])
def test_a_heat_map_stays_in_its_folder(name: str) -> None:
    made = file_name(name, "../nv")
    assert "/" not in made
    assert not made.startswith(".")
    assert len(made) < 200
    assert made != file_name(name + " ", "../nv")


def test_evidence_ignores_what_all_classes_share() -> None:
    cam = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    shared = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_allclose(evidence(cam, 1), evidence(cam + shared, 1), atol=1e-6)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, -0.5), (-0.25, 1.25)])
def test_the_map_lies_where_its_places_look(offset: tuple[float, float]) -> None:
    """The middle of the only place that speaks, in pixels of a 448 pixel picture; 7 places."""
    cam = np.zeros((2, 7, 7), np.float32)
    cam[0, 2, 4] = 1
    black = np.zeros((448, 448, 3), np.uint8)
    shown = np.asarray(overlay(black, cam, 0, offset), np.float64).sum(2)
    pixels = np.arange(448) + 0.5
    found = [(shown.sum(axis) * pixels).sum() / shown.sum() for axis in (1, 0)]
    wanted = [(place + 0.5 + moved) * 64 for place, moved in zip((2, 4), offset, strict=True)]
    assert found == pytest.approx(wanted, abs=1)
    corner = np.zeros((2, 7, 7), np.float32)
    corner[0, 0, 0] = 1
    assert np.asarray(overlay(black, corner, 0, (1.0, 1.0)))[0, 0].sum() > 100  # to the edge


def test_the_strongest_place_has_the_brightest_colour_and_no_evidence_none() -> None:
    """Against evidence (evidence below 0) shows nothing, like no evidence."""
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    cam = np.zeros((2, 2, 2), np.float32)
    cam[0] = [[7.0, 7.0], [-7.0, -7.0]]
    shown = np.asarray(overlay(grey, cam, 0), np.float64)
    wanted = 100 * (1 - STRENGTH) + STRENGTH * HIGH
    np.testing.assert_allclose(shown[5, 200], wanted, atol=1)
    np.testing.assert_array_equal(shown[-5, 200], [100] * 3)
    np.testing.assert_array_equal(np.asarray(overlay(grey, 0 * cam, 0)), grey)
    np.testing.assert_array_equal(np.asarray(overlay(grey, 9 * cam, 0)), shown)  # of any scale


@pytest.mark.parametrize(("side", "channels"), [(16, 3), (16, 1), (SIDE + 52, 3), (SIDE + 52, 1)])
def test_a_small_view_is_enlarged_and_a_large_one_keeps_its_size(side: int, channels: int) -> None:
    pixels = np.full((side, side, channels), 30, np.uint8)
    shown = overlay(pixels, np.zeros((2, 3, 3), np.float32), 1)
    assert (shown.size, shown.mode) == ((max(side, SIDE),) * 2, "RGB")
    assert set(np.asarray(shown).ravel()) == {30}


def test_the_map_written_is_that_of_the_most_probable_class(
    info: BundleInfo, tmp_path: Path
) -> None:
    one = result(info, "p1", row=1)
    write_heatmap(tmp_path / "new" / "maps", one, info, frozenset())
    with Image.open(tmp_path / "new" / "maps" / "p1-nv.png") as written:
        assert written.info == {}  # no metadata, so no trace of the machine
        shown = np.asarray(written)
    assert one.pixels is not None
    assert one.cam is not None
    np.testing.assert_array_equal(shown, np.asarray(overlay(one.pixels, one.cam, 1)))


@pytest.mark.parametrize("absent", ["answer", "pixels", "cam"])
def test_without_an_answer_or_a_map_nothing_is_written(
    info: BundleInfo, tmp_path: Path, absent: str
) -> None:
    changes: dict[str, Any] = {absent: None}
    write_heatmap(tmp_path / "maps", replace(result(info, "p1"), **changes), info, frozenset())
    assert not (tmp_path / "maps").exists()


def test_a_folder_that_cannot_be_made_is_one_line(info: BundleInfo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="file: cannot be written"):
        write_heatmap(tmp_path / "file", result(info, "p1"), info, frozenset())


def test_names_that_would_be_one_file_get_a_hash(info: BundleInfo) -> None:
    names = ["a b", "a_b", "a/b", "\udcff", "\udcfe", "x" * 100, "x" * 101, ".a", "a", ""]
    made = [file_name(name, "nv") for name in names]
    assert len(set(made)) == len(names)
    assert file_name("a_b", "nv") == "a_b-nv.png"
    assert file_name("A_b", "nv", twin=True).casefold() != "a_b-nv.png"
    assert file_name("a", "b c") != file_name("a", "b_c")
