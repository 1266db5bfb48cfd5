"""The explicit table of sources: to add a data set, write one file and one line here."""

from __future__ import annotations

from lesionlab.data.sources import folder, ham10000, synthetic
from lesionlab.data.sources.base import Source
from lesionlab.errors import BadInput, nearest

SOURCES: dict[str, Source] = {s.name: s for s in (ham10000.SOURCE, folder.SOURCE, synthetic.SOURCE)}


def source_named(name: str) -> Source:
    """The source called `name`; `BadInput` with the nearest name where there is none."""
    if name not in SOURCES:
        raise BadInput(f"no source '{name}'", remedy=nearest(name, SOURCES))
    return SOURCES[name]
