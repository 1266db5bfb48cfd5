"""Reading a challenge's files: what is forgiven, what is refused, and that rows are never mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge.formats import FORMATS, Format
from lesionlab.evaluation.challenge.tables import (
    WEIGHTLESS,
    Rows,
    ScoredSubmission,
    image_ids,
    pairing_problems,
    parse_numbers,
    read_scored,
    rows_of,
    submission_problems,
)

I2016, I2017, I2018, I2020 = (FORMATS[f"isic{y}"] for y in (2016, 2017, 2018, 2020))
I2024, UDACITY = FORMATS["isic2024"], FORMATS["udacity"]


def rows(form: Format, text: str) -> Rows:
    return rows_of(form, text, "p.csv", form.columns)


def problems(form: Format, text: str) -> list[str]:
    return [str(p) for p in submission_problems(form, rows(form, text))]


def scored(form: Format, folder: Path, truth: str, prediction: str) -> ScoredSubmission:
    (folder / "t.csv").write_text(truth, encoding="utf-8")
    (folder / "p.csv").write_text(prediction, encoding="utf-8")
    return read_scored(form, folder / "t.csv", folder / "p.csv")


def test_lines_are_those_of_the_file_whatever_is_blank_or_quoted() -> None:
    text = 'image_name,target\n\n"a\nb",0.1\r\n\nc,0.2\n'
    found = rows(I2020, text)
    assert found.column("image_name") == ["a\nb", "c"]
    assert found.lines == (4, 6)  # where each row ends


def test_a_header_may_have_spaces_and_rows_a_trailing_comma() -> None:
    found = rows(I2017, " image_id , melanoma,seborrheic_keratosis\na,1,0,\nb,0,1,,\n")
    assert found.columns == ("image_id", "melanoma", "seborrheic_keratosis")
    assert found.cells == (("a", "1", "0"), ("b", "0", "1"))


@pytest.mark.parametrize(
    ("first", "headed"),
    [
        ("image,malignant", True),
        ("ID,score", True),  # a known key, in any case
        ("name,score", True),  # nothing in it is a number
        ("ISIC_1,0.5", False),
        ("ISIC_1,malignant ", False),  # the training truth of 2016
    ],
)
def test_where_no_header_is_needed_one_is_still_seen(first: str, headed: bool) -> None:
    found = rows(I2016, f"{first}\nISIC_2,0.25\n")
    assert len(found.cells) == (1 if headed else 2)
    assert found.columns[1] == (first.split(",")[1] if headed else "malignant")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "p.csv: the table has no rows; write one row an image"),
        ("\n\n", "the table has no rows"),
        ("image_name,target\n", "the table has no rows"),
        ("image_name;target\na;0,5\n", "columns are separated by ';'; write commas"),
        ("image_name,target,target\na,1,1\n", "column 'target' is repeated"),
        ("image_name,target\na\n", "row 2 has 1 fields, the header 2"),
        ("image_name,target\na,0,5\n", "row 2 has 3 fields, the header 2; write numbers with a"),
    ],
)
def test_what_is_no_table(text: str, shown: str) -> None:
    with pytest.raises(BadInput) as refusal:
        rows(I2020, text)
    assert shown in str(refusal.value)


def test_a_field_without_end_is_refused() -> None:
    """A quote that is never closed makes one field of the rest of the file."""
    with pytest.raises(BadInput, match=r"^p\.csv: not a readable CSV \(field larger than"):
        rows(I2020, 'image_name,target\na,"' + "0.5\n" * 40_000)


def test_ids_lose_jpg_except_where_they_are_paths() -> None:
    text = "{},{}\na.jpg,0.1\nB.JPG,0.1\nc.jpg.jpg,0.1\nd.png,0.1\n"
    assert image_ids(I2020, rows(I2020, text.format("image_name", "target"))) == [
        "a", "B", "c.jpg", "d.png",
    ]  # fmt: skip
    paths = "Id,task_1,task_2\nx/a.jpg,0.1,0\n"
    assert image_ids(UDACITY, rows(UDACITY, paths)) == ["x/a.jpg"]


def test_numbers_are_rounded_as_float() -> None:
    cells = ["0.1", " 2 ", "1e-3", ".5", "1.", "+0.30000000000000004"]
    np.testing.assert_allclose(parse_numbers(cells), [float(c) for c in cells], rtol=1e-15)


def test_every_problem_is_told_in_the_judges_order() -> None:
    found = problems(I2017, "image_id,melanom,sex\na.jpg,1,f\na,0,m\n,0,m\n")
    assert [f.split("; ")[0] for f in found] == [
        "p.csv: 1 image(s) in more than one row: a",
        "p.csv: a row without an image id",
        "p.csv: column 'melanoma' is missing",
        "p.csv: column 'seborrheic_keratosis' is missing",
        "p.csv: column 'melanom' does not belong to isic2017",
        "p.csv: column 'sex' does not belong to isic2017",
    ]
    assert "did you mean 'melanom'?" in found[2]
    assert problems(I2017, "melanoma,seborrheic_keratosis\n1,0\n")[0].startswith(
        "p.csv: column 'image_id' is missing"
    )


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["0.5", "x", "y"], "target in row 3: 'x' is not a number (and 1 more)"),
        (["0.5", " "], "target in row 3: the value is missing"),
        (["0.5", "nan"], "target in row 3: 'nan' is not a number"),
        (["0.5", "inf"], "target in row 3: 'inf' is not a number"),
        (["0.5", "1_0"], "target in row 3: '1_0' is not a number"),
        (["0.5", "0x1"], "target in row 3: '0x1' is not a number"),
        (["0.5", " -1e-9 "], "target -1e-9 in row 3 lies outside [0, 1]"),
        (["1.5", "2", "0.5"], "target 1.5 in row 2 lies outside [0, 1] (and 1 more)"),
    ],
)
def test_a_bad_value_is_named_with_its_row(cells: list[str], shown: str) -> None:
    text = "image_name,target\n" + "".join(f"i{k},{c}\n" for k, c in enumerate(cells))
    (found,) = problems(I2020, text)
    assert f"p.csv: {shown};" in found


def test_whole_numbers_are_refused_by_the_official_package_alone() -> None:
    table = "{},a,b\n".replace("a,b", "melanoma,seborrheic_keratosis") + "i,1,0.5\nj,0,0.5\n"
    (found,) = problems(I2017, table.format("image_id"))
    assert "melanoma holds whole numbers only" in found
    assert problems(I2020, "image_name,target\ni,1\nj,0\n") == []
    assert problems(I2017, table.format("image_id").replace("j,0,", "j,0.0,")) == []


def test_pairing_names_a_few_and_counts_all() -> None:
    found = [str(p) for p in pairing_problems(list("abcdef"), ["a", "z"], "p.csv")]
    assert found[0].startswith("p.csv: 5 image(s) missing: b, c, d, ...;")
    assert found[1].startswith("p.csv: 1 image(s) not asked for: z;")
    assert not list(pairing_problems(["a", "b"], ["b", "a"], "p.csv"))


def test_a_remedy_names_ids_that_are_only_spelled_otherwise() -> None:
    (first, _) = pairing_problems(["ISIC_1", "ISIC_2"], ["x/isic_1.png", "ISIC_3"], "p.csv")
    assert "but for the spelling, 1 id matched without regard to" in str(first)
    (plain,) = pairing_problems(["a", "b"], ["a"], "p.csv")
    assert "spelling" not in str(plain)


def test_rows_and_columns_in_any_order_are_paired_by_name(tmp_path: Path) -> None:
    truth = "seborrheic_keratosis,image_id,melanoma\n0.0,b,1.0\n1.0,c,0.0\n0.0,a,0.0\n"
    sub = "image_id,seborrheic_keratosis,melanoma\nc.jpg,0.3,0.03\na,0.1,0.01\nb,0.2,0.02\n"
    found = scored(I2017, tmp_path, truth, sub)
    assert found.image_id.tolist() == ["a", "b", "c"]
    assert found.columns == ("melanoma", "seborrheic_keratosis")
    assert found.truth.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert found.score.tolist() == [[0.01, 0.1], [0.02, 0.2], [0.03, 0.3]]
    assert found.notes == ()
    assert found.weight.tolist() == found.validation_weight.tolist() == [1, 1, 1]


def test_the_truth_of_2024_is_another_column(tmp_path: Path) -> None:
    found = scored(I2024, tmp_path, "isic_id,malignant,age\na,1,30\nb,0,40\n",
                   "isic_id,target\nb,0.25\na,0.75\n")  # fmt: skip
    assert found.truth.tolist() == [[1], [0]]
    assert found.score.tolist() == [[0.75], [0.25]]


def test_the_image_without_weight_of_2018(tmp_path: Path) -> None:
    names = ",".join(I2018.columns)
    line = "1.0,0.0,0.0,0.0,0.0,0.0,0.0"
    table = f"image,{names}\n{WEIGHTLESS},{line}\nISIC_1,{line}\n"
    found = scored(I2018, tmp_path, table, table)
    assert found.image_id.tolist() == [WEIGHTLESS, "ISIC_1"]
    assert found.weight.tolist() == found.validation_weight.tolist() == [0, 1]
    assert found.notes == (f"{WEIGHTLESS} has weight zero, as in the official package",)


@pytest.mark.parametrize(
    ("truth", "shown"),
    [
        ("image_id,melanoma\na,1\n", "column 'seborrheic_keratosis' is missing"),
        ("img,melanoma,seborrheic_keratosis\na,1,0\n", "column 'image_id' is missing"),
        ("image_id,melanoma,seborrheic_keratosis,x\na,1,0,1\n", "'x' does not belong to the truth"),
        ("image_id,melanoma,seborrheic_keratosis\na,0.5,0\n", "melanoma '0.5' in row 2 is neither"),
        ("image_id,melanoma,seborrheic_keratosis\na,,0\n", "melanoma '' in row 2 is neither"),
        ("image_id,melanoma,seborrheic_keratosis\na,1,0\na.jpg,1,0\n", "in more than one row: a"),
        (
            "image_id,melanoma,seborrheic_keratosis,score_weight\na,1,0,-1\n",
            "score_weight '-1' in row 2 is not a weight",
        ),
        (
            "image_id,melanoma,seborrheic_keratosis,score_weight\na,1,0,1e999\n",
            "score_weight '1e999' in row 2 is not a weight",
        ),
    ],
)
def test_a_truth_that_cannot_be_used(truth: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refusal:
        scored(I2017, tmp_path, truth, "image_id,melanoma,seborrheic_keratosis\na,0.5,0.5\n")
    assert shown in str(refusal.value)
    assert "t.csv" in str(refusal.value)


def test_an_image_of_two_classes_is_refused_where_classes_exclude(tmp_path: Path) -> None:
    table = "image," + ",".join(I2018.columns) + "\na,1,0,0,0,0,0,0\nb,1,1,0,0,0,0,0\n"
    with pytest.raises(BadInput, match="row 3 marks 2 classes; each image belongs to exactly one"):
        scored(I2018, tmp_path, table, table)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    good = "image_name,target\na,1\n"
    with pytest.raises(BadInput, match=r"t\.csv: no such file"):
        read_scored(I2020, tmp_path / "t.csv", tmp_path / "p.csv")
    (tmp_path / "t.csv").write_text(good, encoding="utf-8-sig")  # as a spreadsheet saves it
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(BadInput, match=r"p\.csv: a folder, not a CSV file"):
        read_scored(I2020, tmp_path / "t.csv", tmp_path / "p.csv")
    (tmp_path / "latin.csv").write_bytes("image_name,target\né,1\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"latin\.csv: not UTF-8 \(byte 18\); save the CSV as UTF-8"):
        read_scored(I2020, tmp_path / "t.csv", tmp_path / "latin.csv")
