"""How a table of predictions is to be read: what its user says of it, as options of a command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lesionlab.data import tables
from lesionlab.errors import BadInput, nearest

COLUMN_FIELDS = ("id_column", "label_column", "score_column")


@dataclass(frozen=True)
class TableReading:
    """What the user says of a table; whatever is not said is recognised by names and values.

    `classes` is the order of columns that are only numbered. `positive` is the class whose
    probability a lone column holds. `logits`: the numbers are logits. `truth` is another table
    with the labels, of which `matching_only` takes the rows that have a prediction.
    """

    id_column: str | None = None
    label_column: str | None = None
    score_column: str | None = None
    positive: str | None = None
    classes: tuple[str, ...] = ()
    logits: bool = False
    truth: Path | None = None
    matching_only: bool = False
    verb: str = "evaluate"
    sources: tuple[str, ...] = ()  # of a verb that takes several

    def command(self, path: Path | str, **changes: Any) -> str:
        """The command that reads `path` so, with what is changed.

        >>> TableReading(positive="mel").command("a b.csv", logits=True)
        "lesionlab evaluate 'a b.csv' --positive mel --logits"
        """
        wanted = replace(self, **changes)
        words = ["lesionlab", self.verb, *(self.sources or (str(path),))]
        for field in fields(wanted):
            value = getattr(wanted, field.name)
            if field.name not in ("verb", "sources") and value:
                words.append("--" + field.name.replace("_", "-"))
                text = ",".join(value) if isinstance(value, tuple) else str(value)
                words += [] if value is True else [text]
        return shlex.join(words)

    def named(self, field: str, columns: Iterable[str]) -> str | None:
        """The column that the user named for a role, where this table has it."""
        name = getattr(self, field)
        return name if name in columns else None


NOTHING_SAID = TableReading()


def refuse_absent_columns(how: TableReading, paths: Sequence[Path]) -> None:
    """`BadInput` for a named column that none of the tables has."""
    named = [name for field in COLUMN_FIELDS if (name := getattr(how, field)) is not None]
    if not named:
        return
    columns = {
        c: None for path in paths if path.is_file() for c in tables.header(path.read_bytes())
    }
    for name in named:
        if columns and name not in columns:
            raise BadInput(
                f"column '{name}' is missing",
                where=" and ".join(map(str, paths)),
                remedy=nearest(name, columns),
            )
