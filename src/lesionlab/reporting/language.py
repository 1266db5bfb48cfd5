"""The words of a report: one file of strings a language, `strings/<code>.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lesionlab.errors import BadInput, nearest

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # code -> HTML's lang attribute


@dataclass(frozen=True)
class Language:
    """Strings by key. `words("flow.images", n=3)` fills in the placeholders."""

    code: str
    strings: Mapping[str, str]

    @property
    def html(self) -> str:
        """The value of HTML's `lang`."""
        return LANGUAGES[self.code]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key`; a missing key is a bug, never an empty place on the page."""
        text = self.strings[key]
        return text.format(**values) if values else text

    def name(self, prefix: str, word: str) -> str:
        """The text of `prefix.word`, or the word itself where no translation is known."""
        return self.strings.get(f"{prefix}.{word}", word)


@cache
def language(code: str) -> Language:
    """The strings of a language; `BadInput` where there is no such file.

    >>> language("en")("part.valid")
    'validation'
    """
    if code not in LANGUAGES:
        raise BadInput(f"no language '{code}'", where="lang", remedy=nearest(code, LANGUAGES))
    folder = resources.files("lesionlab.reporting") / "strings"
    strings: dict[str, str] = {}
    for page in ("", ".explanations"):  # the report's words, and those of its sister page
        strings |= json.loads((folder / f"{code}{page}.json").read_text(encoding="utf-8"))
    return Language(code, strings)


def share(value: float | None, digits: int = 3) -> str:
    """A number from 0 to 1 as papers print it; unknown is a dash.

    >>> share(0.9), share(None), share(-0.0001)
    ('0.900', '–', '0.000')
    """
    if value is None or value != value:
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # never "-0.000"


def measure_text(m: Mapping[str, Any] | None, digits: int = 3, gap: str = " ") -> str:
    """A `Measure` in JSON as text: value, `gap`, (low to high).

    >>> measure_text({"value": 0.9, "low": 0.8, "high": 0.95})
    '0.900 (0.800–0.950)'
    >>> measure_text({"value": -0.1, "low": -0.2, "high": -0.05}, 2)
    '-0.10 (-0.20 … -0.05)'
    """
    if m is None or m.get("value") is None:
        return "–"
    value = share(m["value"], digits)
    if m.get("low") is None or m.get("high") is None:
        return value
    low, high = share(m["low"], digits), share(m["high"], digits)
    dash = " … " if low.startswith("-") else "–"  # a dash beside a minus cannot be read
    return f"{value}{gap}({low}{dash}{high})"
