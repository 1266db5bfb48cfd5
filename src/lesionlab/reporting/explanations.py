"""The page on what a network looks at: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lesionlab import __version__, files
from lesionlab.reporting.content import Block
from lesionlab.reporting.language import Language, language
from lesionlab.reporting.report import safe_json

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture with its name for those who cannot see it; `source` is a data URL."""

    source: str
    alt: str
    caption: str = ""


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
    neighbours', `lesions` the ABCD rows. Absent knowledge is empty or None.
    """

    title: str
    part: str
    classes: tuple[str, ...]
    n: int
    explained: int
    checks: int
    main_method: str
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
    bank: int = 0
    lesions: Sequence[Json] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    unit: str = "image"
    synthetic: bool = False
    leaky: bool = False
    openings: int = 0
    created: str = ""


def render(content: ExplanationContent, lang: str = "en") -> str:
    """The page as one HTML document; everything in it is escaped, nothing is fetched.

    A content security policy allows only the page's own script, named by its hash.
    """
    from lesionlab.reporting.explanations_sections import sections

    words = language(lang)
    script = _resource("explanations.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    style = _resource("report.css") + "\n" + _resource("explanations.css")
    return (
        _environment()
        .get_template("explanations.html.j2")
        .render(
            content=content,
            sections=sections(content, words),
            words=words,
            style=Markup(style),  # noqa: S704 (our own file)
            script=Markup(script),  # noqa: S704 (our own file)
            script_hash=digest,
            version=__version__,
        )
    )


def write_page(path: Path, content: ExplanationContent, lang: str = "en") -> None:
    """Write `render(content, lang)`, atomically."""
    files.write_text(path, render(content, lang))


def data_url(picture: bytes) -> str:
    """A JPEG as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")


LINK_PLACE = "<!-- explanations -->"


def link_report(report: Path, name: str = "explanations.html", lang: str = "en") -> bool:
    """Put a link to the page into a report that was written before it; whether it could."""
    if not report.is_file():
        return False
    text = report.read_text(encoding="utf-8")
    if f'href="{name}"' in text:
        return True
    if LINK_PLACE not in text:
        return False
    words: Language = language(lang)
    link = Markup('<p class="explanations"><a href="{}">{}</a></p>').format(
        name, words("explain.link")
    )
    files.write_text(report, text.replace(LINK_PLACE, link, 1))
    return True


@cache
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("lesionlab.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["safe_json"] = safe_json
    return env


@cache
def _resource(name: str) -> str:
    folder = resources.files("lesionlab.reporting") / "templates"
    return (folder / name).read_text(encoding="utf-8")
