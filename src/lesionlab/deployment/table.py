"""The CSV of `predict`: safe to open in a spreadsheet, and picked up again where it stopped.

Rows go to OUT.partial as they come; the file gets its name when the last row is there. A second
call with the same bundle, settings and images skips the rows that are there already.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, get_args

from pydantic import BaseModel

from lesionlab import files, platforms
from lesionlab.deployment.answers import Answer, CsvColumn
from lesionlab.deployment.batch import ABOUT_IMAGE, ImageResult, PredictOptions, about_image
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.schema import BundleInfo, point_name
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import FORMULA

SYNC_ROWS = 64


def safe_cell(value: str) -> str:
    """Text that a spreadsheet will not run as a formula (OWASP, "CSV Injection").

    What of a file's name is no text is escaped: Linux allows any bytes in it.

    >>> safe_cell("=1+1"), safe_cell("a\\udcff")
    ("'=1+1", 'a\\\\udcff')
    """
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return "'" + text if text.startswith(FORMULA) else text


def columns(info: BundleInfo, with_decision: bool, model: type[BaseModel] = Answer) -> list[str]:
    """The columns of the table, in the order of the fields of `Answer`."""
    keys = {"classes": info.classes, "rules": tuple(rule.name for rule in info.conformal)}
    absent = {"decision": not with_decision, "ood": info.ood is None}
    names = list(ABOUT_IMAGE)
    for path, column in field_columns(model):
        if absent.get(path[0]) or column.name is None:
            continue
        names += [column.name.format(key) for key in keys.get(column.keys, ("",))]
    return names


@cache
def field_columns(model: type[BaseModel]) -> tuple[tuple[tuple[str, ...], CsvColumn], ...]:
    """Each field of an answer, as the path to it, with its column; those of nested models too."""
    columns_of_model: list[tuple[tuple[str, ...], CsvColumn]] = []
    for name, field in model.model_fields.items():
        inner = _nested(field.annotation)
        if inner is None:
            own = next((m for m in field.metadata if isinstance(m, CsvColumn)), CsvColumn(name))
            columns_of_model.append(((name,), own))
        else:
            columns_of_model += [((name, *path), column) for path, column in field_columns(inner)]
    return tuple(columns_of_model)


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model` or `Model | None`."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def row(result: ImageResult, names: Sequence[str]) -> list[str]:
    """The cells of one result; numbers round-trip, absent ones are empty."""
    values: dict[str, Any] = dict(about_image(result))
    if result.answer is not None:
        dumped = result.answer.model_dump()
        for path, column in field_columns(type(result.answer)):
            if column.name is None:
                continue
            value = reduce(lambda inner, key: inner and inner[key], path, dumped)
            if column.keys:
                values |= {column.name.format(key): v for key, v in value.items()}
            else:
                values[column.name] = value
    return [cell(values.get(name)) for name in names]


def cell(value: Any) -> str:
    """A value as text that a spreadsheet reads as data.

    >>> [cell(v) for v in (None, True, 0.25, ["mel", "nv"])]
    ['', '1', '0.25', 'mel nv']
    """
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case float():
            return repr(value)
        case list():
            return safe_cell(" ".join(value))
    return safe_cell(str(value))


def line(cells: Sequence[str]) -> str:
    """One row of CSV. A cell with a line break of any system is quoted.

    The csv module quotes a carriage return only where it is part of the line terminator.

    >>> line(["a,b", "c"])
    '"a,b",c\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def whole_rows(data: bytes) -> bytes:
    """The rows that are there to their end; a newline within quotes ends none.

    >>> whole_rows(b'id,path\\n"a\\nb",c\\n"d\\n')
    b'id,path\\n"a\\nb",c\\n'
    """
    end = position = quotes = 0
    for part in data.split(b"\n")[:-1]:
        quotes += part.count(b'"')
        position += len(part) + 1
        if quotes % 2 == 0:
            end = position
    return data[:end]


@dataclass(frozen=True)
class TablePlan:
    """What a table is made from; another plan cannot pick up its rows."""

    bundle: str  # identity
    columns: tuple[str, ...]
    settings: dict[str, str]

    def digest(self) -> str:
        """Hex SHA-256."""
        text = json.dumps([self.bundle, self.columns, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def plan_table(
    info: BundleInfo, identity: str, items: Sequence[Item], options: PredictOptions
) -> TablePlan:
    """The plan of a table of these images, with the clinical inputs that the model reads."""
    settings = {
        "operating_point": point_name(options.point) if options.point else "",
        "abstain": options.abstain,
        "draft": str(options.draft),
    }
    if info.facts is not None:
        clinical = repr([item.clinical for item in items])
        settings["cases"] = hashlib.sha256(clinical.encode()).hexdigest()
    return TablePlan(identity, tuple(columns(info, options.point is not None)), settings)


class PredictionsTable:
    """Writes rows to OUT.partial and moves it to OUT when all are there (a context manager)."""

    def __init__(self, path: Path, plan: TablePlan) -> None:
        self.path = path
        self.plan = plan
        self.partial = path.with_name(path.name + ".partial")
        self.note = path.with_name(path.name + ".partial.json")
        if path.exists():
            raise BadInput("exists already", where=str(path), remedy="choose another --csv")
        self.done = self._pick_up()
        self._stream: IO[str] | None = None
        self._unsynced = 0

    def _pick_up(self) -> dict[str, str]:
        """image_id -> path of the rows that are there; a torn last row is cut off."""
        if not self.partial.is_file() or not self.note.is_file():
            return {}
        if files.read_json(self.note) != {"schema_version": 1, "plan": self.plan.digest()}:
            raise BadInput(
                "belongs to another bundle or other settings",
                where=str(self.partial),
                remedy="remove it, or choose another --csv",
            )
        data = self.partial.read_bytes()
        whole = whole_rows(data)
        rows = list(csv.reader(io.StringIO(whole.decode("utf-8"), newline="")))
        if rows[:1] != [list(self.plan.columns)]:
            return {}
        if len(whole) < len(data):
            os.truncate(self.partial, len(whole))
        return {r[0]: r[1] for r in rows[1:]}

    def left(self, items: Sequence[Item]) -> list[Item]:
        """The items that have no row yet."""
        return [
            i for i in items if self.done.get(safe_cell(i.image_id)) != safe_cell(i.path.as_posix())
        ]

    def __enter__(self) -> Self:
        try:
            if not self.done:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                note = {"schema_version": 1, "plan": self.plan.digest()}
                files.write_json(self.note, note)
                self._stream = self.partial.open("w", encoding="utf-8", newline="")
                self._write(list(self.plan.columns))
            else:
                self._stream = self.partial.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise BadInput(f"cannot be written ({error.strerror})", where=str(self.path)) from None
        return self

    def add(self, result: ImageResult) -> None:
        """Append one row; synced to the disk now and then."""
        self._write(row(result, self.plan.columns))

    def _write(self, cells: Sequence[str]) -> None:
        assert self._stream is not None
        self._stream.write(line(cells))
        self._unsynced += 1
        if self._unsynced >= SYNC_ROWS:
            self._sync()

    def _sync(self) -> None:
        assert self._stream is not None
        self._stream.flush()
        platforms.sync_file(self._stream.fileno())
        self._unsynced = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._stream is not None
        self._sync()
        self._stream.close()
        if kind is None:
            platforms.replace(self.partial, self.path)
            platforms.sync_folder(self.path.parent)
            self.note.unlink(missing_ok=True)
