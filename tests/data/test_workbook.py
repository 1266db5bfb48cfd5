"""Workbooks as their users see them."""

from __future__ import annotations

import datetime
import io
import zipfile
from typing import Any

import pytest

from lesionlab.data import tables, workbook
from lesionlab.errors import BadInput

openpyxl = pytest.importorskip("openpyxl")


def book(*sheets: list[list[Any]], zeros: str = "") -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for n, rows in enumerate(sheets):
        sheet = made.create_sheet(f"s{n}")
        for row in rows:
            sheet.append(row)
        if zeros:
            for cell in sheet["A"]:
                cell.number_format = zeros
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


def test_cells_are_read_as_they_are_shown() -> None:
    day = datetime.datetime(2024, 5, 31)
    data = book([["image", "dx", "n", "day"], ["a", "nevus", 3.0, day], ["b", None, 0.5, None]])
    table, notes = tables.read_csv(data, "t.xlsx")
    assert table.to_dict("list") == {
        "image": ["a", "b"], "dx": ["nevus", ""], "n": ["3", "0.5"], "day": ["2024-05-31", ""],
    }  # fmt: skip
    assert notes == ["t.xlsx: a workbook, read from its sheet 's0'"]


def test_zeros_of_a_number_format_are_kept() -> None:
    table, _ = tables.read_csv(book([["id", "dx"], [1, "a"], [23, "b"]], zeros="0000"), "t.xlsx")
    assert list(table["id"]) == ["0001", "0023"]


def test_the_first_sheet_with_cells_is_read_and_the_others_are_said() -> None:
    data = book([], [["id", "dx"], ["a", "x"]], [["id"], ["b"]])
    table, notes = tables.read_csv(data, "t.xlsx")
    assert list(table["id"]) == ["a"]
    assert "sheet 's1'; 1 more (s2) are not read" in notes[0]
    assert tables.header(data) == ("id", "dx")


def _zip(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (workbook.OLD + bytes(600), "another kind than .xlsx.*save it as CSV"),
        (_zip("content.xml"), "another kind than .xlsx"),
        (_zip("xl/workbook.xml"), "not a readable workbook"),
    ],
)
def test_other_workbooks_are_refused_with_a_way_on(data: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        tables.read_csv(data, "t.xls")
    assert tables.header(data) == ()


def test_empty_workbook() -> None:
    with pytest.raises(BadInput, match="table is empty"):
        tables.read_csv(book([]), "t.xlsx")


def test_without_openpyxl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionlab.extras.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"extra 'excel'.*or open it and save it as CSV"):
        tables.read_csv(book([["id"], ["a"]]), "t.xlsx")
