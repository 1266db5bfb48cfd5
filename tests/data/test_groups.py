from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.groups import crossing, united_groups
from lesionlab.errors import BadInput


def table(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "lesion_id", "sha256"])


def test_patient_then_lesion_then_image() -> None:
    rows = table([("a", "p", "L1", "1"), ("b", "p", "L2", "2"), ("c", "", "L3", "3"),
                  ("d", "", "L3", "4"), ("e", "", "", "5")])  # fmt: skip
    groups = list(united_groups(rows))
    assert groups == ["patient:p", "patient:p", "lesion:L3", "lesion:L3", "image:e"]


def test_bytes_and_pairs_unite_transitively() -> None:
    rows = table([("a", "p", "", "same"), ("b", "q", "", "same"), ("c", "q", "", "3"),
                  ("d", "", "L", "4"), ("e", "", "", "")])  # fmt: skip
    groups = united_groups(rows, [("d", "c")])
    assert len(set(groups[:4])) == 1
    assert groups[4] == "image:e"


def test_absent_values_unite_nothing() -> None:
    assert len(set(united_groups(table([("a", "", "", ""), ("b", "", "", "")])))) == 2


def test_lesion_numbers_of_several_patients_join_nobody() -> None:
    rows = table([("a", "p", "1", "1"), ("b", "q", "1", "2"), ("c", "", "1", "3")])
    assert len(set(united_groups(rows))) == 3


def test_a_lesion_joins_a_row_without_patient_to_its_patient() -> None:
    rows = table([("a", "p", "L", "1"), ("b", "", "L", "2")])
    assert list(united_groups(rows)) == ["lesion:L", "lesion:L"]


def test_labels_do_not_depend_on_the_order_of_rows() -> None:
    draw = np.random.default_rng(0)
    rows = table([(f"i{n}", "", f"L{draw.integers(20)}", f"h{draw.integers(40)}")
                  for n in range(60)])  # fmt: skip
    plain = dict(zip(rows["image_id"], united_groups(rows), strict=True))
    mixed = rows.sample(frac=1, random_state=1)
    assert dict(zip(mixed["image_id"], united_groups(mixed), strict=True)) == plain


def test_long_chains_of_near_duplicates_stop() -> None:
    rows = table([(f"i{n}", "", "", str(n)) for n in range(30)])
    chain = [(f"i{n}", f"i{n + 1}") for n in range(24)]
    with pytest.raises(BadInput, match=r"25 images are chained together.*--max-duplicates 25"):
        united_groups(rows, chain)
    assert len(set(united_groups(rows, chain, max_duplicates=25))) == 6


def test_pairs_of_unknown_images_are_refused() -> None:
    with pytest.raises(BadInput, match="unknown image 'x'"):
        united_groups(table([("a", "", "", "1")]), [("a", "x")])


def test_crossing_counts_groups_in_two_parts() -> None:
    groups = np.array(["g", "g", "h", "h", "k", "k"], object)
    parts = pd.Series(["train", "test", "train", "train", "test", ""])
    assert crossing(groups, parts) == ["g"]


def test_known_twins_unite() -> None:
    rows = table([("a", "p", "", "1"), ("b", "q", "", "2"), ("c", "", "", "3")])
    groups = united_groups(rows.assign(twin_group=["t", "t", ""]))
    assert groups[0] == groups[1] != groups[2]
