"""Does a predicted probability come true? Reliability with intervals, and the one-number losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionlab.array_types import Floats
from lesionlab.evaluation.class_scores import score_of
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
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import Point, reliability
from lesionlab.reporting.sections.curves import MALIGNANT, main_score
from lesionlab.reporting.svg import Axis, Frame

HISTOGRAM_BINS = 40


def section(content: ReportContent, words: Language) -> Section:
    """Reliability of the malignant score and of the highest probability; NLL, Brier, ECE."""
    e = content.focus.evaluation
    calibration = e["calibration"]
    charts = []
    main = main_score(e)
    if main and main in calibration["classes"]:
        name = words("curves.malignant") if main == MALIGNANT else main
        title = words("calibration.of", name=name)
        bins = calibration["classes"][main]["bins"]
        charts.append(_chart("reliability-main", title, bins, _score(content, main), words))
    top = content.focus.predictions.y_prob.max(axis=1)
    charts.append(
        _chart("reliability-top", words("calibration.top"), calibration["bins"], top, words)
    )
    blocks: list[Block] = [
        Paragraph(words("calibration.intro")),
        Row(tuple(charts)),
        _losses(e, words),
    ]
    if content.calibration:
        blocks.append(_fitted(content.calibration, words))
        if content.calibration.get("fitted_on") == content.focus.name:
            blocks.append(Paragraph(words("calibration.same_part"), "note"))
    blocks += _sets(e.get("conformal"), words)
    return Section("calibration", words("calibration.title"), tuple(blocks))


def _score(content: ReportContent, name: str) -> Floats:
    p = content.focus.predictions
    return score_of(p.y_prob, p.classes, content.malignant if name == MALIGNANT else (name,))


def _chart(key: str, title: str, bins: Sequence[Json], score: Floats, words: Language) -> Chart:
    frame = Frame(Axis(words("axis.predicted"), 0, 1), Axis(words("axis.observed"), 0, 1), 250, 250)
    points = [
        Point("", b["mean_prob"], b["observed"]["value"], y_range=_range(b["observed"]), size=3.5)
        for b in bins
        if b["observed"]["value"] is not None
    ]
    n, edges = np.histogram(score, HISTOGRAM_BINS, (0.0, 1.0))
    counts = list(zip(edges[:-1], edges[1:], n.astype(float), strict=True))
    svg = reliability(
        key, title, words("calibration.description"), frame, points, counts,
        words("calibration.counts"),
    )  # fmt: skip
    rows = tuple(
        (f"{share(b['low'])}–{share(b['high'])}", f"{b['n']:,}", share(b["mean_prob"]),
         measure_text(b["observed"]))
        for b in bins
    )  # fmt: skip
    columns = (
        words("column.bin"), words("column.n"), words("axis.predicted"), words("axis.observed")
    )  # fmt: skip
    return Chart(key, title, words("calibration.caption"), svg, Table(columns, rows))


def _range(m: Json) -> tuple[float, float] | None:
    return None if m["low"] is None else (m["low"], m["high"])


def _losses(e: Json, words: Language) -> Table:
    # For two classes the Brier score is that of one of them, half of the sum over both.
    brier = "brier_two" if len(e["classes"]) == 2 else "brier"
    meaning = {"nll": "nll", "brier": brier, "ece": "ece"}
    rows = tuple(
        (words(f"metric.{k}"), measure_text(e["metrics"][k]), words(f"calibration.{text}"))
        for k, text in meaning.items()
    )
    columns = (words("column.metric"), words("column.estimate"), words("column.meaning"))
    return Table(columns, rows, words("calibration.losses"))


def _fitted(calibration: Json, words: Language) -> Paragraph:
    return Paragraph(
        words(
            "calibration.fitted",
            temperature=f"{calibration.get('temperature', 1.0):.3g}",
            part=words.name("part", str(calibration.get("fitted_on", "valid"))),
        )
    )


def _sets(found: Json | None, words: Language) -> list[Block]:
    """Conformal sets: achieved coverage and sizes by class; or why there are none."""
    if found is None:
        return []
    part = words.name("part", str(found["calibrated_on"]))
    if "refused" in found:
        return [Paragraph(words("sets.refused", part=part, reason=found["refused"]), "note")]
    rule, k = found["rule"], len(found["rule"]["classes"])
    intro = words(
        "sets.intro", share=f"{found['target']:.0%}", method=rule["method"].upper(), part=part
    )
    rows = [(words("sets.all"), found)] + [(n, found["classes"][n]) for n in rule["classes"]]
    groups = dict(zip(rule["classes"], rule["groups"], strict=True))
    cells = tuple(
        (
            name,
            f"{c['coverage']['n']:,}",
            measure_text(c["coverage"]),
            measure_text(c["size"], 2),
            " / ".join(str(n) for n in c["sizes"]),
            f"{groups[name]:,}" if name in groups else "",
        )
        for name, c in rows
    )
    columns = (
        words("column.class"), words("column.n"), words("sets.coverage"), words("sets.size"),
        words("sets.sizes", k=k), words("sets.groups"),
    )  # fmt: skip
    table = Table(columns, cells, words("sets.caption"))
    warnings = [Paragraph(text, "note") for text in rule["warnings"]]
    return [Paragraph(intro), table, *warnings]
