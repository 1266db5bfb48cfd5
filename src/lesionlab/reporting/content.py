"""What a report is made of: its input (`ReportContent`) and the blocks that sections yield."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from lesionlab.evaluation.predictions import Predictions

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One evaluated part: its predictions at the unit of evaluation, and the JSON twin.

    `name` is train, valid, test, outside, or predictions (a table from anybody).
    `evaluation` is `Evaluation.to_json()`.
    """

    name: str
    predictions: Predictions
    evaluation: Json


@dataclass(frozen=True)
class DataFacts:
    """What is known of the data. `parts` maps a part to {images, groups, classes: {name: n}}."""

    name: str
    source: str = ""
    licence: str = ""
    citation: str = ""
    modality: str = ""
    synthetic: bool = False
    leaky: bool = False
    leak_reason: str = ""
    images: int = 0
    groups: int = 0
    parts: Mapping[str, Json] = field(default_factory=dict)
    split_policy: Json | None = None
    patients_unknown: int = 0  # images without a patient
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows. Absent knowledge is None or empty, and the report says so.

    `parts` holds the part in focus first; the others are drawn beside it. `openings` are the
    ledger's entries of the test set (None: there is no ledger, as for a table from anybody).
    `thumbnail(image_id)` gives the bytes of a small JPEG or None.
    """

    title: str
    parts: tuple[Part, ...]
    malignant: tuple[str, ...] = ()
    data: DataFacts | None = None
    openings: Sequence[Json] | None = None
    history: Sequence[Json] = ()
    training_notes: tuple[str, ...] = ()  # what a run wrote down: warnings, skipped batches
    config: Json | None = None
    calibration: Json | None = None
    subgroups: Sequence[Json] = ()
    readers: Sequence[Json] = ()  # ReaderComparison.to_json()
    published: Sequence[Json] = ()  # ReaderPoint.to_json(), on other images
    thumbnail: Callable[[str], bytes | None] | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    explanations: tuple[str, ...] = ()  # parts whose page of `lesionlab explain` lies beside it

    @property
    def focus(self) -> Part:
        """The part that the report is about."""
        return self.parts[0]

    @property
    def operating_points(self) -> tuple[Json, ...]:
        """The stored points as they were chosen, before they met the part in focus."""
        return tuple(p["chosen"] for p in self.focus.evaluation["operating_points"])

    def part(self, name: str) -> Part | None:
        """A part by its name."""
        return next((p for p in self.parts if p.name == name), None)


@dataclass(frozen=True)
class Paragraph:
    """Text; `tone` is plain, note, warning or danger."""

    text: str
    tone: str = "plain"
    kind: str = "paragraph"


@dataclass(frozen=True)
class Table:
    """Rows of text under column names; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    folded: bool = False  # behind a click: long, and of use to few
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """A figure with its caption and the table behind it."""

    key: str
    title: str
    caption: str
    svg: Markup
    table: Table | None = None
    kind: str = "chart"

    @property
    def width(self) -> int:
        """Natural width in pixels, so that a caption is no wider than its figure."""
        found = re.search(r'width="([0-9.]+)"', str(self.svg))
        return round(float(found.group(1))) if found else 0


@dataclass(frozen=True)
class Card:
    """A number at the top: `value` large, its interval and what it is compared with below."""

    name: str
    value: str
    interval: str
    note: str


@dataclass(frozen=True)
class Cards:
    """A few headline numbers."""

    items: tuple[Card, ...]
    kind: str = "cards"


@dataclass(frozen=True)
class Row:
    """Charts side by side where the page is wide enough."""

    charts: tuple[Chart, ...]
    small: bool = False
    kind: str = "row"


@dataclass(frozen=True)
class Thumbnail:
    """One image and what was said of it; `source` is a data URL, or "" for none."""

    source: str
    image_id: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Thumbnails:
    """Images under a heading."""

    title: str
    items: tuple[Thumbnail, ...]
    kind: str = "thumbnails"


@dataclass(frozen=True)
class Explorer:
    """The threshold explorer: two histograms (linear, log-odds), two ROC forms, and its data."""

    charts: tuple[Chart, ...]
    roc: tuple[Chart, ...]
    data: Json
    on_test: bool
    locked: tuple[tuple[str, str], ...]  # (name, policy) of the marked points
    kind: str = "explorer"


Block = Paragraph | Table | Chart | Cards | Row | Thumbnails | Explorer


@dataclass(frozen=True)
class Section:
    """A numbered part of the report."""

    key: str
    title: str
    blocks: tuple[Block, ...]
