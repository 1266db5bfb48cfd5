from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.groups import crossing
from lesionlab.data.parts import fold_as_test, keep_apart, left_out, official
from lesionlab.errors import BadInput


def world(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Lesions of two images; the official split leaks lesion 0, and two sources share lesion 1."""
    table = pd.DataFrame({
        "image_id": [f"i{k}" for k in range(n)],
        "label": ["mel" if (k // 2) % 3 == 0 else "nv" for k in range(n)],
        "source": ["b" if k >= 2 * n // 3 else "a" for k in range(n)],
        "official_split": ["test" if k >= 3 * n // 4 else "train" for k in range(n)],
    })  # fmt: skip
    table.loc[1, "official_split"] = "test"
    table.loc[3, "source"] = "b"
    return table, np.array([f"lesion:{k // 2}" for k in range(n)], object)


def test_the_stronger_part_keeps_the_group() -> None:
    groups = np.array(list("ggghhk"), object)
    parts = np.array(["train", "valid", "test", "train", "valid", ""], object)
    apart = keep_apart(groups, parts)
    assert list(apart.parts) == ["", "", "test", "", "valid", ""]
    assert apart.dropped.tolist() == [True, True, False, True, False, False]


def test_official_parts_stay_and_the_training_twin_is_dropped() -> None:
    table, groups = world()
    apart = official(table, groups, {}, 0)
    assert np.flatnonzero(apart.dropped).tolist() == [0]
    assert (apart.parts == "test").sum() == (table["official_split"] == "test").sum()
    assert crossing(groups, apart.parts) == []


def test_validation_is_carved_out_of_training_by_groups() -> None:
    table, groups = world()
    apart = official(table, groups, {"valid": 0.2, "calib": 0.2}, 0)
    assert set(apart.parts) == {"train", "valid", "test", "calib", ""}
    assert crossing(groups, apart.parts) == []
    with pytest.raises(BadInput, match="already has a split 'test'"):
        official(table, groups, {"test": 0.2}, 0)
    with pytest.raises(BadInput, match="leave nothing"):
        official(table, groups, {"valid": 1.0}, 0)
    with pytest.raises(BadInput, match="no official split"):
        official(table.drop(columns="official_split"), groups, {}, 0)


def test_a_source_left_out_takes_its_groups_along() -> None:
    table, groups = world()
    apart = left_out(table, groups, "b", {"valid": 0.2}, 0)
    assert (apart.parts[(table["source"] == "b").to_numpy()] == "test").all()
    assert apart.parts[2] == ""
    assert crossing(groups, apart.parts) == []
    with pytest.raises(BadInput, match="no source 'c'"):
        left_out(table, groups, "c", {}, 0)


def test_every_fold_is_test_once() -> None:
    table, groups = world()
    tests = [fold_as_test(table, groups, 4, f, {"valid": 0.2}, 0).parts == "test" for f in range(4)]
    assert np.sum(tests, axis=0).tolist() == [1] * len(table)
    parts = fold_as_test(table, groups, 4, 2, {"valid": 0.2}, 0).parts
    assert crossing(groups, parts) == []
    with pytest.raises(BadInput, match="fold 4 of 4"):
        fold_as_test(table, groups, 4, 4, {}, 0)


def test_an_official_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    table, _ = world()
    one = np.full(len(table), "patient:1", object)
    with pytest.raises(BadInput, match="leaves no training image"):
        official(table, one, {}, 0)


def test_a_single_source_cannot_be_left_out() -> None:
    table, groups = world()
    with pytest.raises(BadInput, match="'a' is the only source"):
        left_out(table.assign(source="a"), groups, "a", {}, 0)
