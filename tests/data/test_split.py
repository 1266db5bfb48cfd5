from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlab.data.archive import open_tree
from lesionlab.data.groups import crossing, united_groups
from lesionlab.data.sources import ham10000
from lesionlab.data.split import deal, deal_by_image, k_folds, shares_of, summary
from lesionlab.errors import BadInput

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


def world(lesions: int = 300, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(seed)
    rows = []
    for n in range(lesions):
        label = str(draw.choice(["nv", "mel", "bcc"], p=[0.7, 0.2, 0.1]))
        rows += [{"image_id": f"i{n}-{v}", "lesion_id": f"L{n}", "label": label, "patient_id": "",
                  "sex": str(draw.choice(["female", "male"])), "age": float(draw.integers(20, 80)),
                  "sha256": f"{n}-{v}"} for v in range(int(draw.integers(1, 4)))]  # fmt: skip
    table = pd.DataFrame(rows)
    return table, united_groups(table)


def spread(table: pd.DataFrame, parts: np.ndarray) -> float:
    share = pd.crosstab(parts, table["label"], normalize="index")
    return float((share.max() - share.min()).max())


def test_no_group_crosses_and_classes_keep_their_shares() -> None:
    table, groups = world()
    parts = deal(table, groups, SHARES, 0)
    assert crossing(groups, parts) == []
    assert spread(table, parts) < 0.02
    sizes = pd.Series(parts).value_counts(normalize=True)
    assert all(abs(sizes[p] - share) < 0.02 for p, share in SHARES.items())


def test_the_deal_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    table, groups = world()
    plain = pd.Series(deal(table, groups, SHARES, 3), table["image_id"])
    mixed = table.sample(frac=1, random_state=5)
    again = pd.Series(deal(mixed, united_groups(mixed), SHARES, 3), mixed["image_id"])
    assert (again[plain.index] == plain).all()
    assert (pd.Series(deal(table, groups, SHARES, 4), table["image_id"]) != plain).any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=20, max_size=80),
       st.integers(0, 5))  # fmt: skip
def test_groups_of_mixed_classes_never_cross(rows: list[tuple[int, int]], seed: int) -> None:
    table = pd.DataFrame(
        {"image_id": [str(n) for n in range(len(rows))], "label": [f"c{k}" for _, k in rows]}
    )
    groups = np.array([f"g{g}" for g, _ in rows], object)
    try:
        parts = deal(table, groups, SHARES, seed)
    except BadInput:
        return  # too few groups of a class: refused, never leaked
    assert crossing(groups, parts) == []
    assert (pd.crosstab(parts, table["label"]) > 0).all().all()


def test_a_class_with_fewer_groups_than_parts_is_refused() -> None:
    table, groups = world(100)
    table.loc[table["lesion_id"] == "L0", "label"] = "rare"
    with pytest.raises(BadInput, match="class 'rare' has 1 group, fewer than the 3 splits"):
        deal(table, groups, SHARES, 0)


def test_calibration_is_a_part_of_its_own() -> None:
    table, groups = world()
    parts = deal(table, groups, shares_of(0.2, 0.15, 0.1), 0)
    assert set(parts) == {"train", "valid", "test", "calib"}
    assert crossing(groups, parts) == []


@pytest.mark.parametrize("column", ["sex", "age"])
def test_further_columns_are_balanced(column: str) -> None:
    table, groups = world(600)
    parts = deal(table, groups, SHARES, 0, (column,))
    band = pd.cut(table["age"], (0, 30, 45, 60, 75, 200)).astype(str)
    value = band if column == "age" else table["sex"]
    share = pd.crosstab(parts, value, normalize="index")
    assert (share.max() - share.min()).max() < 0.03
    assert spread(table, parts) < 0.02


def test_unknown_column_is_refused() -> None:
    table, groups = world(30)
    with pytest.raises(BadInput, match="no column 'colour'"):
        deal(table, groups, SHARES, 0, ("colour",))


def test_dealing_by_image_leaks() -> None:
    table, groups = world()
    assert crossing(groups, deal_by_image(table, SHARES, 0))


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_partition_the_groups(folds: int) -> None:
    table, groups = world()
    fold = k_folds(table, groups, folds, 0)
    assert set(fold) == set(range(folds))
    assert crossing(groups, pd.Series(fold).astype(str)) == []
    assert spread(table, fold) < 0.03


@pytest.mark.parametrize("shares", [(1.0, 0.1), (-0.1, 0.2), (0.6, 0.5), (0.0, 0.0)])
def test_impossible_shares_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(BadInput):
        shares_of(*shares)
    with pytest.raises(BadInput, match="folds"):
        k_folds(*world(10), 1, 0)


def test_summary_counts_images_groups_and_classes() -> None:
    table, groups = world()
    table["split"] = deal(table, groups, SHARES, 0)
    told = summary(table, groups, ["bcc", "mel", "nv"])
    assert told["groups_crossing"] == 0
    assert sum(told[p]["images"] for p in SHARES) == len(table)
    assert sum(told[p]["groups"] for p in SHARES) == len(set(groups))
    assert sum(told["test"]["classes"].values()) == told["test"]["images"]


@pytest.mark.real
def test_ham10000_classes_keep_their_shares_for_five_seeds(shared: Path) -> None:
    with open_tree(shared / "data" / "ham10000.zip") as tree:
        rows = ham10000.find(tree, {}).rows.assign(patient_id="", sha256="")
    groups = united_groups(rows)
    for seed in range(5):
        parts = deal(rows, groups, shares_of(0.2, 0.15), seed)
        assert crossing(groups, parts) == []
        assert spread(rows, parts) <= 0.02
