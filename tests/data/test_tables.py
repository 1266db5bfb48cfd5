"""CSV files as other people write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.tables import (
    blank_unknown,
    clean_ids,
    header,
    need_columns,
    numbers,
    read_csv,
    sexes,
)
from lesionlab.errors import BadInput

PLAIN = "id,age\nä,40\nb,\n"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (PLAIN.encode(), None),
        (PLAIN.replace("\n", "\r\n").encode(), None),
        (PLAIN.replace("\n", "\r").encode(), None),
        (PLAIN.encode("utf-8-sig"), "byte order mark"),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.encode("latin-1"), "read as Latin-1"),
        (PLAIN.replace(",", ";").encode(), "separated by ';'"),
        (PLAIN.replace(",", "\t").encode(), r"separated by '\\t'"),
        (b" id , age\n" + "ä , 40\n\n , \nb, \n".encode(), None),
        ("Unnamed: 0,id,age\n0,ä,40\n1,b,\n".encode(), "row numbers"),
        (",id,age\n7,ä,40\n3,b,\n".encode(), "row numbers"),
    ],
)
def test_each_kind_of_file_gives_the_same_table(data: bytes, note: str | None) -> None:
    table, notes = read_csv(data, "a.csv")
    wanted = pd.DataFrame({"id": ["ä", "b"], "age": ["40", ""]}, dtype=str)
    pd.testing.assert_frame_equal(table.reset_index(drop=True), wanted, check_dtype=False)
    assert len(notes) == (note is not None)
    if note is not None:
        assert pd.Series(notes).str.contains(note).all()
        assert notes[0].startswith("a.csv: ")


def test_a_first_column_of_numbers_with_a_name_is_kept() -> None:
    table, notes = read_csv(b"fold,id\n0,a\n1,b\n", "a.csv")
    assert list(table.columns) == ["fold", "id"]
    assert not notes


def test_a_file_without_header_gets_one() -> None:
    table, _ = read_csv(b"a,1\nb,2\n", "a.csv", header=("id", "value"))
    assert table.to_dict("list") == {"id": ["a", "b"], "value": ["1", "2"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "table is empty"),
        (b"\n \n", "table is empty"),
        (b"id,age\n", "header but no rows"),
        (b"id,age\na,1\nb\n", "row 3 has 1 fields, but the header has 2"),
        (b"id,id\na,b\n", "column 'id' is repeated"),
        (b"id\na\0b\n", "not a text file"),
    ],
)
def test_a_broken_file_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said) as error:
        read_csv(data, "a.csv")
    assert "a.csv" in str(error.value)


def test_the_header_alone() -> None:
    assert header("\ufeffid; age\na;1\n".encode()) == ("id", "age")
    assert header(b"\x89PNG\0\0") == ()
    assert header(b"") == ()


def test_ids_lose_folders_and_image_suffixes_and_nothing_else() -> None:
    ids = pd.Series([" a/ISIC_1.jpg", "ISIC_2.JPEG ", "c\\d\\x.1", "jpg"])
    clean, notes = clean_ids(ids, "a.csv")
    assert clean.tolist() == ["ISIC_1", "ISIC_2", "x.1", "jpg"]
    assert notes == ["a.csv: 2 ids had a file suffix such as .jpg, which was removed"]
    assert clean_ids(pd.Series(["a"]), "a.csv")[1] == []


def test_words_for_absent_are_blank() -> None:
    given = pd.Series(["NA", " unknown ", "-", "None", "0", "nv", ""])
    assert blank_unknown(given).tolist() == ["", "", "", "", "0", "nv", ""]


def test_numbers_with_commas_and_gaps() -> None:
    found = numbers(pd.Series(["1,5", "2.5", "n/a", "", "0"]), "age", "a.csv")
    np.testing.assert_array_equal(found, [1.5, 2.5, np.nan, np.nan, 0])
    with pytest.raises(BadInput, match="age 'old' in row 3 is not a number"):
        numbers(pd.Series(["1", "old"]), "age", "a.csv")


def test_sexes_and_missing_columns() -> None:
    assert sexes(pd.Series(["F", "w ", "Male", "x", ""])).tolist() == [
        "female", "female", "male", "", "",
    ]  # fmt: skip
    table = pd.DataFrame({"image": ["a"]})
    need_columns(table, ["image"], "a.csv")
    with pytest.raises(BadInput, match=r"column 'imge' is missing.*'image'"):
        need_columns(table, ["image", "imge"], "a.csv")
