from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.groups import crossing
from lesionlab.data.leakage_experiment import arms
from lesionlab.errors import BadInput


def world(views: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(0)
    rows = [
        {"image_id": f"i{n}-{v}", "label": ("mel", "nv")[n % 3 > 0], "lesion": f"L{n}"}
        for n in range(200)
        for v in range(int(draw.integers(1, views + 1)))
    ]
    table = pd.DataFrame(rows)
    return table, table["lesion"].to_numpy(object)


def test_the_arms_differ_in_the_siblings_and_nothing_else() -> None:
    table, groups = world()
    both = arms(table, groups, 0)
    for part in ("test", "valid"):
        assert ((both.leaky == part) == (both.clean == part)).all()
    labels = table["label"]
    leaky, clean = (labels[p == "train"].value_counts() for p in (both.leaky, both.clean))
    assert leaky.to_dict() == clean.to_dict()
    changed = (both.leaky == "train") != (both.clean == "train")
    assert (changed == (both.siblings | both.exchanged)).all()


def test_the_clean_arm_leaks_nothing_and_the_leaky_one_does() -> None:
    table, groups = world()
    both = arms(table, groups, 1)
    assert crossing(groups, both.clean) == []
    assert set(crossing(groups, both.leaky)) == set(groups[both.siblings])
    assert both.with_siblings > 0
    assert set(groups[both.siblings]) <= set(groups[both.clean == "test"])


def test_the_test_part_is_dealt_by_image_and_some_of_its_images_have_no_sibling() -> None:
    table, groups = world()
    both = arms(table, groups, 2)
    tested = both.clean == "test"
    assert tested.sum() == both.tested == pytest.approx(0.2 * len(table), abs=2)
    assert 0 < both.with_siblings < both.tested
    assert both.with_siblings == np.isin(groups[tested], groups[both.siblings]).sum()
    share = {c: (table["label"][tested] == c).mean() for c in ("mel", "nv")}
    assert share["mel"] == pytest.approx((table["label"] == "mel").mean(), abs=0.01)


def test_the_arms_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    table, groups = world()
    plain = pd.Series(arms(table, groups, 3).leaky, table["image_id"])
    mixed = table.sample(frac=1, random_state=1)
    again = pd.Series(arms(mixed, mixed["lesion"].to_numpy(object), 3).leaky, mixed["image_id"])
    assert (again[plain.index] == plain).all()
    assert (pd.Series(arms(table, groups, 4).leaky, table["image_id"]) != plain).any()


def test_without_siblings_there_is_nothing_to_inflate() -> None:
    with pytest.raises(BadInput, match="no test image shares a group"):
        arms(*world(views=1), seed=0)
