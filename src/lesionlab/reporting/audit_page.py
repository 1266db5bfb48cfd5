"""The audit as one HTML page: findings by gravity, each with its pictures and its remedy."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from lesionlab import __version__
from lesionlab.data.audit import Audit
from lesionlab.data.audit.findings import Example, Finding, Grid
from lesionlab.data.audit.inventory import grids
from lesionlab.reporting.environment import environment
from lesionlab.reporting.plots import Interval, bars, forest
from lesionlab.reporting.svg import Axis

Thumbnail = Callable[[str], bytes | None]
WORDS = {"error": "Error", "warning": "Warning", "note": "Note", "good": "Good"}


@dataclass(frozen=True)
class Figure:
    """Images that stand side by side under one caption; `images` are (id, data URL or "")."""

    images: tuple[tuple[str, str], ...]
    caption: str


@dataclass(frozen=True)
class DrawnFinding:
    """A finding with what is drawn of it."""

    finding: Finding
    figures: tuple[Figure, ...]
    chart: Markup | None


def render(
    audit: Audit, thumbnail: Thumbnail, other: Thumbnail | None = None, clean: tuple[str, ...] = ()
) -> str:
    """The page as one HTML document; everything in it is escaped, nothing is fetched.

    `thumbnail(image_id)` gives the bytes of a small JPEG or None; `other` does so for the data
    set compared with. `clean` names what was looked for and not found.
    """
    shown = [
        DrawnFinding(f, tuple(_figure(e, thumbnail, other) for e in f.examples), _chart(f))
        for f in audit.findings
    ]
    stock = audit.inventory
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            info=audit.material.dataset.info,
            shown=shown,
            severities=audit.to_json()["severities"],
            words=WORDS,
            clean=clean,
            stock=stock,
            charts=_inventory_charts(stock),
            grids=[*grids(stock), _size_grid(stock)],
            style=_style(),
            version=__version__,
        )
    )


def _figure(example: Example, thumbnail: Thumbnail, other: Thumbnail | None) -> Figure:
    own = [(name, _data_url(thumbnail(name))) for name in example.images]
    theirs = [(name, _data_url(other(name) if other else None)) for name in example.others]
    return Figure((*own, *theirs), example.caption)


def _data_url(picture: bytes | None) -> str:
    if picture is None:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")


def _chart(finding: Finding) -> Markup | None:
    """The shortcuts as a forest plot; other findings have none."""
    results = finding.data.get("shortcuts")
    if not results:
        return None
    rows = [
        Interval(r["name"], r["value"], r["low"], r["high"], _interval(r))
        for r in sorted(results, key=lambda r: -float(r["value"]))
    ]
    axis = Axis("mean AUC over classes, from these features alone", 0.4, 1.0)
    title = "How well each predicts the label"
    return forest("shortcuts-plot", title, title, rows, axis, reference=0.5)


def _interval(result: Mapping[str, Any]) -> str:
    return f"{result['value']:.2f} ({result['low']:.2f} to {result['high']:.2f})"


def _inventory_charts(stock: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    classes = list(stock["classes"])
    counts = [float(stock["classes"][c]["images"]) for c in classes]
    groups = [float(stock["classes"][c]["groups"]) for c in classes]
    series = [("images", counts, 0), ("independent groups", groups, 2)]
    aspects = {k: n for k, n in stock["aspects"].items() if n}
    wide = bars(
        "aspects", "Aspect", "Images by aspect ratio", list(aspects),
        [("images", [float(n) for n in aspects.values()], 0)], "images by width / height",
    )  # fmt: skip
    return [
        ("Images by class", bars("classes", "Classes", "By class", classes, series, "number")),
        ("Images by aspect ratio", wide),
    ]


def _size_grid(stock: Mapping[str, Any]) -> Grid:
    sizes = list(stock["sizes"].items())
    rows = [(size, f"{n:,}") for size, n in sizes[:12]]
    if len(sizes) > 12:
        rows.append((f"{len(sizes) - 12:,} other sizes", f"{sum(n for _, n in sizes[12:]):,}"))
    return Grid(("pixels", "images"), tuple(rows), "By size")


@cache
def _style() -> Markup:
    """The report's style and the few rules of this page; both are our own files."""
    folder = resources.files("lesionlab.reporting") / "templates"
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("report.css", "audit.css")]
    return Markup("\n".join(texts))  # noqa: S704
