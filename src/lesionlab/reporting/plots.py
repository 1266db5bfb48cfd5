"""The charts of the report: numbers in, SVG out. Every word on them is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lesionlab.array_types import Floats
from lesionlab.reporting.svg import (
    Axis,
    Frame,
    Numbers,
    area,
    document,
    fit,
    join,
    label,
    number,
    path,
    tag,
    text_width,
)


@dataclass(frozen=True)
class Curve:
    """A line with an optional band; `style` 0 to 4 picks colour and dashes."""

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    style: int = 0


@dataclass(frozen=True)
class Point:
    """A marked point with optional intervals `(low, high)` along both axes."""

    name: str
    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    style: int = 0
    solid: bool = True
    size: float = 4.5


@dataclass(frozen=True)
class Interval:
    """A row of a forest plot; an unknown number is None."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    text: str = ""
    style: int = 0
    heading: bool = False


def curve_plot(
    key: str,
    title: str,
    description: str,
    frame: Frame,
    curves: Sequence[Curve],
    *,
    reference: tuple[Numbers, Numbers] | None = None,
    points: Sequence[Point] = (),
    legend: bool = True,
) -> Markup:
    """Lines with bands and marked points; the legend stands below, where it covers nothing."""
    parts = [frame.draw()]
    if reference is not None:
        parts.append(path(frame.px(reference[0]), frame.py(reference[1]), "reference"))
    parts += [_band(frame, c) for c in curves]
    parts += [path(frame.px(c.x), frame.py(c.y), f"line s{c.style}") for c in curves]
    parts += [point(frame, p) for p in points]
    top = frame.bottom + 54
    lines = [c for c in curves if c.name] if legend else []
    entries = [_key_line(frame, top + 17 * i, c) for i, c in enumerate(lines)]
    start = top + 17 * len(entries)
    named = [p for p in points if p.name] if legend else []
    entries += [_key_point(frame, start + 17 * i, p) for i, p in enumerate(named)]
    height = top + 17 * len(entries) if entries else frame.bottom + 42
    return document(key, frame.right + 14, height, title, description, *parts, *entries)


def _band(frame: Frame, curve: Curve) -> Markup:
    if curve.low is None or curve.high is None:
        return Markup("")
    low, high = frame.py(_known(curve.low)), frame.py(_known(curve.high))
    return area(frame.px(curve.x), low, high, f"band s{curve.style}")


def _known(values: Numbers) -> Floats:
    return np.asarray([np.nan if v is None else v for v in values], float)


def point(frame: Frame, mark: Point) -> Markup:
    """A point with whiskers; hollow where `solid` is false."""
    x, y = float(frame.px(mark.x)), float(frame.py(mark.y))
    parts = []
    if mark.x_range is not None:
        a, b = (number(v) for v in frame.px(mark.x_range))
        parts.append(tag("path", d=f"M{a},{number(y)}H{b}", class_=f"whisker mark s{mark.style}"))
    if mark.y_range is not None:
        a, b = (number(v) for v in frame.py(mark.y_range))
        parts.append(tag("path", d=f"M{number(x)},{a}V{b}", class_=f"whisker mark s{mark.style}"))
    parts.append(_dot(x, y, mark))
    return tag("g", *parts)


def _dot(x: float, y: float, mark: Point) -> Markup:
    kind = f"mark s{mark.style}" + (" fill" if mark.solid else "")
    title = tag("title", f"{mark.name}: {mark.x:.3f}, {mark.y:.3f}") if mark.name else Markup("")
    return tag("circle", title, cx=x, cy=y, r=mark.size, class_=kind)


def _key_line(frame: Frame, y: float, curve: Curve) -> Markup:
    left = frame.left
    line = path([left, left + 24], [y, y], f"line s{curve.style}")
    return line + label(fit(curve.name, frame.width - 20, 11), left + 31, y + 4, "small")


def _key_point(frame: Frame, y: float, mark: Point) -> Markup:
    dot = _dot(frame.left + 12, y, mark)
    return dot + label(fit(mark.name, frame.width - 20, 11), frame.left + 31, y + 4, "small")


def forest(
    key: str,
    title: str,
    description: str,
    rows: Sequence[Interval],
    axis: Axis,
    *,
    reference: float | tuple[float, ...] | None = None,
    width: float = 250,
) -> Markup:
    """Estimates with intervals, one row each, the numbers written beside them."""
    names = max([text_width(r.name) for r in rows], default=60)
    left = min(max(names + 12, 80), 350)
    frame = Frame(axis, Axis("", 0, 1, ticks=()), width, 22.0 * len(rows) + 6, left, 6)
    parts = [frame.draw()]
    places = reference if isinstance(reference, tuple) else (reference,)
    for at in [place for place in places if place is not None]:
        x = float(frame.px(at))
        parts.append(path([x, x], [frame.top, frame.bottom], "reference"))
    parts += [_forest_row(frame, r, frame.top + 14 + 22 * i) for i, r in enumerate(rows)]
    texts = max([text_width(r.text, 11) for r in rows], default=0)
    return document(key, frame.right + 14 + texts, frame.bottom + 42, title, description, *parts)


def _forest_row(frame: Frame, row: Interval, y: float) -> Markup:
    kind = "label strong" if row.heading else "label"
    parts = [label(fit(row.name, frame.left - 10), frame.left - 8, y + 4, kind, "end")]
    if row.low is not None and row.high is not None:
        a, b = (number(v) for v in frame.px([row.low, row.high]))
        parts.append(tag("path", d=f"M{a},{number(y)}H{b}", class_=f"whisker mark s{row.style}"))
    if row.value is not None:
        parts.append(
            _dot(
                float(frame.px(row.value)),
                y,
                Point("", 0, 0, style=row.style, solid=row.low is not None, size=4),
            )
        )
    parts.append(label(row.text, frame.right + 10, y + 4, "small"))
    return tag("g", *parts)


def confusion(
    key: str,
    title: str,
    description: str,
    classes: Sequence[str],
    counts: Numbers,
    row_name: str,
    column_name: str,
    total_name: str,
) -> Markup:
    """A K x K heat table: row shares (each row sums to 1) as colour and number, counts below."""
    table = np.asarray(counts, float)
    totals = table.sum(axis=1)
    shares = np.divide(
        table, totals[:, None], out=np.full_like(table, np.nan), where=totals[:, None] > 0
    )
    k = len(classes)
    cell = 42.0 if k <= 8 else 36.0
    left = min(max([text_width(c) for c in classes]) + 36, 180)
    top = 22 + min(max([text_width(c, 11) for c in classes]) * 0.72 + 12, 110)
    parts = [label(column_name, left + cell * k / 2, 13, "axis-name", "middle")]
    turn = f"rotate(-90 12 {number(top + cell * k / 2)})"
    parts.append(
        tag("text", row_name, x=12, y=top + cell * k / 2, class_="axis-name",
            text_anchor="middle", transform=turn)
    )  # fmt: skip
    for i, name in enumerate(classes):
        y = top + cell * i
        parts.append(label(fit(name, left - 34), left - 8, y + cell / 2 + 4, "label", "end"))
        parts.append(_slanted(fit(name, 140, 11), left + cell * (i + 0.5), top - 8))
        parts.append(
            label(f"{totals[i]:,.0f}", left + cell * k + 10, y + cell / 2 + 4, "small muted")
        )
        parts += [
            _cell(left + cell * j, y, cell, shares[i, j], table[i, j], i == j) for j in range(k)
        ]
    parts.append(label(total_name, left + cell * k + 10, top - 8, "small muted"))
    width = left + cell * k + max(46.0, text_width(total_name, 11) + 16)
    return document(key, width, top + cell * k + 6, title, description, *parts)


def _slanted(text: str, x: float, y: float) -> Markup:
    turn = f"rotate(-45 {number(x)} {number(y)})"
    return tag("text", text, x=x, y=y, class_="small", transform=turn)


def _cell(x: float, y: float, size: float, share: float, count: float, diagonal: bool) -> Markup:
    known = bool(np.isfinite(share))
    fill = tag(
        "rect", x=x, y=y, width=size, height=size, class_="heat",
        fill_opacity=f"{0.02 + 0.92 * share:.2f}" if known else "0",
    )  # fmt: skip
    edge = tag("rect", x=x, y=y, width=size, height=size, class_="cell")
    tone = " on-dark" if known and share > 0.8 else ""
    quiet = " muted" if known and share < 0.3 else ""
    middle, strong = x + size / 2, " strong" if diagonal else ""
    big = label(
        f"{share:.2f}" if known else "–", middle, y + size / 2, f"label{strong}{tone}", "middle"
    )
    small = label(f"{count:,.0f}", middle, y + size / 2 + 15, f"small{quiet}{tone}", "middle")
    return join([fill, edge, big, small])


def bars(
    key: str,
    title: str,
    description: str,
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], int]],
    axis_name: str,
) -> Markup:
    """Horizontal bars: for each name one bar a series `(name, values, style)`, count at its end."""
    top = max([1.0, *(v for _, values, _ in series for v in values)])
    left = min(max([text_width(n) for n in names], default=60) + 16, 200)
    thick = 13.0 if len(series) > 1 else 16.0
    row = thick * len(series) + 9
    frame = Frame(
        Axis(axis_name, 0, top), Axis("", 0, 1, ticks=()), 270, row * len(names) + 4, left
    )
    parts = [frame.draw()]
    for i, name in enumerate(names):
        y = frame.top + 5 + row * i
        parts.append(
            label(fit(name, left - 14), left - 8, y + thick * len(series) / 2 + 4, "label", "end")
        )
        for j, (_, values, style) in enumerate(series):
            parts.append(_bar(frame, y + thick * j, values[i], thick, style))
    legend = [
        _bar_key(left, frame.bottom + 48 + 17 * j, name, style)
        for j, (name, _, style) in enumerate(series)
    ]
    height = frame.bottom + 46 + 17 * len(legend)
    return document(key, frame.right + 60, height, title, description, *parts, *legend)


def _bar(frame: Frame, y: float, value: float, thick: float, style: int) -> Markup:
    width = float(frame.px(value)) - frame.left
    bar = tag("rect", x=frame.left, y=y, width=width, height=thick - 2, class_=f"fill s{style}")
    return bar + label(f"{value:,.0f}", frame.left + width + 5, y + thick - 4, "small")


def _bar_key(x: float, y: float, name: str, style: int) -> Markup:
    box = tag("rect", x=x, y=y - 6, width=12, height=11, class_=f"fill s{style}")
    return box + label(name, x + 18, y + 4, "small")


@dataclass(frozen=True)
class TwoHistograms:
    """Counts of two groups over the same bins, each with its name."""

    axis: Axis
    edges: Numbers  # (bins + 1,)
    above: tuple[str, Numbers]
    below: tuple[str, Numbers]


def butterfly(
    key: str,
    title: str,
    description: str,
    counts: TwoHistograms,
    extra: Sequence[Markup] = (),
    threshold: float = 0.5,
) -> tuple[Markup, Frame]:
    """Two histograms back to back, as shares of each group; returns the SVG and its frame.

    Square-root heights: a bin of 1 % stays visible beside one of 80 %. What lies right of the
    threshold is solid (`clip-path` of the class `called`), the rest pale.
    """
    frame = butterfly_frame(counts.axis)
    parts = [frame.draw(), path([frame.left, frame.right], [float(frame.py(0.0))] * 2, "axis")]
    parts.append(_clips(key, frame, threshold))
    names = (f"▲ {counts.above[0]}", f"▼ {counts.below[0]}")
    for (_, values), sign, style in ((counts.above, 1, 1), (counts.below, -1, 0)):
        bars_path = _histogram_path(frame, counts.edges, values, sign)
        parts.append(tag("path", d=bars_path, class_=f"fill s{style} pale"))
        parts.append(
            tag("path", d=bars_path, class_=f"fill s{style} called", clip_path=f"url(#{key}-clip)")
        )
        x, anchor = (frame.left, "start") if sign > 0 else (frame.right, "end")
        parts.append(label(names[sign < 0], x, 13, f"label strong t{style}", anchor))
    svg = document(key, frame.right + 20, frame.bottom + 42, title, description, *parts, *extra)
    return svg, frame


def butterfly_frame(axis: Axis, width: float = 640) -> Frame:
    """Where `butterfly` draws: for marks that are laid over it."""
    return Frame(axis, Axis("", -1, 1, ticks=()), width, 180, 20, 42)


def _clips(key: str, frame: Frame, threshold: float) -> Markup:
    x = float(frame.px(threshold))
    window = tag("rect", x=x, y=0, width=frame.right - x, height=frame.bottom)
    return tag("defs", tag("clipPath", window, id=f"{key}-clip"))


def _histogram_path(frame: Frame, edges: Numbers, counts: Numbers, sign: int) -> str:
    values = np.asarray(counts, float)
    shares = np.sqrt(values / max(values.sum(), 1))
    shares = 0.94 * shares / max(float(shares.max()), 1e-9)
    x = frame.px(edges)
    base = number(float(frame.py(0.0)))
    return "".join(
        f"M{number(a + 0.4)},{base}V{number(float(frame.py(sign * s)))}H{number(b - 0.4)}V{base}Z"
        for a, b, s in zip(x[:-1], x[1:], shares, strict=True)
        if s > 0
    )


def reliability(
    key: str,
    title: str,
    description: str,
    frame: Frame,
    bins: Sequence[Point],
    counts: Sequence[tuple[float, float, float]],
    legend: str,
) -> Markup:
    """Observed share over predicted probability with intervals; below it, how many images.

    `counts` holds `(low, high, n)` of each bin of predicted probability.
    """
    parts = [frame.draw(), path(frame.px([0, 1]), frame.py([0, 1]), "reference")]
    parts += [point(frame, p) for p in bins]
    parts.append(path(frame.px([p.x for p in bins]), frame.py([p.y for p in bins]), "line s0 thin"))
    base, most = frame.bottom + 92, max([1.0, *(n for _, _, n in counts)])
    for low, high, n in counts:
        a, b = (float(v) for v in frame.px([low, high]))
        tall = 36 * float(np.sqrt(n / most))
        bar = tag("rect", tag("title", f"{n:,.0f}"), x=a + 0.5, y=base - tall,
                  width=max(b - a - 1, 0.5), height=tall, class_="fill s2")  # fmt: skip
        parts.append(bar)
    parts.append(path([frame.left, frame.right], [base, base], "axis"))
    parts.append(label(legend, frame.left, base + 16, "small muted"))
    return document(key, frame.right + 14, base + 24, title, description, *parts)


def flow(
    key: str,
    title: str,
    description: str,
    root: tuple[str, ...],
    leaves: Sequence[tuple[tuple[str, ...], bool]],
) -> Markup:
    """One box over several: where the images went; `(lines, in focus)` for each lower box."""
    count = max(len(leaves), 1)
    wide, gap = 138.0, 10.0
    total = count * wide + (count - 1) * gap
    tall = 20 + 17.0 * max([len(root), *(len(lines) for lines, _ in leaves)])
    middle, low = total / 2, tall + 40
    parts = [_box(middle - 110, 1, 220, tall, root, False)]
    for i, (lines, focus) in enumerate(leaves):
        x = i * (wide + gap)
        across = [middle, middle, x + wide / 2, x + wide / 2]
        parts.append(path(across, [tall + 1, tall + 20, tall + 20, low], "arrow"))
        parts.append(_box(x + 1, low, wide - 2, tall, lines, focus))
    width = max(total, 224)
    return document(key, width, low + tall + 2, title, description, *parts)


def _box(x: float, y: float, w: float, h: float, lines: tuple[str, ...], focus: bool) -> Markup:
    kind = "box focus" if focus else "box"
    parts = [tag("rect", x=x, y=y, width=w, height=h, rx=3, class_=kind)]
    for i, line in enumerate(lines):
        tone = "label strong" if i == 0 else "small"
        parts.append(label(fit(line, w - 12), x + w / 2, y + 21 + 17 * i, tone, "middle"))
    return join(parts)
