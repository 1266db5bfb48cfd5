"""Where the pages on explanations lie, and the links to them in a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from lesionlab import files
from lesionlab.reporting.language import language

LINK_PLACE = "<!-- explanations -->"


def page_name(part: str) -> str:
    """The file name of a part's page, which lies beside the report."""
    return f"explanations-{part}.html"


def pages_in(folder: Path, parts: Sequence[str]) -> tuple[str, ...]:
    """Those of `parts` whose page lies in `folder`."""
    return tuple(part for part in parts if (folder / page_name(part)).is_file())


def page_link(part: str, lang: str = "en") -> Markup:
    """A paragraph with the link to a part's page."""
    words = language(lang)
    text = words("explain.link", part=words.name("part", part))
    return Markup('<p class="explanations"><a href="{}">{}</a></p>').format(page_name(part), text)


def link_report(report: Path, part: str, lang: str = "en") -> bool:
    """Put a link to a part's page into a report that was written before it; whether it could."""
    if not report.is_file():
        return False
    text = report.read_text(encoding="utf-8")
    if f'href="{page_name(part)}"' in text:
        return True
    if LINK_PLACE not in text:
        return False
    link = page_link(part, lang) + Markup("\n" + LINK_PLACE)  # noqa: S704 (our own text)
    files.write_text(report, text.replace(LINK_PLACE, link, 1))
    return True
