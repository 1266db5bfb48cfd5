"""CSV files as other people write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.tables import (
    ages,
    blank_unknown,
    clean_ids,
    header,
    need_columns,
    numbers,
    read_csv,
    sexes,
    skin_types,
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


@pytest.mark.parametrize(
    "text",
    [
        "id,dx,,\n0001,a,,\n0002,b,,\n",  # commas at the ends
        "id,dx,,\n0001,a\n0002,b,\n",
        "id,dx\n0001,a,,\n0002,b\n",
        'id,dx\n="0001",a\n="0002",b\n',  # guards
        'id,dx\n"=""0001""",a\n"=""0002""",b\n',
        "id,dx\n'0001,a\n'0002,b\n",
        "sep=;\nid;dx\n0001;a\n0002;b\n",
        '"sep=,"\nid,dx\n0001,a\n0002,b\n',
        "sep=\t\nid\tdx\n0001\ta\n0002\tb\n",
        ",,\nid,dx,\n0001,a,\n,,\n0002,b,\n",  # empty rows
        ",id,dx\n,0001,a\n,0002,b\n",  # an empty first column
        "id,Unnamed: 1,dx\n0001,,a\n0002,,b\n",
        "\u200bid,dx\n\u200b0001,a\n0002\u200e,b\n",  # invisible characters
        'id\tdx\n"0001"\t"a"\n"0002"\t"b"\n',
    ],
)
def test_what_a_spreadsheet_leaves_is_undone(text: str) -> None:
    table, _ = read_csv(text.encode(), "a.csv")
    assert table.to_dict("list") == {"id": ["0001", "0002"], "dx": ["a", "b"]}
    assert {"id", "dx"} <= set(header(text.encode()))


def test_a_column_without_a_name_gets_one() -> None:
    table, notes = read_csv(b"id,dx,\na,x,note\nb,y,\n", "a.csv")
    assert table["column_3"].tolist() == ["note", ""]
    assert notes == ["a.csv: column 3 has no name and is called column_3"]


def test_a_repeated_column_can_be_ignored() -> None:
    table, _ = read_csv(b"id,n,n\na,1,2\n", "a.csv", ignore=("n",))
    assert list(table.columns) == ["id"]


def test_short_rows_are_refused_and_never_shifted() -> None:
    with pytest.raises(BadInput, match=r"row 3 has 2 fields.*as many fields as the header"):
        read_csv(b"id,dx,age\na,x,1\nb,2\n", "a.csv")


@pytest.mark.parametrize("text", ["90+", ">89", "removed", "-1", "999", "1/2/1950", "006M", "*"])
def test_what_is_no_age_is_unknown(text: str) -> None:
    years, unread = ages(pd.Series(["45", text]))
    assert years[0] == 45
    assert np.isnan(years[1])
    assert unread.tolist() == [False, True]


@pytest.mark.parametrize("text", ["45 years", "45y", "045Y", "45,0", " 45.0 ", "45 yrs old"])
def test_ages_with_their_unit(text: str) -> None:
    assert ages(pd.Series([text]))[0].tolist() == [45.0]


@pytest.mark.parametrize("text", ["unknown", "", "NA", "#N/A", "-"])
def test_absent_ages_are_not_counted(text: str) -> None:
    years, unread = ages(pd.Series([text]))
    assert years.isna().all()
    assert not unread.any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1", "I"), ("6.0", "VI"), ("-1", ""), ("-1.0", ""), ("0", ""), ("iv", "IV"),
     ("Type III", "III"), ("FST-2", "II"), ("Fitzpatrick type V", "V"), ("12", "12"),
     ("dark", "dark"), ("NaN", "")],
)  # fmt: skip
def test_skin_types(text: str, wanted: str) -> None:
    assert list(skin_types(pd.Series([text]))) == [wanted]
