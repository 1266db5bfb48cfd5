"""Data that calibrate, in two halves of whole groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesionlab.evaluation.halves import first_half, groups_in, halve
from lesionlab.evaluation.predictions import Predictions

NAMES = ("nv", "mel", "df")


def table(groups: int = 101, seed: int = 0, images: int = 3) -> Predictions:
    """Patients with images of several classes; df is rare."""
    generator = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), images)
    y = generator.choice(3, len(code), p=[0.7, 0.27, 0.03])
    prob = generator.dirichlet([1, 1, 1], len(code))
    ids = np.array([f"i{k}" for k in range(len(code))], object)
    patients = np.array([f"p{c}" for c in code], object)
    return Predictions(ids, patients, np.array([""] * len(code), object), NAMES, y, prob)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_whole_and_each_class_is_divided(seed: int) -> None:
    data = table(seed=seed)
    fits, rest = halve(data)
    assert len(fits) + len(rest) == len(data)
    assert not set(fits.groups) & set(rest.groups)
    assert abs(groups_in(fits) - groups_in(rest)) <= 3
    rarest = [len(set(half.groups[half.y_true == 2])) for half in (fits, rest)]
    assert abs(rarest[0] - rarest[1]) <= 1
    for k in range(3):
        each = [len(set(half.groups[half.y_true == k])) for half in (fits, rest)]
        assert min(each) >= 0.7 * max(each)


def test_order_of_rows_and_classes_and_names_of_groups_change_nothing() -> None:
    data = table()
    first = first_half(data)
    order = np.random.default_rng(1).permutation(len(data))
    assert (first_half(data.take(order)) == first[order]).all()
    renamed = np.array([f"other {1000 - int(p[1:])}" for p in data.patient_id], object)
    assert (first_half(replace(data, patient_id=renamed)) == first).all()
    turned = [2, 0, 1]
    y = np.array([turned.index(k) for k in data.y_true])
    columns = replace(
        data, classes=tuple(NAMES[k] for k in turned), y_true=y, y_prob=data.y_prob[:, turned]
    )
    assert (first_half(columns) == first).all()
    written = replace(data, y_prob=data.y_prob + 1e-12)
    assert (first_half(written) == first).all()


def test_two_groups_of_a_class_are_one_in_each_half_and_equal_rows_are_divided() -> None:
    data = table(20, images=1)
    y = np.array([2, 2] + [0] * 18)
    fits, rest = halve(replace(data, y_true=y, y_prob=np.tile([0.2, 0.3, 0.5], (20, 1))))
    assert [int((half.y_true == 2).sum()) for half in (fits, rest)] == [1, 1]
    assert len(fits) == len(rest) == 10


def test_groups_that_differ_beyond_the_rounding_only_are_divided_alike_too() -> None:
    data = table(200, images=1)
    tiny = np.geomspace(1e-30, 1e-12, 200)
    near = replace(data, y_prob=np.stack([1 - tiny, tiny, 0 * tiny], axis=1))
    order = np.random.default_rng(2).permutation(200)
    assert (first_half(near.take(order)) == first_half(near)[order]).all()
