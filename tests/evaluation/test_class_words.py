from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from helpers.tables import predicted
from lesionlab.evaluation.class_words import (
    classes_of_marks,
    classes_of_words,
    in_classes,
    in_words_of,
    same_classes,
)


def test_words_that_are_classes_already_are_left_alone() -> None:
    assert classes_of_words(["MEL", "nv", "", "nevus"], ["mel", "nv"]) == {"nevus": "nv"}
    assert classes_of_words(["rash"], ["mel", "nv"]) == {}


@pytest.mark.parametrize(
    ("classes", "positive", "one"),
    [
        (("benign", "malignant"), "", "malignant"),
        (("mel", "nv"), "", "mel"),
        (("a", "b"), "", None),
        (("a", "b"), "b", "b"),
        (("mel", "bcc"), "", None),
        (("mel", "bcc", "nv"), "mel", None),
    ],
)
def test_what_a_mark_means(classes: tuple[str, ...], positive: str, one: str | None) -> None:
    found = classes_of_marks(classes, positive)
    assert found.get("1") == found.get("true") == one
    assert (found.get("0") is None) == (one is None)


def test_marks_and_words_are_not_mixed() -> None:
    labels = pd.Series(["1", "0.0", "", "TRUE"])
    found, notes = in_words_of(labels, ["benign", "malignant"])
    assert found.tolist() == ["malignant", "benign", "", "malignant"]
    assert len(notes) == 3
    mixed, _ = in_words_of(pd.Series(["1", "benign"]), ["benign", "malignant"])
    assert mixed.tolist() == ["1", "benign"]
    own, notes = in_words_of(pd.Series(["0", "1"]), ["0", "1"])
    assert own.tolist() == ["0", "1"]
    assert notes == []


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        (["NV", "MEL"], ["mel", "nv"], {"NV": "nv", "MEL": "mel"}),
        (["seborrheic keratosis", "mel"], ["MEL", "BKL"],
         {"seborrheic keratosis": "BKL", "mel": "MEL"}),
        (["a", "b"], ["b", "a"], {"a": "a", "b": "b"}),
        (["mel", "nv"], ["mel", "nv", "bcc"], None),
        (["mel", "melanoma"], ["mel", "nv"], None),
        (["a", "c"], ["a", "b"], None),
    ],
)  # fmt: skip
def test_one_class_list_by_the_words_of_another(
    theirs: list[str], ours: list[str], same: dict[str, str] | None
) -> None:
    assert same_classes(theirs, ours) == same


def test_predictions_are_turned_into_other_words_and_order() -> None:
    found = predicted([0, 1, -1], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], [""] * 3)
    named = replace(found, classes=("melanoma", "nv", "bcc"))
    turned = in_classes(named, ("BCC", "MEL", "NV"))
    assert turned is not None
    assert turned.classes == ("BCC", "MEL", "NV")
    assert turned.y_true.tolist() == [1, 2, -1]
    assert turned.y_prob[0].tolist() == [0.1, 0.7, 0.2]
    assert in_classes(named, ("BCC", "MEL", "DF")) is None
