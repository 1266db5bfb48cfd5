"""The report: one HTML file that needs no network, from a `ReportContent`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lesionlab import __version__, files
from lesionlab.evaluation.evaluate import plain
from lesionlab.reporting.content import Block, Chart, Explorer, ReportContent, Row, Section
from lesionlab.reporting.environment import environment
from lesionlab.reporting.explanations_link import page_link
from lesionlab.reporting.language import Language, language
from lesionlab.reporting.sections import (
    calibration,
    checklist,
    confusion,
    curves,
    data,
    decision,
    errors,
    explorer,
    glossary,
    headline,
    provenance,
    readers,
    subgroups,
    training,
)

SCHEMA_VERSION = 1

# In the order in which a reader asks. A section that has nothing to say returns None.
SECTIONS: tuple[Callable[[ReportContent, Language], Section | None], ...] = (
    data.section,
    headline.section,
    readers.section,
    explorer.section,
    confusion.section,
    curves.section,
    calibration.section,
    decision.section,
    subgroups.section,
    errors.section,
    training.section,
    provenance.section,
    checklist.section,
    glossary.section,
)


def sections(content: ReportContent, words: Language) -> list[Section]:
    """All sections that have something to say, in order."""
    found = [make(content, words) for make in SECTIONS]
    return [s for s in found if s is not None]


def charts(content: ReportContent, words: Language) -> Iterator[Chart]:
    """Every figure of the report, in order; the explorer's four among them."""
    for section in sections(content, words):
        for block in section.blocks:
            yield from _charts_of(block)


def _charts_of(block: Block) -> Iterator[Chart]:
    if isinstance(block, Chart):
        yield block
    elif isinstance(block, Row):
        yield from block.charts
    elif isinstance(block, Explorer):
        yield from (*block.charts, *block.roc)


def render(content: ReportContent, lang: str = "en") -> str:
    """The report as one HTML document; everything in it is escaped, nothing is fetched.

    A content security policy allows only the page's own script, named by its hash.
    """
    words = language(lang)
    page = environment().get_template("report.html.j2")
    script = _resource("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return page.render(
        content=content,
        sections=sections(content, words),
        words=words,
        page_link=page_link,
        style=Markup(_resource("report.css")),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704 (our own file)
        script_hash=digest,
        version=__version__,
    )


def write_report(path: Path, content: ReportContent, lang: str = "en") -> None:
    """Write `render(content, lang)` and beside it its JSON twin, each atomically."""
    files.write_json(path.with_suffix(".json"), twin(content))
    files.write_text(path, render(content, lang))


def twin(content: ReportContent) -> dict[str, Any]:
    """The content of the report as JSON values, for programs that read it instead of the HTML.

    The split that the report is about stands first in `parts`. NaN becomes null, and thumbnails
    are left out.
    """
    other_fields = {
        f.name: getattr(content, f.name)
        for f in fields(content)
        if f.name not in ("parts", "thumbnail", "data")
    }
    result: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "focus": content.focus.name,
            "parts": {part.name: part.evaluation for part in content.parts},
            "data": None if content.data is None else asdict(content.data),
            **other_fields,
        }
    )
    return result


@cache
def _resource(name: str) -> str:
    folder = resources.files("lesionlab.reporting") / "templates"
    return (folder / name).read_text(encoding="utf-8")
