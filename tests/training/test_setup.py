"""What is decided before the first step: parts, what a run remembers of its data, pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.datasets import begun_run, dataset, row, written
from lesionlab.config import Settings
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT
from lesionlab.training import setup
from lesionlab.training.distributed import Ranks
from lesionlab.training.setup import (
    fingerprint,
    open_parts,
    preprocessing,
    reference,
    refuse_changed_data,
    snapshot,
    stage_pixels,
    write_snapshot,
)

Recipe = Callable[..., Settings]
ROWS = (
    row(
        "c", label="mel", patient_id="P1", roi_x=3.0, roi_y=4.5, roi_size=8.0, age=60.0, sex="male"
    ),
    row("a", label="nv", lesion_id="L1"),
    row("b", "valid", label="nv"),
    row("e", label="nv"),
    row("d", "test", label="mel"),
    row("f", "", label="mel"),
)


def hand(folder: Path, *changed: dict[str, Any], **info: Any) -> Dataset:
    """`ROWS`, with the rows in `changed` instead of those of the same `image_id`."""
    new = {r["image_id"]: r for r in changed}
    return dataset(folder, *(new.get(r["image_id"], r) for r in ROWS), **info)


def test_parts_are_numbers_into_the_table_in_the_order_of_image_id(tmp_path: Path) -> None:
    parts = open_parts(written(hand(tmp_path)))
    assert list(parts.dataset.table["image_id"]) == list("abcdef")
    assert (parts.train.tolist(), parts.valid.tolist()) == ([0, 2, 4], [1])
    assert parts.y.tolist() == [0, 0, 1, 1, 0, 1]
    assert parts.counts.tolist() == [2, 1]


def test_a_class_without_a_training_image_is_named(tmp_path: Path) -> None:
    folder = written(hand(tmp_path, classes=("bcc", "nv", "mel")))
    with pytest.raises(BadInput, match="class 'bcc' has no training image; split again"):
        open_parts(folder)
    folder = written(hand(tmp_path, row("c", "valid", label="mel")))
    with pytest.raises(BadInput, match="class 'mel' has no training image"):
        open_parts(folder)


def test_a_data_set_without_validation_is_refused(tmp_path: Path) -> None:
    folder = written(hand(tmp_path, row("b", "train", label="nv")))
    with pytest.raises(BadInput, match="no images in split 'valid'"):
        open_parts(folder)


def test_a_snapshot_is_text_and_what_is_absent_is_empty(tmp_path: Path) -> None:
    found = snapshot(hand(tmp_path), ("age", "sex")).set_index("image_id")
    assert list(found.index) == list("abcdef")
    assert list(found["group"]) == [
        "lesion:L1",
        "image:b",
        "patient:P1",
        "image:d",
        "image:e",
        "image:f",
    ]
    assert found.loc["c", ["roi_x", "roi_y", "roi_size", "age", "sex"]].tolist() == [
        *("3.0", "4.5", "8.0", "60.0", "male")
    ]
    assert set(found.loc["a", ["roi_x", "roi_y", "roi_size", "age", "sex"]]) == {""}
    assert "age" not in snapshot(hand(tmp_path))


@pytest.mark.parametrize(
    ("cells", "other"),
    [
        ({"label": "mel"}, True),
        ({"split": "valid"}, True),
        ({"lesion_id": "L2"}, True),
        ({"patient_id": "P1"}, True),
        ({"sha256": "x"}, True),
        ({"roi_x": 0.0}, True),  # 0 is a place, and absent is none
        ({"age": 50.0}, False),  # unless the network reads it
        ({"path": "moved/a.png"}, False),
        ({"site": "back", "width": 9.0, "phash": "0", "note": "x"}, False),
    ],
)
def test_the_fingerprint_changes_with_what_training_depends_on(
    tmp_path: Path, cells: dict[str, Any], other: bool
) -> None:
    changed = hand(tmp_path, {**ROWS[1], **cells})
    assert (fingerprint(changed) != fingerprint(hand(tmp_path))) == other


def test_the_fingerprint_holds_facts_and_classes_but_no_order_and_no_place(tmp_path: Path) -> None:
    data = hand(tmp_path)
    older = hand(tmp_path, {**ROWS[0], "age": 61.0})
    assert fingerprint(data, ("age",)) != fingerprint(older, ("age",))
    assert fingerprint(data) == fingerprint(older)
    assert fingerprint(hand(tmp_path, classes=("mel", "nv"))) != fingerprint(data)
    backward = replace(data, folder=tmp_path / "moved", table=data.table.iloc[::-1])
    assert fingerprint(backward) == fingerprint(data)


def test_a_reference_counts_the_parts_and_passes_over_images_without_one(tmp_path: Path) -> None:
    found = reference(hand(tmp_path, leaky=True, leak_reason="asked for"))
    assert found.images == {"train": 3, "valid": 1, "test": 1}
    assert (found.leaky, found.leak_reason, found.licence) == (True, "asked for", "unknown")
    assert found.folder == str(tmp_path.resolve())


def test_what_changed_is_counted_and_the_first_of_each_named(tmp_path: Path, tiny: Recipe) -> None:
    run, data = tmp_path / "run", hand(tmp_path)
    config = begun_run(run, tiny(), data)
    write_snapshot(run, data)
    refuse_changed_data(run, config, replace(data, table=data.table.iloc[::-1]))
    new = [row("e2"), {**ROWS[0], "roi_x": math.nan}, {**ROWS[1], "split": "valid"}, *ROWS[2:3]]
    with pytest.raises(BadInput) as error:
        refuse_changed_data(run, config, dataset(tmp_path, *new, *ROWS[4:]))
    assert "1 image gone, 1 added, 2 changed" in str(error.value)
    assert "(first: e, e2, a, split was train, is valid)" in str(error.value)
    with pytest.raises(BadInput, match=r"first: c, roi_x was 3\.0, is empty\)"):
        refuse_changed_data(run, config, hand(tmp_path, {**ROWS[0], "roi_x": math.nan}))


def test_the_classes_of_a_run_stay_in_their_order(tmp_path: Path, tiny: Recipe) -> None:
    config = begun_run(tmp_path / "run", tiny(), hand(tmp_path))
    with pytest.raises(BadInput, match="classes have changed from nv, mel to mel, nv"):
        refuse_changed_data(tmp_path / "run", config, hand(tmp_path, classes=("mel", "nv")))


def test_a_stage_may_have_a_size_of_its_own_and_nothing_else(tiny: Recipe) -> None:
    how = preprocessing(tiny())
    assert (how.size, how.crop, how.interpolation) == (32, 1.0, "bilinear")
    assert preprocessing(tiny(), 48) == replace(how, size=48)
    assert preprocessing(tiny(), None) == how


class Recorded(Ranks):
    """One of two processes, which writes down when it waits."""

    def __init__(self, rank: int, done: list[str]) -> None:
        super().__init__(rank, 2)
        object.__setattr__(self, "done", done)

    def wait(self) -> None:
        self.done.append("wait")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rank", "order"), [(0, ["open", "wait"]), (1, ["wait", "open"])])
def test_the_first_process_decodes_and_the_others_wait_for_it(
    tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, rank: int, order: list[str]
) -> None:
    done: list[str] = []
    parts = open_parts(written(hand(tmp_path)))

    def opened(of: Dataset, how: object, progress: object) -> str:
        assert how == preprocessing(tiny(), 48)
        done.append("open")
        return "pixels"

    monkeypatch.setattr(setup, "open_pixels", opened)
    pixels: object = stage_pixels(parts, tiny(), 48, SILENT, Recorded(rank, done))
    assert pixels == "pixels"
    assert done == order
