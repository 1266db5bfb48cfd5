"""Excel workbooks as tables of text: the first sheet with cells, by openpyxl (extra `excel`)."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from typing import Any

from lesionlab import extras
from lesionlab.errors import BadInput

SUFFIXES = (".xlsx", ".xlsm")
OLD = b"\xd0\xcf\x11\xe0"  # .xls of Excel 97 to 2003
MOST_BYTES = 1 << 30  # unpacked; a sheet of a million rows has a fifth of that
AS_CSV = "open it and save it as CSV UTF-8"


def is_workbook(data: bytes) -> bool:
    """Whether a file is a workbook by its bytes: Excel of any age, or OpenDocument.

    >>> is_workbook(b"image,label"), is_workbook(OLD)
    (False, True)
    """
    return data.startswith(OLD) or bool(_parts(data) & {"xl/workbook.xml", "content.xml"})


def _parts(data: bytes) -> set[str]:
    if not data.startswith(b"PK\x03\x04"):
        return set()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return set()


def read_rows(data: bytes, where: str) -> tuple[list[list[str]], list[str]]:
    """The cells of the first sheet that has any, as text, and a note that names it.

    A whole number is written without ".0", with the zeros in front that its format shows; a date
    as 2024-05-31. Formulae give the values that were stored. Raises `BadInput` where it is an
    old or another kind of workbook, is damaged, or where openpyxl is not installed.
    """
    if "xl/workbook.xml" not in _parts(data):
        raise BadInput("a workbook of another kind than .xlsx", where=where, remedy=AS_CSV)
    extras.need("excel", "a workbook (.xlsx)", where, f"or {AS_CSV}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(m.file_size for m in archive.infolist()) > MOST_BYTES:
            raise BadInput("the workbook is too large when unpacked", where=where, remedy=AS_CSV)
    sheets = {name: rows for name, rows in _sheets(data, where).items() if rows}
    if not sheets:
        raise BadInput("the table is empty", where=where, remedy="check the file")
    name, *others = sheets
    also = f"; {len(others)} more ({', '.join(others[:3])}) are not read" if others else ""
    return sheets[name], [f"{where}: a workbook, read from its sheet '{name}'{also}"]


def _sheets(data: bytes, where: str) -> dict[str, list[list[str]]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        found = {}
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # a wrong size in the file would hide rows
            rows = [[_text(cell) for cell in row] for row in sheet.iter_rows()]
            width = max((len(row) for row in rows), default=0)
            filled = [row + [""] * (width - len(row)) for row in rows if any(row)]
            found[sheet.title] = filled
        return found
    except Exception as error:  # noqa: BLE001 (openpyxl raises what its parsers raise)
        raise BadInput(
            f"not a readable workbook ({type(error).__name__})", where=where, remedy=AS_CSV
        ) from None


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int):
        zeros = re.fullmatch(r"0+", str(cell.number_format))
        return str(value).zfill(len(zeros.group())) if zeros and value >= 0 else str(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
