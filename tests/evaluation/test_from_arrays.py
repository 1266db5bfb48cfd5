"""Arrays of any library become the same predictions, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from lesionlab.errors import BadInput
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.from_arrays import FromArrays, predictions_from_arrays

CLASSES = ("bcc", "mel", "nv")
LABELS = ["mel", "nv", "bcc", "nv", "mel", "nv"]
NUMBERS = np.array([CLASSES.index(v) for v in LABELS])
RNG = np.random.default_rng(0)
PROB = RNG.dirichlet(np.ones(3), 6)
ONE = PROB[:, 1]
IDS = ["p1", "p1", "p2", "p3", "p4", "p4"]

Kind = Callable[[Any], Any]
KINDS: dict[str, Kind] = {
    "numpy": np.asarray,
    "list": lambda v: np.asarray(v).tolist(),
    "pandas": lambda v: pd.Series(v) if np.ndim(v) == 1 else pd.DataFrame(np.asarray(v)),
    "polars": lambda v: pl.Series(v) if np.ndim(v) == 1 else pl.DataFrame(np.asarray(v)),
    "objects": lambda v: np.asarray(v, dtype=object),
    "nullable": lambda v: (pd.Series(v) if np.ndim(v) == 1 else pd.DataFrame(v)).convert_dtypes(),
}


def read(y_true: Any, y_prob: Any, **options: Any) -> FromArrays:
    return predictions_from_arrays(y_true, y_prob, **options)


def labels_of(found: FromArrays) -> list[str]:
    names = np.array([*found.predictions.classes, ""], object)
    return names[found.predictions.y_true].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("truth", ["names", "numbers"])
def test_every_kind_of_array_gives_the_same_predictions(kind: str, truth: str) -> None:
    make = KINDS[kind]
    y = make(LABELS if truth == "names" else NUMBERS)
    found = read(y, make(PROB), classes=CLASSES, groups=make(IDS))
    assert labels_of(found) == LABELS
    np.testing.assert_array_equal(found.predictions.y_prob, PROB)
    assert found.predictions.groups.tolist() == [f"patient:{i}" for i in IDS]
    assert found.predictions.group_unit == "patient"
    assert found.positive == ("bcc", "mel")
    assert any("taxonomy" in note for note in found.notes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_read_with_gradient_and_in_any_precision(dtype: torch.dtype) -> None:
    half = torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=dtype, requires_grad=True)
    found = read(torch.tensor([0, 0, 1, 1]), half)
    assert found.predictions.y_prob[:, 1].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert half.requires_grad


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1, 1, 0], ("0", "1")),
        ([0.0, 1.0, 1.0, 0.0], ("0", "1")),
        ([False, True, True, False], ("False", "True")),
        (["0", "1", "1", "0"], ("0", "1")),
        ([-1, 1, 1, -1], ("-1", "1")),
        ([1, 2, 2, 1], ("1", "2")),
        ([1, 1, 1, 1], ("0", "1")),
        ([True, True, True, True], ("False", "True")),
        (["benign", "malignant", "malignant", "benign"], ("benign", "malignant")),
        (["nv", "mel", "mel", "nv"], ("mel", "nv")),
    ],
)
def test_two_classes_from_one_column(labels: list[Any], classes: tuple[str, ...]) -> None:
    p = np.array([0.1, 0.9, 0.8, 0.2])
    found = read(np.array(labels), p)
    assert found.predictions.classes == classes
    assert labels_of(found) == [str(v).removesuffix(".0") for v in labels]
    assert found.positive == (("mel",) if "mel" in classes else classes[1:])
    column = classes.index(found.positive[0])
    assert found.predictions.y_prob[:, column].tolist() == p.tolist()


def test_positive_says_whose_probability_the_column_is() -> None:
    labels = ["sick", "well", "sick", "well"]
    found = read(labels, [0.9, 0.2, 0.8, 0.1], positive="sick")
    assert found.predictions.classes == ("sick", "well")
    assert found.predictions.y_prob[:, 0].tolist() == [0.9, 0.2, 0.8, 0.1]
    other = read(labels, [0.9, 0.2, 0.8, 0.1], positive="well")
    assert other.predictions.y_prob[:, 1].tolist() == [0.9, 0.2, 0.8, 0.1]


def test_booleans_beside_names_mean_the_positive_class() -> None:
    for classes in (("malignant", "benign"), ("benign", "malignant")):
        found = read([True, False], [0.9, 0.2], classes=classes, positive="malignant")
        assert labels_of(found) == ["malignant", "benign"]
        assert any("True read as 'malignant'" in note for note in found.notes)
        column = classes.index("malignant")
        assert found.predictions.y_prob[:, column].tolist() == [0.9, 0.2]


def test_columns_are_read_by_name_not_by_place() -> None:
    table = pd.DataFrame(PROB, columns=CLASSES)
    plain = read(LABELS, table).predictions
    turned = table[["nv", "bcc", "mel"]]
    for other in (turned, turned.add_prefix("prob_")):
        found = read(LABELS, other, classes=CLASSES).predictions
        assert found.classes == CLASSES
        np.testing.assert_array_equal(found.y_prob, plain.y_prob)
    of_polars = read(LABELS, pl.DataFrame(table[["nv", "mel", "bcc"]].to_dict("list"))).predictions
    assert of_polars.classes == ("nv", "mel", "bcc")
    np.testing.assert_array_equal(of_polars.y_prob, PROB[:, [2, 1, 0]])


def test_the_order_of_classes_is_that_of_sorted_labels_and_is_said() -> None:
    found = read(LABELS, PROB)
    assert found.predictions.classes == CLASSES
    assert any("sorted order of labels: bcc, mel, nv" in note for note in found.notes)
    assert read([0, 2, 2, 0, 2, 2], PROB).predictions.classes == ("0", "1", "2")
    assert read([10, 9, 2, 10, 9, 2], PROB).predictions.classes == ("2", "9", "10")


def test_missing_labels_are_unknown_and_missing_groups_stand_alone() -> None:
    labels = pd.Series(["mel", None, np.nan, "", "nv", pd.NA], dtype=object)
    found = read(labels, PROB, classes=CLASSES, groups=[1.0, np.nan, 2.0, None, 1.0, ""])
    assert found.predictions.y_true.tolist() == [1, -1, -1, -1, 2, -1]
    assert found.predictions.groups.tolist() == [
        "patient:1", "image:1", "patient:2", "image:3", "patient:1", "image:5",
    ]  # fmt: skip
    assert any("3 of 6 cases have no group" in note for note in found.notes)
    assert any("no groups were given" in note for note in read(LABELS, PROB).notes)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "<NA>", "NA", "null", "unknown", " ", "-"])
def test_ids_that_say_nothing_are_no_one_patient(word: str, tmp_path: Path) -> None:
    """As an import reads them, and as a CSV with them is read."""
    ids = ["p1", word, word, "p3", word, "p1"]
    found = read(LABELS, PROB, classes=CLASSES, groups=ids, image_ids=list("abcdef"))
    wanted = [
        "patient:p1", "image:b", "image:c", "patient:p3", "image:e", "patient:p1",
    ]  # fmt: skip
    assert found.predictions.groups.tolist() == wanted
    said = f"patient_id '{word}' in 3 rows is read as not known"
    assert said in found.notes
    assert any("3 of 6 cases have no group" in note for note in found.notes)
    table = pd.DataFrame(PROB, columns=[f"prob_{c}" for c in CLASSES])
    table.insert(0, "image_id", list("abcdef"))
    table.insert(1, "patient_id", ids)
    for prefix in ("prob_", "p_"):  # our columns, and another software's
        table.columns = table.columns.str.replace("prob_", prefix)
        table.to_csv(tmp_path / "p.csv", index=False)
        by_table = read_any(tmp_path / "p.csv")
        assert by_table.predictions.groups.tolist() == wanted
        assert said in by_table.notes or not word.strip()  # a blank cell of a CSV is an empty one


def test_a_float_nan_among_numbers_or_texts_is_no_patient() -> None:
    for ids in (np.array([1, np.nan, np.nan, 3, np.nan, 1]), np.array(["1", np.nan] * 3)):
        found = read(LABELS, PROB, classes=CLASSES, groups=ids)
        assert sum(g.startswith("image:") for g in found.predictions.groups) == 3
    nothing = read(LABELS, PROB, classes=CLASSES, groups={"patient_id": ["nan"] * 6})
    assert any("no case has a group: every case" in note for note in nothing.notes)


def test_a_missing_label_among_texts_is_no_class() -> None:
    labels = np.array(["mel", "nv", np.nan, "nv", "mel", "mel"])
    with pytest.raises(BadInput, match="a label is the text 'nan'"):
        read(labels, PROB)
    with pytest.raises(BadInput, match="label 'nan' is not a class"):
        read(labels, PROB, classes=CLASSES)


def test_groups_may_be_lesions_or_both() -> None:
    column = pd.Series(IDS, name="lesion_id")
    assert read(LABELS, PROB, groups=column).predictions.group_unit == "lesion"
    assert read(LABELS, PROB, groups={"lesion_id": IDS}).predictions.group_unit == "lesion"
    both = pd.DataFrame({"patient_id": ["a"] * 6, "lesion_id": IDS})
    found = read(LABELS, PROB, groups=both).predictions
    assert found.group_unit == "patient"
    assert found.lesion_id.tolist() == IDS


def test_column_vectors_and_averages_that_round_above_one_are_read() -> None:
    found = read(np.array([[0], [1]]), np.array([[0.2], [1 + 1e-7]]))
    assert found.predictions.y_prob.tolist() == [[0.8, 0.2], [0.0, 1.0]]


A_NAN = np.where(np.arange(18).reshape(6, 3) == 10, np.nan, PROB)
LOGITS = PROB * 20 - 10
TWO: dict[str, Any] = {"classes": None, "y_true": [0, 1] * 3}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "lengths": ({"y_prob": PROB[:5]}, "y_true has 6 cases, y_prob has 5"),
    "group lengths": ({"groups": IDS[:4]}, "y_true has 6 cases, groups has 4"),
    "nan": ({"y_prob": A_NAN}, "y_prob[3, 1]: nan is not a finite number"),
    "inf": (TWO | {"y_prob": [0, 1, np.inf, 0, 0, 0]}, "y_prob[2]: inf is not"),
    "none": (TWO | {"y_prob": [0, 1, None, 0, 0, 0]}, "y_prob[2]: nan is not"),
    "texts": ({"y_prob": PROB.astype(str)}, "y_prob[0, 0]: '0."),
    "complex": ({"y_prob": PROB.astype(complex)}, "is not a number"),
    "logits": ({"y_prob": LOGITS}, "lies outside [0, 1]; of logits z give scipy.special.softmax"),
    "one logit": (TWO | {"y_prob": LOGITS[:, 0]}, "give scipy.special.expit(z)"),
    "sums": ({"y_prob": PROB * 0.9}, "y_prob[0]: the probabilities sum to 0.9; every row must"),
    "no class": ({"y_true": [*LABELS[:5], "melanocytic"]}, "y_true[5]: label 'melanocytic' is no"),
    "no number": ({"y_true": [0, 1, 2, 3, 0, 1]}, "y_true[3]: label '3' is not a class"),
    "infinite label": ({"y_true": [0.0, 1, 2, np.inf, 0, 1]}, "y_true[3]: label 'inf'"),
    "unseen classes": ({"y_true": ["a", "b"] * 3, "classes": None},
        "y_true holds 2 classes (a, b), y_prob those of 3"),
    "from 0 or 1": ({"y_true": [1, 2] * 3, "classes": None}, "name them all, in the order of"),
    "too many": ({"y_true": LABELS, "y_prob": ONE, "classes": None}, "y_true holds 3 classes"),
    "no label": ({"y_true": [None] * 6, "classes": None}, "y_true: no case has a label"),
    "one hot": ({"y_true": np.eye(3)[NUMBERS]}, "y_true: its shape is (6, 3)"),
    "three axes": ({"y_prob": PROB[None]}, "y_prob: its shape is (1, 6, 3)"),
    "empty": ({"y_true": [], "y_prob": np.empty((0, 3))}, "y_true: it is empty"),
    "a number": ({"y_true": np.array(3)}, "y_true: it is no array"),
    "a text": ({"y_true": "mel"}, "y_true: a str is no array"),
    "ragged": ({"y_prob": [[0.1, 0.9], [1.0]] * 3}, "y_prob: it cannot be read as an array"),
    "masked": ({"y_prob": np.ma.masked_greater(PROB, 0.5)}, "y_prob: it has masked values"),
    "twice": ({"classes": ("mel", "mel", "nv")}, "classes: class 'mel' is named twice"),
    "columns twice": ({"y_prob": pd.DataFrame(PROB, columns=["nv", "nv", "mel"]), "classes": None},
        "the columns of y_prob: class 'nv' is named twice"),
    "a nameless class": ({"classes": ("mel", "", "nv")}, "classes: a class has no name"),
    "few classes": ({"classes": ("mel", "nv")}, "2 classes are named, y_prob has 3 columns"),
    "classes text": ({"classes": "mel"}, "classes: it is one text; give a list"),
    "other columns": ({"y_prob": pd.DataFrame(PROB, columns=["x", "mel", "nv"])},
        "y_prob: no column is named 'bcc'"),
    "positive": ({"positive": "melanoma"}, "positive: 'melanoma' is not a class"),
    "whose": ({"y_true": ["ill", "well"] * 3, "y_prob": ONE, "classes": None},
        "is it the probability of 'ill' or 'well'?; say so: positive='well'"),
    "0 and 1": ({"y_true": [0, 1] * 3, "y_prob": ONE, "classes": ["ill", "well"],
        "positive": "ill"},
        "labels 0 and 1, while the positive class 'ill' is the first"),
    "kind of group": ({"groups": {"patient": IDS}},
        "groups: no kind of group 'patient'; did you mean 'patient_id'"),
    "groups of two": ({"groups": PROB[:, :2]}, "groups: its shape is (6, 2); one id a case"),
    "ids twice": ({"image_ids": ["a", "b", "a", "c", "d", "e"]}, "image_ids[2]: 'a' is repeated"),
    "ids empty": ({"image_ids": ["a", "b", None, "c", "d", "e"]}, "image_ids[2]: the id is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_with_its_place(case: str) -> None:
    changed, says = WRONG[case]
    given = {"y_true": LABELS, "y_prob": PROB, "classes": CLASSES} | changed
    with pytest.raises(BadInput) as caught:
        predictions_from_arrays(**given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pandas_rows_in_another_order_are_never_paired_by_place() -> None:
    truth = pd.Series(LABELS, index=list("abcdef"))
    prob = pd.DataFrame(PROB, columns=CLASSES, index=list("abcdef"))
    shuffled = prob.iloc[[1, 0, 2, 3, 4, 5]]
    with pytest.raises(BadInput, match=r"indexes of y_true and y_prob differ, first in row 0"):
        read(truth, shuffled)
    with pytest.raises(BadInput, match=r"indexes of y_true and groups differ, first in row 5"):
        read(truth, prob, groups=pd.Series(IDS, index=list("abcdeg")))
    with pytest.raises(BadInput, match=r"y_prob\.loc\[y_true\.index\]"):
        read(truth.reset_index(drop=True), prob)
    aligned = read(truth, shuffled.loc[truth.index]).predictions
    np.testing.assert_array_equal(aligned.y_prob, PROB)
    by_place = read(truth.to_numpy(), shuffled).predictions  # an array has no index to differ
    assert by_place.y_prob[0].tolist() == PROB[1].tolist()


@pytest.mark.parametrize(
    "kind",
    [list, lambda v: list(torch.tensor(v)), lambda v: pd.Series(list(v), dtype=object), tuple],
)
def test_twelve_numbered_classes_keep_the_order_of_the_columns(kind: Kind) -> None:
    truth = np.arange(24) % 12
    found = read(kind(truth), np.eye(12)[truth])
    assert found.predictions.classes == tuple(map(str, range(12)))
    assert found.predictions.y_true.tolist() == truth.tolist()


def test_numbers_as_text_are_refused_where_letters_sort_them_otherwise() -> None:
    truth = (np.arange(24) % 12).astype(str)
    prob = np.eye(12)[np.arange(24) % 12]
    with pytest.raises(BadInput, match=r"y_true: its labels are numbers as text.*classes=\["):
        read(truth, prob)
    named = read(truth, prob, classes=[str(k) for k in range(12)])
    assert named.predictions.y_true.tolist() == [int(v) for v in truth]
    assert read(["0", "1"], [[0.2, 0.8], [0.1, 0.9]]).predictions.classes == ("0", "1")
