"""What the page on explanations is made of: cards, lists, the embedding map, its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lesionlab.reporting.content import Block

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture with its name for those who cannot see it; `source` is a data URL."""

    source: str
    alt: str
    caption: str = ""
    failed: bool = False  # a map by a method that failed its randomisation check


@dataclass(frozen=True)
class CaseCard:
    """One image: pictures side by side, lines of text, and pairs of (name, value)."""

    pictures: tuple[Picture, ...]
    facts: tuple[tuple[str, str], ...]
    title: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class CaseList:
    """Cards under a heading; `wide` cards have many pictures each."""

    title: str
    cards: tuple[CaseCard, ...]
    note: str = ""
    wide: bool = False
    kind: str = "cases"


@dataclass(frozen=True)
class Cloud:
    """The embedding map: `data` for the script, `sprite` a data URL of all thumbnails."""

    data: Json
    sprite: str
    caption: str
    legend: str
    kind: str = "cloud"


@dataclass(frozen=True)
class PageSection:
    """A numbered part of the page."""

    key: str
    title: str
    blocks: tuple[Block | CaseList | Cloud, ...]


@dataclass(frozen=True)
class ExplanationContent:
    """Everything that the page shows, as plain values: see `lesionlab.explain`.

    `study` holds a row for each reference and method (`explanation.study.Row.to_json`), `parts`
    the accuracies of parts of the picture, `pairs` the confused pairs, `agreement` the
    neighbours', `leave_one_out` that among the training images, `lesions` the ABCD rows, `network`
    what it reaches on the part and what chance does (`explanation.chance_check`);
    `embedding_leaves_out` says what of "places" and "facts" the head reads and the map does not.
    Absent knowledge is empty or None.
    """

    title: str
    part: str
    classes: tuple[str, ...]
    n: int
    explained: int
    checks: int
    main_method: str
    network: Json | None = None
    study: Sequence[Json] = ()
    parts: Sequence[Json] = ()
    masks: int = 0
    mask_area: Json | None = None
    empty_background: int = 0
    losses: Sequence[CaseCard] = ()
    confident: Sequence[tuple[str, Sequence[CaseCard]]] = ()
    correct: Sequence[CaseCard] = ()
    strips: Sequence[CaseCard] = ()
    similar: Sequence[CaseCard] = ()
    cloud: Json | None = None
    sprite: str = ""
    projection: str = "tsne"
    pairs: Sequence[Json] = ()
    errors: tuple[int, int] = (0, 0)
    agreement: Json | None = None
    leave_one_out: Json | None = None
    embedding_leaves_out: Sequence[str] = ()
    bank: int = 0
    lesions: Sequence[Json] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    unit: str = "image"
    synthetic: bool = False
    leaky: bool = False
    openings: int = 0
    created: str = ""
