"""Reading a challenge's truth and submission: strictly, every refusal with its row and value."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.data.id_matching import match_ids
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.challenge.formats import WEIGHTS, Format

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
WHOLE = re.compile(r"\s*[+-]?\d+\s*")
SUFFIX = re.compile(r"\.jpg$", re.IGNORECASE)
TRUTH_WORDS = {"benign": "0.0", "malignant": "1.0"}  # ISIC 2016 writes its training truth so
WEIGHTLESS = "ISIC_0035068"  # the official package gives this image of 2018 no weight
LISTED = 3  # ids named in one refusal


@dataclass(frozen=True)
class Rows:
    """A CSV file as text: `cells[i][j]` stands in line `lines[i]`, column `columns[j]`."""

    where: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> list[str]:
        """The cells of one column, as written."""
        j = self.columns.index(name)
        return [row[j] for row in self.cells]


@dataclass(frozen=True)
class ScoredSubmission:
    """Truth and scores of N images, in ascending order of their ids.

    `truth (N, K)` is 0 or 1, `score (N, K)` as submitted; the weights are `(N,)`.
    """

    image_id: npt.NDArray[np.object_]
    columns: tuple[str, ...]
    truth: Floats
    score: Floats
    weight: Floats
    validation_weight: Floats
    notes: tuple[str, ...] = ()


def read_scored(form: Format, truth: Path, prediction: Path) -> ScoredSubmission:
    """Read both files and pair their rows by id.

    Raises `BadInput` for whatever the challenge's judge refuses, and for a truth that is none.
    """
    known, told = _read_truth(form, truth)
    rows = read_rows(form, prediction, form.columns)
    for problem in submission_problems(form, rows):
        raise problem
    ids = image_ids(form, rows)
    for problem in pairing_problems(known.index.tolist(), ids, str(prediction)):
        raise problem
    table = pd.DataFrame({c: parse_numbers(rows.column(c)) for c in form.columns}, index=ids)
    notes = [*told, *_order_note(form, known.index.tolist(), ids, str(prediction))]
    known = known.sort_index()
    score = table.loc[known.index, list(form.columns)].to_numpy("float64")
    return ScoredSubmission(
        known.index.to_numpy(dtype=object),
        form.columns,
        known[list(form.truth)].to_numpy("float64"),
        score,
        known[WEIGHTS[0]].to_numpy("float64"),
        known[WEIGHTS[1]].to_numpy("float64"),
        tuple(notes),
    )


def read_rows(form: Format, path: Path, columns: Sequence[str]) -> Rows:
    """A file's rows as text; the header of a format that has none is supplied where it lacks."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except OSError as error:  # Windows says the same of a folder as of a file that it guards
        what = f"cannot be read ({error.strerror})"
        if path.is_dir():
            what = "a folder, not a CSV file"
        raise BadInput(what, where=str(path)) from None
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 (byte {error.start})", where=str(path), remedy="save the CSV as UTF-8"
        ) from None
    return rows_of(form, text, str(path), columns)


def rows_of(form: Format, text: str, where: str, columns: Sequence[str]) -> Rows:
    """Like `read_rows`, from text; raises `BadInput` where it is no table at all."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        read = [(reader.line_num, tuple(row)) for row in reader if row]
    except csv.Error as error:  # a quotation mark that nothing closes
        raise BadInput(f"not a readable CSV ({error})", where=where) from None
    headed = bool(read) and (form.header or _is_header(form, read[0][1]))
    header = tuple(c.strip() for c in read[0][1]) if headed else (form.key, *columns)
    read = read[1:] if headed else read
    if not read:
        raise BadInput("the table has no rows", where=where, remedy="write one row an image")
    if len(header) == 1 and ";" in header[0]:
        raise BadInput("columns are separated by ';'", where=where, remedy="write commas")
    repeated = [c for c, n in Counter(header).items() if n > 1]
    if repeated:
        raise BadInput(f"column '{repeated[0]}' is repeated", where=where)
    cells = tuple(_trimmed(row, len(header), line, where) for line, row in read)
    return Rows(where, header, cells, tuple(line for line, _ in read))


def _is_header(form: Format, row: tuple[str, ...]) -> bool:
    """Whether a file that needs no header has one all the same."""
    if row[0].strip().lower() in form.keys:
        return True
    values = [c.strip().lower() for c in row[1:]]
    return not any(NUMBER.fullmatch(v) or v in TRUTH_WORDS for v in values)


def _trimmed(row: tuple[str, ...], width: int, line: int, where: str) -> tuple[str, ...]:
    """The row without an empty field after a trailing comma, which the judges ignore."""
    while len(row) > width and row[-1] == "":
        row = row[:-1]
    if len(row) != width:
        raise BadInput(
            f"row {line} has {len(row)} fields, the header {width}",
            where=where,
            remedy="write numbers with a decimal point, not a comma" if len(row) > width else "",
        )
    return row


def image_ids(form: Format, rows: Rows) -> list[str]:
    """The ids; without `.jpg`, except where the id is a path."""
    ids = rows.column(_key(form, rows))
    return [SUFFIX.sub("", i) for i in ids] if form.of_isic else ids


def _key(form: Format, rows: Rows) -> str:
    return next(k for k in form.keys if k in rows.columns)


def parse_numbers(cells: list[str]) -> Floats:
    """Float64 of texts, rounded exactly as the judges' own CSV reader rounds them."""
    table = pd.read_csv(io.StringIO("\n".join(cells)), header=None, skip_blank_lines=False)
    return np.asarray(table[0], np.float64)


def submission_problems(form: Format, rows: Rows) -> Iterator[BadInput]:
    """Everything in a submission alone that its judge refuses, in the order it looks."""
    if not any(k in rows.columns for k in form.keys):
        yield BadInput(
            f"column '{form.key}' is missing",
            where=rows.where,
            remedy=nearest(form.key, rows.columns),
        )
        return
    yield from _repeated_ids(image_ids(form, rows), rows.where)
    missing = [c for c in form.columns if c not in rows.columns]
    for name in missing:
        yield BadInput(
            f"column '{name}' is missing", where=rows.where, remedy=nearest(name, rows.columns)
        )
    for name in rows.columns:
        if name not in (_key(form, rows), *form.columns):
            yield BadInput(
                f"column '{name}' does not belong to {form.name}",
                where=rows.where,
                remedy=nearest(name, form.columns),
            )
    for name in form.columns:
        if name not in missing:
            yield from _column_problems(form, rows, name)


def _repeated_ids(ids: list[str], where: str) -> Iterator[BadInput]:
    repeated = [i for i, n in Counter(ids).items() if n > 1]
    if repeated:
        yield BadInput(
            f"{len(repeated)} image(s) in more than one row: {listed(repeated)}",
            where=where,
            remedy="write one row an image",
        )
    if "" in ids:
        yield BadInput("a row without an image id", where=where, remedy="fill or remove it")


def _column_problems(form: Format, rows: Rows, name: str) -> Iterator[BadInput]:
    cells = rows.column(name)
    wrong = [i for i, c in enumerate(cells) if not NUMBER.fullmatch(c)]
    if wrong:
        cell, line = cells[wrong[0]], rows.lines[wrong[0]]
        what = f"'{cell}' is not a number" if cell.strip() else "the value is missing"
        yield BadInput(
            f"{name} in row {line}: {what}{_more(len(wrong))}",
            where=rows.where,
            remedy="write numbers such as 0.25",
        )
        return
    if form.strict and all(WHOLE.fullmatch(c) for c in cells):
        yield BadInput(
            f"{name} holds whole numbers only, which the official package refuses",
            where=rows.where,
            remedy="write 0.0 and 1.0",
        )
    values = parse_numbers(cells)
    outside = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(outside):
        first = int(outside[0])
        yield BadInput(
            f"{name} {cells[first].strip()} in row {rows.lines[first]} lies outside [0, 1]"
            f"{_more(len(outside))}",
            where=rows.where,
            remedy="write probabilities, not logits or ranks",
        )


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def listed(names: Sequence[str]) -> str:
    """The first few names of a list.

    >>> listed(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def pairing_problems(wanted: list[str], got: list[str], where: str) -> Iterator[BadInput]:
    """Images that the submission lacks, then those that it should not have."""
    there, asked = set(got), set(wanted)
    for what, names in (
        ("missing", [i for i in wanted if i not in there]),
        ("not asked for", [i for i in got if i not in asked]),
    ):
        if names:
            yield BadInput(
                f"{len(names)} image(s) {what}: {listed(names)}",
                where=where,
                remedy="write exactly the images of the truth or sample file"
                + _spelled(wanted, got),
            )


def _spelled(wanted: list[str], got: list[str]) -> str:
    """The ids that would match if they were spelled as the judge wants them, or ""."""
    notes = match_ids(wanted, got).notes()
    return f" (but for the spelling, {notes[0]})" if notes else ""


def _order_note(form: Format, wanted: list[str], got: list[str], where: str) -> list[str]:
    if form.positional and wanted != got:
        return [
            f"{where}: rows are paired by {form.key} here; the {form.judge} script pairs them by "
            "place, and these stand in another order than the truth"
        ]
    return []


def _read_truth(form: Format, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Truth by id: the columns of `form.truth` (0 or 1) and both weights; and notes."""
    rows = read_rows(form, path, form.truth)
    _check_truth_columns(form, rows)
    ids = image_ids(form, rows)
    for problem in _repeated_ids(ids, str(path)):
        raise problem
    table = pd.DataFrame({c: _truth_values(rows, c) for c in form.truth}, index=ids)
    for name in WEIGHTS:
        table[name] = _weights(rows, name) if name in rows.columns else 1.0
    notes = []
    if form.strict and WEIGHTLESS in table.index:
        table.loc[WEIGHTLESS, list(WEIGHTS)] = 0.0
        notes.append(f"{WEIGHTLESS} has weight zero, as in the official package")
    if form.exclusive:
        _check_exclusive(table[list(form.truth)].to_numpy(), rows)
    uneven = any(table[w].nunique() > 1 for w in WEIGHTS)
    if form.strict and uneven and not table.index.is_monotonic_increasing:
        notes.append(
            f"{path}: carries weights and is not sorted by image; the official package would pair "
            "the weights with the wrong images (it sorts the rows, not the weights)"
        )
    return table, notes


def _check_truth_columns(form: Format, rows: Rows) -> None:
    if not any(k in rows.columns for k in form.keys):
        raise BadInput(
            f"column '{form.key}' is missing",
            where=rows.where,
            remedy=nearest(form.key, rows.columns),
        )
    for name in form.truth:
        if name not in rows.columns:
            raise BadInput(
                f"column '{name}' is missing",
                where=rows.where,
                remedy=nearest(name, rows.columns),
            )
    extra = set(rows.columns) - {_key(form, rows), *form.truth, *WEIGHTS}
    if form.strict and extra:
        name = sorted(extra)[0]
        raise BadInput(
            f"column '{name}' does not belong to the truth of {form.name}",
            where=rows.where,
            remedy=nearest(name, form.truth),
        )


def _truth_values(rows: Rows, name: str) -> Floats:
    cells = [TRUTH_WORDS.get(c.strip().lower(), c) for c in rows.column(name)]
    for line, cell in zip(rows.lines, cells, strict=True):
        if not NUMBER.fullmatch(cell) or float(cell) not in (0.0, 1.0):
            raise BadInput(
                f"{name} '{cell}' in row {line} is neither 0 nor 1",
                where=rows.where,
                remedy="the first file is the truth, the second the submission",
            )
    return parse_numbers(cells)


def _weights(rows: Rows, name: str) -> Floats:
    cells = rows.column(name)
    for line, cell in zip(rows.lines, cells, strict=True):
        if not NUMBER.fullmatch(cell) or not 0 <= float(cell) < math.inf:
            raise BadInput(f"{name} '{cell}' in row {line} is not a weight", where=rows.where)
    return parse_numbers(cells)


def _check_exclusive(truth: Floats, rows: Rows) -> None:
    off = np.flatnonzero(truth.sum(axis=1) != 1)
    if len(off):
        marked = int(truth[off[0]].sum())
        raise BadInput(
            f"row {rows.lines[int(off[0])]} marks {marked} classes",
            where=rows.where,
            remedy="each image belongs to exactly one class",
        )
