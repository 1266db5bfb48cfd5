"""MedMNIST's files: which part, which task, what is ranked, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge.medmnist import (
    MedTable,
    part_of,
    read_medmnist,
    score_medmnist,
)

RNG = np.random.default_rng(3)


def result(path: Path, score: Floats) -> Path:
    rows = [",".join([str(i), *(repr(float(v)) for v in row)]) for i, row in enumerate(score)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def arrays(folder: Path, **parts: object) -> Path:
    np.savez(folder / "set.npz", **{f"{k}_labels": np.array(v) for k, v in parts.items()})
    return folder / "set.npz"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dermamnist_val.csv", "val"),
        ("dermamnist_train_[AUC]1.0_[ACC]1.0@a.csv", "train"),
        ("dermamnist_224_test@run.csv", "test"),
        ("val_results.csv", "test"),  # the first word is the set's name
        ("a_b_c_val.csv", "test"),
        ("anything.csv", "test"),
    ],
)
def test_the_part_is_read_from_the_name(name: str, part: str) -> None:
    assert part_of(Path("train") / name) == part


def test_the_part_decides_which_labels_are_read(tmp_path: Path) -> None:
    truth = arrays(tmp_path, val=[[0], [1]], test=[[1], [0], [1]])
    for part, labels in (("val", [0, 1]), ("test", [1, 0, 1])):
        found = read_medmnist(
            truth, result(tmp_path / f"a_{part}.csv", np.full((len(labels), 1), 0.5))
        )
        assert (found.part, found.truth[:, 0].tolist()) == (part, labels)
    with pytest.raises(BadInput, match="2 rows, where the test part has 3 images"):
        read_medmnist(truth, result(tmp_path / "a.csv", np.zeros((2, 1))))
    with pytest.raises(BadInput, match=r"set\.npz: no array 'train_labels'"):
        read_medmnist(truth, result(tmp_path / "a_train.csv", np.zeros((2, 1))))


@pytest.mark.parametrize(
    ("labels", "width", "task", "names"),
    [
        ([[0], [1]], 1, "binary-class", ("label 1",)),
        ([[0], [1]], 2, "binary-class", ("label 1",)),
        ([0, 1], 2, "binary-class", ("label 1",)),  # without a second dimension
        ([[0], [1]], 3, "multi-class", ("label 0", "label 1", "label 2")),
        ([[0], [2]], 3, "multi-class", ("label 0", "label 1", "label 2")),
        ([[0, 1], [1, 0]], 2, "multi-label", ("label 0", "label 1")),
    ],
)
def test_the_task_follows_from_labels_and_columns(
    labels: list[object], width: int, task: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    score = result(tmp_path / "p.csv", np.full((2, width), 0.5))
    found = read_medmnist(arrays(tmp_path, test=labels), score)
    assert found.task == task
    assert found.names == names
    assert found.columns_truth.shape == found.columns_score.shape == (2, len(names))


def test_several_classes_agree_with_scikit_learn() -> None:
    y, score = np.arange(60) % 3, np.round(RNG.dirichlet(np.ones(3), 60), 2)
    auc, accuracy, notes = score_medmnist(MedTable("multi-class", y[:, None], score, "test"))
    onehot = np.eye(3, dtype=int)[y]
    assert auc == pytest.approx(roc_auc_score(onehot, score, average="macro"), abs=1e-12)
    assert accuracy == pytest.approx(accuracy_score(y, score.argmax(1)))
    assert notes == ()


def test_several_labels_agree_with_scikit_learn() -> None:
    truth, score = RNG.integers(0, 2, (50, 4)), RNG.random((50, 4))
    auc, accuracy, _ = score_medmnist(MedTable("multi-label", truth, score, "test"))
    assert auc == pytest.approx(roc_auc_score(truth, score, average="macro"), abs=1e-12)
    assert accuracy == pytest.approx(np.mean((score > 0.5) == truth), abs=1e-12)


def test_two_classes_by_hand() -> None:
    """The last column is ranked; 0.5 itself is called negative."""
    truth = np.array([[0], [0], [1], [1]])
    score = np.array([[0.0, 0.1], [0.0, 0.6], [0.0, 0.5], [0.0, 0.9]])
    auc, accuracy, notes = score_medmnist(MedTable("binary-class", truth, score, "test"))
    assert (auc, accuracy, notes) == (0.75, 0.5, ())
    *_, notes = score_medmnist(MedTable("binary-class", truth, 3 * score, "test"))
    assert "outside [0, 1]" in notes[0]


def test_of_tied_classes_the_first_is_named() -> None:
    score = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]])
    table = MedTable("multi-class", np.array([[0], [1], [2]]), score, "test")
    assert score_medmnist(table)[1] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("task", "truth", "shown"),
    [
        ("binary-class", [[1], [1]], "label 1 is absent from the val part, or the only one"),
        ("multi-class", [[0], [2]], "label 1 is absent from the val part"),
        ("multi-label", [[0, 0, 1], [1, 0, 0]], "label 1 is absent from the val part"),
    ],
)
def test_a_label_without_both_sides_has_no_area(
    task: str, truth: list[list[int]], shown: str
) -> None:
    score = RNG.random((2, 1 if task == "binary-class" else 3))
    with pytest.raises(BadInput, match=shown):
        score_medmnist(MedTable(task, np.array(truth), score, "val"))  # type: ignore[arg-type]


def test_rows_are_put_in_order_and_a_header_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("index,label\n2,0\n0,1\n1,0\n", encoding="utf-8")
    (tmp_path / "p.csv").write_text("1,0.1\n\n0,0.9\n2,0.2\n", encoding="utf-8-sig")
    found = read_medmnist(tmp_path / "t.csv", tmp_path / "p.csv")
    assert found.truth[:, 0].tolist() == [1, 0, 0]
    assert found.score[:, 0].tolist() == [0.9, 0.1, 0.2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0,0.1\n1,x\n", "row 2: 'x' is not a number"),
        ("0,0.1\n1,nan\n", "row 2: 'nan' is not a number"),
        ("0,0.1\n1,0.1,0.2\n", "row 2: 3 fields"),
        ("0,0.1\n0,0.2\n", "the indices are not 0, 1, ..., each once; one row an image"),
        ("1,0.1\n2,0.2\n", "the indices are not 0, 1, ..."),
        ("0\n1\n", "no rows 'index,value...'"),
        ("index,score\n", "no rows 'index,value...'"),
        ("", "no rows 'index,value...'"),
        ("0,0.1,0.2\n1,0.1,0.2\n", "2 scores a row, but label 2 occurs"),
    ],
)
def test_a_result_that_cannot_be_used(text: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refusal:
        read_medmnist(arrays(tmp_path, test=[[0], [2]]), tmp_path / "p.csv")
    assert shown in str(refusal.value)
    assert "p.csv" in str(refusal.value)


@pytest.mark.parametrize(
    "labels", [[[0.5], [1.0]], [[-1], [1]], [[np.nan], [1.0]], [[np.inf], [1.0]]]
)
@pytest.mark.filterwarnings("error")
def test_labels_are_whole_numbers_from_0(labels: list[list[float]], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"set\.npz: a label is not a whole number from 0"):
        read_medmnist(arrays(tmp_path, test=labels), result(tmp_path / "p.csv", np.zeros((2, 1))))


def test_one_of_several_labels_is_0_or_1(tmp_path: Path) -> None:
    labels = [[0, 1, 0], [1, 0, 1], [0, 1, 2]]
    score = result(tmp_path / "p.csv", RNG.random((3, 3)))
    words = r"set\.npz: index 2, label 2: the value is 2, and one of several labels is 0 or 1"
    with pytest.raises(BadInput, match=words):
        read_medmnist(arrays(tmp_path, test=labels), score)
    lines = [f"{n}," + ",".join(map(str, row)) for n, row in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(lines[::-1]), encoding="utf-8")
    with pytest.raises(BadInput, match=r"t\.csv: index 2, label 2: the value is 2"):
        read_medmnist(tmp_path / "t.csv", score)  # by its index, wherever the line stands
    labels[2][2] = 1
    assert read_medmnist(arrays(tmp_path, test=labels), score).task == "multi-label"


def test_what_is_no_npz(tmp_path: Path) -> None:
    score = result(tmp_path / "p.csv", np.zeros((2, 1)))
    with pytest.raises(BadInput, match=r"gone\.npz: no such file"):
        read_medmnist(tmp_path / "gone.npz", score)
    path = tmp_path / "bad.npz"
    path.write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(BadInput, match=r"bad\.npz: not a readable \.npz"):
        read_medmnist(path, score)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(2))  # one array, not an archive of them
    with pytest.raises(BadInput, match=r"bad\.npz: not a readable \.npz"):
        read_medmnist(path, score)
    with pytest.raises(BadInput, match=r"set\.npz: array 'test_labels' has no labels"):
        read_medmnist(arrays(tmp_path, test=np.zeros((0, 1))), score)
    with pytest.raises(BadInput, match=r"set\.npz: array 'test_labels' has no labels"):
        read_medmnist(arrays(tmp_path, test=3), score)
