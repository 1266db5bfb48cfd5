"""The page on what a network looks at: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from lesionlab import __version__, files
from lesionlab.reporting.environment import environment
from lesionlab.reporting.explanations_content import ExplanationContent
from lesionlab.reporting.explanations_marks import MARK, alarms
from lesionlab.reporting.explanations_sections import sections
from lesionlab.reporting.language import language


def render(content: ExplanationContent, lang: str = "en") -> str:
    """The page as one HTML document; everything in it is escaped, nothing is fetched.

    A content security policy allows only the page's own script, named by its hash.
    """
    words = language(lang)
    script = _resource("explanations.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    style = _resource("report.css") + "\n" + _resource("explanations.css")
    return (
        environment()
        .get_template("explanations.html.j2")
        .render(
            content=content,
            alarms=alarms(content, words),
            sections=sections(content, words),
            words=words,
            mark=MARK,
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


@cache
def _resource(name: str) -> str:
    folder = resources.files("lesionlab.reporting") / "templates"
    return (folder / name).read_text(encoding="utf-8")
