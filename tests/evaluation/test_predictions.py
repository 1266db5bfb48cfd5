from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions

PLAIN = "image_id,label,prob_nv,prob_Mel\na,nv,0.75,0.25\nb,Mel,0.5,0.5\n"


def read(tmp_path: Path, content: str | bytes) -> Predictions:
    path = tmp_path / "p.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_predictions(path)


def some(ids: list[str], labels: list[int] | None = None, logits: bool = True) -> Predictions:
    n = len(ids)
    generator = np.random.default_rng(0)
    y_prob = generator.dirichlet([1, 1, 1], n)
    return Predictions(
        np.array(ids, dtype=object),
        np.full(n, "", dtype=object),
        np.array([f"L{i // 2}" for i in range(n)], dtype=object),
        ("nv", "mel", "bcc"),
        np.array(labels if labels is not None else [i % 3 for i in range(n)], np.int64),
        y_prob,
        np.log(y_prob) if logits else None,
    )


@pytest.mark.parametrize("logits", [True, False])
def test_it_round_trips_exactly(tmp_path: Path, logits: bool) -> None:
    before = some(["a", "b", "c", "d"], [0, 1, -1, 2], logits)
    write_predictions(tmp_path / "p.csv", before)
    after = read_predictions(tmp_path / "p.csv")
    for name in ("image_id", "patient_id", "lesion_id", "y_true", "y_prob"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.classes == before.classes
    assert (after.logits is None) == (not logits)
    if logits:
        np.testing.assert_array_equal(after.logits, before.logits)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ab='+-@,;\"é", min_size=1, max_size=6), min_size=1, unique=True))
def test_any_id_round_trips_and_no_cell_is_a_formula(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.csv"
    write_predictions(path, some(ids, logits=False))
    assert read_predictions(path).image_id.tolist() == ids
    with path.open(newline="") as stream:
        for row in csv.reader(stream):
            assert not row[0].startswith(("=", "+", "-", "@"))


ODD = {
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "semicolons": PLAIN.replace(",", ";"),
    "decimal commas": PLAIN.replace(",", ";").replace(".", ","),
    "quoted decimal commas": PLAIN.replace("0.75", '"0,75"').replace("0.25", '"0,25"'),
    "tabs": PLAIN.replace(",", "\t"),
    "UTF-16": PLAIN.encode("utf-16"),
    "blanks": PLAIN.replace(",nv,", ", nv ,"),
    "case of labels": PLAIN.replace("b,Mel,", "b,MEL,"),
    "no last line end": PLAIN.rstrip("\n"),
    "blank last line": PLAIN + "\n",
}


@pytest.mark.parametrize("kind", ODD)
def test_what_spreadsheets_do_to_a_table_is_undone(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, ODD[kind])
    assert found.image_id.tolist() == ["a", "b"]
    assert found.classes == ("nv", "Mel")
    assert found.y_true.tolist() == [0, 1]
    assert found.y_prob.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_latin_1_names_survive(tmp_path: Path) -> None:
    found = read(tmp_path, PLAIN.replace("nv", "nævus").encode("latin-1"))
    assert found.classes == ("nævus", "Mel")


def test_a_table_without_labels_or_ids_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "image_id,prob_a,prob_b\nx,0.5,0.5\n")
    assert found.y_true.tolist() == [-1]
    assert found.groups.tolist() == ["image:x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("image_id,prob_a,prob_b\n", "no rows"),
        (PLAIN.replace("image_id", "image_ids"), "'image_id' is missing; did you mean 'image_ids'"),
        (PLAIN.replace("prob_", "p_"), "'prob_<class>' is missing"),
        (PLAIN.replace("prob_nv", "prob_"), "names no class"),
        (PLAIN.replace("b,Mel", "a,Mel"), "image_id 'a' in row 3 is repeated"),
        (PLAIN.replace("b,Mel", ",Mel"), "image_id is empty in row 3"),
        (PLAIN.replace("b,Mel", "b,melanoma"), "label 'melanoma' in row 3 is not a class"),
        (PLAIN.replace("b,Mel", "b,1"), "label '1' in row 3 is not a class"),
        (PLAIN.replace("0.75", "1.75"), "prob_nv 1.75 in row 2 lies outside"),
        (PLAIN.replace("0.75", "-0.1"), "lies outside"),
        (PLAIN.replace("0.75", "0.7"), r"row 2 \('a'\) sum to 0.95"),
        (PLAIN.replace("0.75", "nan"), "'nan' in row 2 is not a finite number"),
        (PLAIN.replace("0.75", "inf"), "not a finite number"),
        (PLAIN.replace("0.75", "high"), "'high' in row 2 is not a finite number"),
        (PLAIN.replace("0.75", ""), "'' in row 2 is not a finite number"),
        (PLAIN.replace("0.75,0.25", "0,75,0,25"), "row 2 has 6 fields, but the header has 4"),
        (PLAIN.replace(",0.5\n", "\n"), "row 3 has 3 fields"),
        (PLAIN.replace("prob_Mel", "prob_nv"), "repeated"),
        (PLAIN.replace("label", "logit_nv"), "'logit_Mel' is missing"),
        (b"\x00\x01\x02\x03", "not a text file"),
    ],
)
def test_refusals_are_one_line_that_names_the_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path, content)
    assert "p.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_predictions(tmp_path / "absent.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        read_predictions(tmp_path)


def test_groups_are_patient_else_lesion_else_image() -> None:
    data = some(["a", "b", "c"])
    mixed = Predictions(
        data.image_id,
        np.array(["P", "", ""], dtype=object),
        np.array(["L", "L", ""], dtype=object),
        data.classes,
        data.y_true,
        data.y_prob,
    )
    assert mixed.groups.tolist() == ["patient:P", "lesion:L", "image:c"]
    assert mixed.group_unit == "mixed"
    assert data.group_unit == "lesion"
    assert mixed.take(np.array([2, 0])).image_id.tolist() == ["c", "a"]
