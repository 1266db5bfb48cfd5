"""Other people's CSV files: BOM, CRLF, semicolons, decimal commas, Latin-1, index columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

import pandas as pd

from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.errors import BadInput, counted, nearest

ABSENT = frozenset({"", "na", "n/a", "<na>", "nan", "nat", "none", "null", "unknown", "unk", "-"})


def read_csv(
    data: bytes, where: str, header: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """A CSV file's rows as text ("" = absent), and notes on what was odd about the file.

    `header` names the columns of a file that has none. Raises `BadInput` where the file is
    empty, has rows of unequal length or a repeated column.
    """
    notes: list[str] = []
    text = _decoded(data, where, notes)
    separator = _separator(text)
    if separator != ",":
        notes.append(f"{where}: columns are separated by {separator!r}")
    rows = _rows(text, separator, where)
    if not rows:
        raise BadInput("the table is empty", where=where, remedy="check the file")
    columns = list(header) if header else [c.strip() for c in rows.pop(0)]
    if not rows:
        raise BadInput("the table has a header but no rows", where=where, remedy="check the file")
    for n, row in enumerate(rows):
        if len(row) != len(columns):
            raise BadInput(
                f"row {n + 1 + (not header)} has {len(row)} fields, but the header has "
                f"{len(columns)}",
                where=where,
            )
    table = pd.DataFrame(rows, columns=columns, dtype=str).apply(lambda c: c.str.strip())
    table, more = _without_index(table, where)
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise BadInput(f"column '{repeated[0]}' is repeated", where=where)
    return table, notes + more


def _rows(text: str, separator: str, where: str) -> list[list[str]]:
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        return [row for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise BadInput(f"not a CSV file ({error})", where=where) from None


def header(data: bytes) -> tuple[str, ...]:
    """The column names in the first line of a CSV file; () where it is no text."""
    try:
        text = _decoded(data[:65536].rpartition(b"\n")[0] or data[:65536], "", [])
    except BadInput:
        return ()
    first = text.lstrip("\n").split("\n", 1)[0]
    try:
        row = next(csv.reader([first], delimiter=_separator(first)), [])
    except csv.Error:
        return ()
    return tuple(cell.strip() for cell in row)


def _decoded(data: bytes, where: str, notes: list[str]) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        notes.append(f"{where}: UTF-16")
        encodings = ["utf-16"]
    else:
        if data.startswith(b"\xef\xbb\xbf"):
            notes.append(f"{where}: starts with a byte order mark")
        encodings = ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "latin-1":
            notes.append(f"{where}: not UTF-8, read as Latin-1")
        if "\0" in text:
            break
        return text.replace("\r\n", "\n").replace("\r", "\n")
    raise BadInput("not a text file", where=where)


def _separator(text: str) -> str:
    first = text.lstrip("\n").split("\n", 1)[0]
    return max(",;\t|", key=lambda c: (first.count(c), c == ","))


def _without_index(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Drop row numbers that some tool wrote as a first column."""
    first = str(table.columns[0])
    numbers = pd.to_numeric(table.iloc[:, 0], errors="coerce")
    counts_up = bool((numbers.diff().dropna() == 1).all()) and bool(numbers.notna().all())
    unnamed = first == "" or first.startswith("Unnamed:") or first == "index"
    if unnamed and (counts_up or first == "") and len(table.columns) > 1:
        return table.iloc[:, 1:], [f"{where}: the first column holds row numbers and was ignored"]
    return table, []


def need_columns(table: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Raise `BadInput` that names the first missing column and the nearest one there is."""
    for column in columns:
        if column not in table.columns:
            known = [str(c) for c in table.columns]
            raise BadInput(
                f"column '{column}' is missing", where=where, remedy=nearest(column, known)
            )


def clean_ids(ids: pd.Series, where: str) -> tuple[pd.Series, list[str]]:
    """Ids without blanks, folders and image suffixes (`a/ISIC_1.jpg` -> `ISIC_1`), and notes."""
    pattern = "(" + "|".join(re.escape(s) for s in SUFFIXES) + ")$"
    plain = ids.str.strip().str.replace(r"^.*[/\\]", "", regex=True)
    clean = plain.str.replace(pattern, "", regex=True, case=False)
    changed = int((clean != plain).sum())
    note = f"{where}: {counted(changed, 'id')} had a file suffix such as .jpg, which was removed"
    return clean, [note] if changed else []


def blank_unknown(values: pd.Series) -> pd.Series:
    """Text with "unknown", "NA", "None" and the like made ""."""
    return values.where(~values.str.strip().str.lower().isin(ABSENT), "")


def numbers(values: pd.Series, column: str, where: str) -> pd.Series:
    """Float64 of texts, NaN where absent; decimal commas are read. `BadInput` for other text."""
    text = blank_unknown(values)
    found = pd.to_numeric(text.str.replace(",", ".").replace("", None), errors="coerce")
    wrong = found.isna() & (text != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise BadInput(
            f"{column} '{values.iloc[row]}' in row {row + 2} is not a number", where=where
        )
    return found.astype("float64")


def sexes(values: pd.Series) -> pd.Series:
    """`female`, `male` or "" from the words that the sets use."""
    words = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
    return values.str.strip().str.lower().map(words).fillna("")
