"""What the audit says: a finding, how grave it is, and the tables and pictures that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note", "good"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "good")  # the gravest first
EXAMPLES = 12  # shown for a finding, at most


@dataclass(frozen=True)
class Grid:
    """Rows of text under column names; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """Images side by side, by `image_id`; those in `others` lie in the data set compared with."""

    images: tuple[str, ...]
    caption: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that a reader should know before training.

    `count` of `total` images, rows or columns are concerned. `why` says why it matters, with a
    figure; `remedy` is the one command (or sentence) that mends it. `fails` marks a leak or a
    conflict, for which `--strict` exits with 3. `drop` names the rows that `--drop KEY` removes.
    """

    key: str
    severity: Severity
    title: str
    text: str
    count: int = 0
    total: int = 0
    why: str = ""
    remedy: str = ""
    fails: bool = False
    grids: tuple[Grid, ...] = ()
    examples: tuple[Example, ...] = ()
    drop: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with everything but the pictures."""
        return {
            "key": self.key,
            "severity": self.severity,
            "title": self.title,
            "text": self.text,
            "count": self.count,
            "total": self.total,
            "why": self.why,
            "remedy": self.remedy,
            "fails_strict": self.fails,
            "examples": [[*e.images, *(f"other:{o}" for o in e.others)] for e in self.examples],
            "drop": list(self.drop),
            "data": dict(self.data),
        }


def share(part: float, whole: float) -> str:
    """A share as text.

    >>> share(1, 8), share(0, 0)
    ('12.5%', '–')
    """
    return f"{100 * part / whole:.1f}%" if whole else "–"
