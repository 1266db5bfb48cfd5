"""How the training went: curves of every column of `history.csv` worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionlab.array_types import Floats
from lesionlab.reporting.content import (
    Block,
    Chart,
    Json,
    Paragraph,
    ReportContent,
    Row,
    Section,
    Table,
)
from lesionlab.reporting.language import Language
from lesionlab.reporting.plots import Curve, curve_plot
from lesionlab.reporting.svg import Axis, Frame, nice_ticks

METRIC_PREFIX = "valid_"
ROWS = 40  # of the table behind the curves


def section(content: ReportContent, words: Language) -> Section | None:
    """Loss, validation metrics and learning rate over the epochs; None without a history."""
    rows = content.history
    if not rows:
        return None
    charts = [_loss(rows, words), *_metrics(rows, words)]
    if any(r.get("lr") for r in rows):
        charts.append(_rate(rows, words))
    note = Paragraph(words("history.intro", n=len(rows)))
    notes = [Paragraph(line, "note") for line in content.training_notes]
    blocks: tuple[Block, ...] = (note, *notes, Row(tuple(charts)), _table(rows, words))
    return Section("history", words("history.title"), blocks)


def _column(rows: Sequence[Json], name: str) -> Floats:
    values = [r.get(name) for r in rows]
    return np.array([np.nan if not isinstance(v, int | float) else v for v in values], float)


def _chart(
    key: str,
    rows: Sequence[Json],
    columns: Sequence[str],
    axis: Axis,
    words: Language,
    styles: Sequence[int] = (0, 1, 3, 4, 2),
) -> Chart:
    epochs = np.arange(1.0, len(rows) + 1)
    ticks = tuple(t for t in nice_ticks(0, len(rows)) if t >= 1 and t == int(t)) or (1.0,)
    frame = Frame(Axis(words("axis.epoch"), 0.5, len(rows) + 0.5, ticks=ticks), axis, 260, 190, 62)
    curves = [
        Curve(words.name("history", c), epochs, _column(rows, c), style=styles[i % len(styles)])
        for i, c in enumerate(columns)
    ]
    boundary = _second_stage(rows)
    title = words(f"history.{key}")
    svg = curve_plot(
        f"history-{key}", title, words("history.description"), frame, curves,
        reference=None if boundary is None else ([boundary] * 2, [axis.low, axis.high]),
    )  # fmt: skip
    return Chart(f"history-{key}", title, "", svg)


def _second_stage(rows: Sequence[Json]) -> float | None:
    """Where on the axis a second stage begins (the first change only)."""
    stages = [r.get("stage") for r in rows]
    change = next((i for i in range(1, len(stages)) if stages[i] != stages[i - 1]), None)
    return None if change is None else change + 0.5


def _range(values: Sequence[Floats]) -> tuple[float, float]:
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad


def _loss(rows: Sequence[Json], words: Language) -> Chart:
    names = [c for c in ("train_loss", "valid_loss") if np.isfinite(_column(rows, c)).any()]
    low, high = _range([_column(rows, c) for c in names] or [np.array([0.0])])
    return _chart("loss", rows, names, Axis(words("axis.loss"), max(low, 0), high), words, (2, 0))


def _metrics(rows: Sequence[Json], words: Language) -> list[Chart]:
    names = [c for c in rows[-1] if c.startswith(METRIC_PREFIX) and c != "valid_loss"]
    names = [c for c in names if np.isfinite(_column(rows, c)).any()][:5]
    if not names:
        return []
    low, high = _range([_column(rows, c) for c in names])
    axis = Axis(words("axis.metric"), max(low, 0), min(high, 1) if high <= 1.2 else high)
    return [_chart("metrics", rows, names, axis, words)]


def _rate(rows: Sequence[Json], words: Language) -> Chart:
    high = float(np.nanmax(_column(rows, "lr")))
    return _chart("rate", rows, ["lr"], Axis(words("axis.lr"), 0, high * 1.06), words)


def _table(rows: Sequence[Json], words: Language) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = list(rows) if len(rows) <= ROWS else [*rows[: ROWS // 2], *rows[-ROWS // 2 :]]
    cells = tuple(tuple(_cell(row.get(c)) for c in columns) for row in shown)
    names = tuple(words.name("history", c) for c in columns)
    return Table(names, cells, words("history.table", shown=len(shown), n=len(rows)), True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
