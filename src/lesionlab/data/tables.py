"""Other people's tables: BOM, CRLF, semicolons, decimal commas, Latin-1, what Excel leaves."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from lesionlab.data import workbook
from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.errors import BadInput, counted, nearest

ABSENT = frozenset({
    "", "na", "n/a", "<na>", "nan", "nat", "none", "null", "unknown", "unk", "-",
    "#n/a", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!",  # Excel's errors
})  # fmt: skip
INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # no blanks to `str.strip`
UNNAMED = re.compile(r"(Unnamed: \d+(_level_\d+)?)?")  # "" and what pandas writes for it
AGE = r"(?i)^\s*(\d+(?:[.,]\d+)?)\s*(?:y|yo|yr|yrs|year|years)(?: old)?\.?\s*$"
ROMAN = ("I", "II", "III", "IV", "V", "VI")
SKIN_TYPES = {**{str(n): r for n, r in enumerate(ROMAN, 1)}, **{r: r for r in ROMAN}}
SKIN = r"(?i)^(?:fitzpatrick|fst|skin|type|\s|_|-(?!1$))+"
YEARS = (0, 120)  # an age outside is a code for "unknown", such as -1 or 999


def read_csv(
    data: bytes, where: str, header: Sequence[str] | None = None, ignore: Collection[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """A table's rows as text ("" = absent), and notes on what was odd about the file.

    CSV with any usual separator, or an Excel workbook. `header` names the columns of a file that
    has none; columns in `ignore` are left out. What spreadsheets leave behind is undone: `="0001"`,
    a line `sep=;`, commas at the ends of lines, columns without name and content. Raises
    `BadInput` where the file is empty, has rows of unequal length or a repeated column.
    """
    rows, notes = _cells(data, where)
    if not header and (titles := _titles(rows)):
        rows = rows[titles:]
        notes.append(f"{where}: {counted(titles, 'line')} above the header left out")
    if not rows:
        raise BadInput("the table is empty", where=where, remedy="check the file")
    columns = list(header) if header else rows.pop(0)
    if not rows:
        raise BadInput("the table has a header but no rows", where=where, remedy="check the file")
    if not header:
        columns = _fitted(columns, rows)
    for n, row in enumerate(rows):
        if len(row) != len(columns):
            raise BadInput(
                f"row {n + 1 + (not header)} has {len(row)} fields, but the header has "
                f"{len(columns)}",
                where=where,
                remedy="give each row as many fields as the header, quote text that holds "
                "a separator, and remove lines above the header",
            )
    table = pd.DataFrame(rows, columns=columns, dtype=str)
    table = _without_empty(table.loc[:, ~table.columns.isin(list(ignore))])
    table, more = _without_index(table, where)
    table, named = _named(table, where)
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise BadInput(
            f"column '{repeated[0]}' is repeated", where=where, remedy="rename one of them"
        )
    return table, [*notes, *more, *named]


def _cells(data: bytes, where: str) -> tuple[list[list[str]], list[str]]:
    """The clean cells of the rows that have any, and notes."""
    if workbook.is_workbook(data):
        rows, notes = workbook.read_rows(data, where)
    else:
        notes = []
        text, separator = _parted(_decoded(data, where, notes))
        if separator != ",":
            notes.append(f"{where}: columns are separated by {separator!r}")
        rows = _rows(text, separator, where)
    cleaned = [[clean_cell(cell) for cell in row] for row in rows]
    guarded = sum(a.startswith("=") and a != b for old, new in zip(rows, cleaned, strict=True)
                  for a, b in zip(old, new, strict=True))  # fmt: skip
    if guarded:
        notes.append(f'{where}: {counted(guarded, "cell")} of the form ="..." read as the text')
    return [row for row in cleaned if any(row)], notes


def clean_cell(text: str) -> str:
    """A cell without blanks around it and without the guards that keep a text from Excel.

    >>> [clean_cell(t) for t in (' a ', '="0001"', "'0001", "'s")]
    ['a', '0001', '0001', "'s"]
    """
    plain = text.strip().strip(INVISIBLE).strip()
    if plain.startswith('="') and plain.endswith('"') and len(plain) > 2:
        return plain[2:-1].strip()
    return plain[1:] if re.fullmatch(r"'\d+", plain) else plain


def _titles(rows: list[list[str]]) -> int:
    """How many lines of one sentence stand above what looks like a header: 0 or 1."""
    if len(rows) < 3:
        return 0
    title, names = [[cell for cell in row if cell] for row in rows[:2]]
    numbers = any(re.fullmatch(r"[-+.,\d]+", name) for name in names)
    is_header = len(names) >= 2 and len(set(names)) == len(names) and not numbers
    return int(len(title) == 1 and " " in title[0] and bool(rows[0][0]) and is_header)


def _fitted(columns: list[str], rows: list[list[str]]) -> list[str]:
    """The header without the nameless ends that no row fills; rows lose such ends in place."""
    used = max(max((n for n, cell in enumerate(row, 1) if cell), default=0) for row in rows)
    names = list(columns)
    while len(names) > used and UNNAMED.fullmatch(names[-1]):
        names.pop()
    for row in rows:
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) < len(names) and all(UNNAMED.fullmatch(n) for n in names[len(row) :]):
            row += [""] * (len(names) - len(row))
    return names


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    nameless = table.columns.map(lambda c: bool(UNNAMED.fullmatch(str(c))))
    return table.loc[:, ~(np.asarray(nameless, bool) & (table == "").all().to_numpy(bool))]


def _named(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """A name for each nameless column that holds something."""
    names, notes = list(table.columns), []
    for n, name in enumerate(names):
        if name == "":
            names[n] = f"column_{n + 1}"
            notes.append(f"{where}: column {n + 1} has no name and is called {names[n]}")
    return table.set_axis(names, axis=1), notes


def _rows(text: str, separator: str, where: str) -> list[list[str]]:
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        return [row for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise BadInput(f"not a CSV file ({error})", where=where) from None


def header(data: bytes) -> tuple[str, ...]:
    """The column names in the first line of a table; () where it is no table."""
    try:
        if workbook.is_workbook(data):
            rows = workbook.read_rows(data, "")[0]
            return _trimmed(rows[_titles(rows)])
        text, separator = _parted(
            _decoded(data[:65536].rpartition(b"\n")[0] or data[:65536], "", [])
        )
        filled = (r for r in csv.reader(text.split("\n"), delimiter=separator) if any(r))
        rows = [[clean_cell(cell) for cell in row] for row in itertools.islice(filled, 5)]
        rows = [row for row in rows if any(row)]
        return _trimmed(rows[_titles(rows)]) if rows else ()
    except (BadInput, csv.Error):
        return ()


def _trimmed(row: list[str]) -> tuple[str, ...]:
    names = [clean_cell(cell) for cell in row]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


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


def _parted(text: str) -> tuple[str, str]:
    """The text without Excel's line `sep=;`, and its separator: by that line, else by counting."""
    body = text.lstrip("\n")
    first, _, rest = body.partition("\n")
    said = re.fullmatch(r'"?sep=(.|\\t)"?[,;\t]*', first.strip(" "), re.IGNORECASE)
    if said:
        return rest, "\t" if said.group(1) == "\\t" else said.group(1)
    first = next((line for line in body.split("\n") if line.strip(" ,;\t|")), "")
    return body, max(",;\t|", key=lambda c: (first.count(c), c == ","))


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


def ages(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Years, NaN where there is none; and whether a text stood there that is no age ("90+", 999).

    De-identified tables write the highest ages so. "45 years" and DICOM's "045Y" are 45.

    >>> years, unread = ages(pd.Series(["45", "90+", "045Y", ""]))
    >>> years.tolist(), unread.tolist()
    ([45.0, nan, 45.0, nan], [False, True, False, False])
    """
    text = blank_unknown(values.astype(str))
    plain = text.str.replace(AGE, r"\1", regex=True).str.replace(",", ".").replace("", None)
    years = pd.to_numeric(plain, errors="coerce").astype("float64")
    years = years.where(years.between(*YEARS))
    return years, years.isna() & (text != "")


def skin_types(values: pd.Series) -> pd.Series:
    """Fitzpatrick types as I to VI, "" where unknown (-1, 0); other words stay.

    >>> list(skin_types(pd.Series(["3.0", "-1", "type iv", "VI", "12"])))
    ['III', '', 'IV', 'VI', '12']
    """
    text = blank_unknown(values.astype(str)).str.strip().str.replace(r"\.0+$", "", regex=True)
    plain = text.str.replace(SKIN, "", regex=True).str.upper().replace({"-1": "", "0": ""})
    known = plain.map(SKIN_TYPES)
    return known.where(known.notna(), text.where(plain != "", ""))


def sexes(values: pd.Series) -> pd.Series:
    """`female`, `male` or "" from the words that the sets use."""
    words = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
    return values.str.strip().str.lower().map(words).fillna("")
