"""Folds: whole groups, every class, nothing of the sealed part nor its kin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.array_types import Labels
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, DatasetInfo, read_dataset, with_table
from lesionlab.errors import BadInput
from lesionlab.experiments.folds import MOST, OUTSIDE, deal_folds, fold_parts, open_rows


def open_groups(dataset: Dataset) -> set[str]:
    groups = united_groups(dataset.table)
    return set(groups[open_rows(dataset, groups)])


def test_folds_keep_groups_and_leave_the_test_part_alone(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    groups = united_groups(dataset.table)
    folds = deal_folds(dataset, groups, 3, seed=4)
    sealed = (dataset.table["split"] == "test").to_numpy()
    assert (folds.number[sealed] == OUTSIDE).all()
    assert sorted(set(folds.number[~sealed])) == [0, 1, 2]
    for fold in range(3):
        parts = fold_parts(dataset, groups, folds, fold, 0.2, 0)
        assert (parts[sealed] == "").all()
        assert (parts[folds.number == fold] == "test").all()
        for group in set(groups):
            assert len(set(parts[groups == group])) == 1, group
        assert {"train", "valid", "test", ""} == set(parts)
    other = deal_folds(dataset, groups, 3, seed=5)
    assert (other.number != folds.number).any()


def test_kin_of_a_test_image_is_in_no_fold(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    groups = united_groups(dataset.table).copy()
    train = int(np.flatnonzero(dataset.table["split"] == "train")[0])
    groups[train] = groups[int(np.flatnonzero(dataset.table["split"] == "test")[0])]
    assert not open_rows(dataset, groups)[train]


def test_a_column_gives_the_folds(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    groups = united_groups(dataset.table)
    code = np.unique(groups, return_inverse=True)[1] % 2
    twins = next(g for g in groups if (groups == g).sum() > 1 and g in open_groups(dataset))
    code[int(np.flatnonzero(groups == twins)[0])] ^= 1  # one group stands in both sources
    table = dataset.table.assign(source=np.where(code, "a", "b"))
    dataset = with_table(dataset, table)
    folds = deal_folds(dataset, groups, 5, 0, by="source")
    assert folds.names == ("a", "b")
    parts = fold_parts(dataset, groups, folds, 0, 0.2, 0)
    torn = set(groups[parts == "test"]) & set(groups[(parts == "train") | (parts == "valid")])
    assert not torn
    assert ((parts == "") & (groups == twins)).any()
    with pytest.raises(BadInput, match="no column 'sauce'; did you mean 'source'"):
        deal_folds(dataset, groups, 5, 0, by="sauce")
    with pytest.raises(BadInput, match="has only one value"):
        deal_folds(read_dataset(lesions), groups, 5, 0, by="source")


def test_a_column_of_numbers_gives_folds_or_is_refused(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    groups = united_groups(dataset.table)
    ages = np.where(np.arange(len(groups)) % 2, 40.0, 60.0)
    folds = deal_folds(with_table(dataset, dataset.table.assign(age=ages)), groups, 5, 0, by="age")
    assert folds.names == ("40.0", "60.0")
    inside = folds.number != OUTSIDE
    assert (folds.number[inside] == (ages[inside] == 60)).all()
    ages[np.flatnonzero(inside)[0]] = np.nan
    with pytest.raises(BadInput, match="column 'age' is unknown for 1 image"):
        deal_folds(with_table(dataset, dataset.table.assign(age=ages)), groups, 5, 0, by="age")
    many = dataset.table.assign(age=np.arange(len(groups), dtype=float))
    with pytest.raises(BadInput, match=r"has \d+ values, and each would be a fold"):
        deal_folds(with_table(dataset, many), groups, 5, 0, by="age")


def hand_made(split: str, groups: str, **columns: list[object]) -> tuple[Dataset, Labels]:
    """One letter a row: t(est), r (train), v(alid), - (unused); the label alternates by group."""
    names = {"t": "test", "r": "train", "v": "valid", "c": "calib", "-": ""}
    table = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(split))],
            "label": ["ab"[ord(g) % 2] for g in groups],
            "split": [names[s] for s in split],
            **columns,
        }
    )
    info = DatasetInfo(name="t", source="t", classes=("a", "b"))
    return Dataset(Path(), table, info), np.array(list(groups), object)


def test_open_rows_by_hand() -> None:
    dataset, groups = hand_made("trvcr-r", "AABCDDE")
    wanted = [False, False, True, True, True, False, True]  # kin of test, and the unused, are out
    assert open_rows(dataset, groups).tolist() == wanted


def test_a_data_set_that_was_never_split_is_open_as_a_whole() -> None:
    dataset, groups = hand_made("--------", "ABCDEFGH")
    assert open_rows(dataset, groups).all()
    folds = deal_folds(dataset, groups, 2, 0)
    assert folds.sealed == 0
    assert folds.names == ("0", "1")
    for fold in (0, 1):  # four groups, two of each class
        assert sorted(dataset.table["label"][folds.number == fold]) == ["a", "a", "b", "b"]


def test_units_tear_groups_but_never_let_kin_of_test_in() -> None:
    dataset, groups = hand_made("tr" + "r" * 16, "AA" + "B" * 8 + "C" * 8)
    folds = deal_folds(dataset, groups, 2, 0, units=dataset.table["image_id"].to_numpy(object))
    assert folds.number[:2].tolist() == [OUTSIDE, OUTSIDE]
    assert folds.sealed == 1
    assert set(folds.number[groups == "B"]) == {0, 1}
    with pytest.raises(BadInput, match="class 'a' has 1 group, fewer than the 2 splits"):
        deal_folds(dataset, groups, 2, 0)


def test_the_deal_does_not_depend_on_the_order_of_rows() -> None:
    dataset, groups = hand_made("r" * 16, "AABBCCDDEEFFGGHH")
    turned = np.random.default_rng(0).permutation(16)
    other = with_table(dataset, dataset.table.iloc[turned].reset_index(drop=True))
    there = deal_folds(dataset, groups, 3, 7).number
    assert deal_folds(other, groups[turned], 3, 7).number.tolist() == there[turned].tolist()


def test_an_unknown_source_is_counted_and_refused() -> None:
    sources: list[object] = ["x", "", "y", None, "x"]
    dataset, groups = hand_made("rrrrr", "ABCDE", source=sources)
    with pytest.raises(BadInput, match="column 'source' is unknown for 2 images"):
        deal_folds(dataset, groups, 2, 0, by="source")


def test_only_the_open_rows_say_what_sources_there_are() -> None:
    sources: list[object] = ["sealed", "x", "y", "x", ""]
    dataset, groups = hand_made("trrr-", "ABCDE", source=sources)
    folds = deal_folds(dataset, groups, 2, 0, by="source")
    assert folds.names == ("x", "y")
    assert folds.number.tolist() == [OUTSIDE, 0, 1, 0, OUTSIDE]
    assert folds.sealed == 1


@pytest.mark.parametrize(("n", "refused"), [(MOST, False), (MOST + 1, True)])
def test_the_number_of_sources_has_an_end(n: int, refused: bool) -> None:
    letters = "".join(chr(ord("A") + i) for i in range(n))
    dataset, groups = hand_made("r" * n, letters, source=list(range(n)))
    if not refused:
        assert len(deal_folds(dataset, groups, 2, 0, by="source").names) == n
        return
    with pytest.raises(BadInput, match=r"has 21 values.*at most 20"):
        deal_folds(dataset, groups, 2, 0, by="source")


def test_validation_is_its_share_of_what_the_fold_leaves() -> None:
    dataset, groups = hand_made("r" * 12, "AABBCCDDEEFF")
    folds = deal_folds(dataset, groups, 3, 0)
    for fold in range(3):
        parts = fold_parts(dataset, groups, folds, fold, 1 / 2, 0)
        assert (parts == "valid").sum() == (parts == "train").sum() == 4
