"""Arrays of any library become plain ones, or are refused with the place of what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lesionlab.errors import BadInput
from lesionlab.evaluation.arrays import Plain, numbers, plain_array, same_length, text, texts


def read(values: Any) -> Plain:
    return plain_array(values, "x")


@pytest.mark.parametrize(
    "values",
    [
        [0.25, 0.5],
        (0.25, 0.5),
        np.array([[0.25], [0.5]]),
        np.array([0.25, 0.5], np.float16),
        pd.Series([0.25, 0.5], index=[7, 3]),
        pd.DataFrame({"p": [0.25, 0.5]}),
        torch.tensor([0.25, 0.5], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(0.25), np.float32(0.5)],
        np.ma.array([0.25, 0.5], mask=[False, False]),
        range(2),
    ],
)
def test_every_kind_of_column_holds_the_same_numbers(values: Any) -> None:
    found = numbers(read(values))
    expected = [0.0, 1.0] if isinstance(values, range) else [0.25, 0.5]
    assert found.tolist() == expected
    assert found.dtype == np.float64


def test_names_and_index_come_along_but_not_with_a_column_vector() -> None:
    table = pd.DataFrame({"nv": [0.1, 0.2], 2: [0.9, 0.8]}, index=["a", "b"])
    found = read(table)
    assert found.columns == ("nv", "2")
    assert found.index is not None
    assert list(found.index) == ["a", "b"]
    assert read(table[["nv"]]).columns is None
    assert read(table.to_numpy()).columns is None
    assert read([1, 2]).index is None  # `list.index` is a method, not an index


def test_labels_of_a_list_keep_their_kind() -> None:
    """NumPy would make texts of numbers beside a text, which are sorted by letters."""
    values = [10, "9", None, True, np.int64(2), torch.tensor(3)]
    found = read(values).values.tolist()
    assert found == [10, "9", None, True, 2, 3]
    assert [type(v) for v in found] == [int, str, type(None), bool, int, int]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], "x: it is empty"),
        (np.zeros((3, 0)), "x: it is empty"),
        (3.0, "x: it cannot be read as an array"),
        (np.array(3.0), "x: it is no array; give one value a case"),
        (torch.tensor(3.0), "x: it is no array"),
        (None, "x: it cannot be read as an array"),
        ("mel", "x: a str is no array"),
        (b"mel", "x: a bytes is no array"),
        ({"mel": 1}, "x: a dict is no array"),
        ({1, 2}, "x: a set is no array"),
        (np.zeros((2, 2, 2)), r"x: its shape is \(2, 2, 2\); give \(N,\) or \(N, K\)"),
        ([[0.1, 0.9], [0.2]], "x: it cannot be read as an array"),
        ([0.1, [0.2]], r"x\[1\]: a list is no single value"),
        ([1, {"a": 2}], r"x\[1\]: a dict is no single value"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "x: it has masked values"),
    ],
)
def test_what_is_no_array_is_refused_in_one_line(values: Any, shown: str) -> None:
    with pytest.raises(BadInput, match=f"^{shown}") as refusal:
        read(values)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.1, "0.2"], r"x\[1\]: '0.2' is not a number"),
        ([0.1, 1 + 2j], r"x\[1\]: '\(1\+2j\)' is not a number"),
        (np.array([1 + 2j]), r"x\[0\]: '\(1\+2j\)' is not a number"),
        ([0.1, None], r"x\[1\]: nan is not a finite number"),
        ([0.1, pd.NA], r"x\[1\]: nan is not a finite number"),
        ([0.1, ""], r"x\[1\]: '' is not a number"),
        ([[0.1, 0.2], [0.3, -np.inf]], r"x\[1, 1\]: -inf is not a finite number"),
        (np.array(["2020-01-01"], "datetime64[D]"), r"x\[0\]: .* is not a number"),
    ],
)
def test_what_is_no_number_is_named_by_its_place(values: Any, shown: str) -> None:
    with pytest.raises(BadInput, match=shown):
        numbers(read(values))


def test_booleans_and_whole_numbers_are_numbers() -> None:
    assert numbers(read([True, False])).tolist() == [1.0, 0.0]
    assert numbers(read(np.array([3, 250], np.uint8))).tolist() == [3.0, 250.0]


def test_lengths_and_indexes_must_agree() -> None:
    a = plain_array(pd.Series([1, 2, 3], index=[5, 6, 7]), "a")
    b = plain_array([1, 2, 3], "b")
    same_length(a, None, b, plain_array(pd.Series([1, 2, 3], index=[5, 6, 7]), "c"))
    with pytest.raises(BadInput, match="a has 3 cases, d has 2; give one value a case in each"):
        same_length(a, b, plain_array([1, 2], "d"))
    turned = plain_array(pd.Series([1, 2, 3], index=[5, 7, 6]), "c")
    with pytest.raises(BadInput, match=r"indexes of a and c differ, first in row 1 \(6 and 7\)"):
        same_length(a, b, turned)  # a plain array between them hides nothing


def test_an_index_with_gaps_is_the_same_index() -> None:
    index = [1.0, float("nan"), 3.0]
    same_length(*(plain_array(pd.Series([1, 2, 3], index=index), n) for n in "ab"))


def test_texts_of_labels() -> None:
    values = np.array([1.0, 2.5, np.nan, -3.0])
    assert texts(values).tolist() == ["1", "2.5", "", "-3"]
    mixed = np.array([b"mel", "nv", pd.NaT, 0, False, np.float32(2)], object)
    assert texts(mixed).tolist() == ["mel", "nv", "", "0", "False", "2"]
    assert text(b"\xff") == "�"
    assert text(float("inf")) == "inf"
    assert text(1e20) == str(10**20)
