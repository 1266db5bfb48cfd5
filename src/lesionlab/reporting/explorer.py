"""The threshold explorer: what each threshold would mean, computed here, shown by the page.

The page only looks numbers up: counts and intervals at every threshold of a grid are made by the
same functions as the evaluation's, so that the page cannot disagree with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from lesionlab.array_types import Bools, Floats, Ints
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.intervals import Measure, proportion_measure
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.prevalence import PREVALENCES, ratio_limits
from lesionlab.reporting.content import Chart, Explorer, Json, ReportContent
from lesionlab.reporting.language import Language
from lesionlab.reporting.plots import TwoHistograms, butterfly, butterfly_frame
from lesionlab.reporting.svg import Axis, Frame, document, label, number, path, tag

LINEAR_STEPS, LOGIT_STEPS = 500, 240
LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def explorer(content: ReportContent, words: Language) -> Explorer | None:
    """The explorer of the part in focus; None where malignant v benign cannot be told."""
    part = content.focus
    known = part.predictions.labelled()
    scored = malignant_scores(known, content.malignant)
    if scored is None:
        return None
    score, positive = scored
    codes, _ = group_codes(known.groups)
    locked = _locked(content)
    axes = _axes(score, words)
    grid = _grid(axes[1], [p["threshold"] for p in locked])
    start = float(locked[0]["threshold"]) if locked else 0.5
    drawn = [_histogram(axis, score, positive, start, locked, words) for axis in axes]
    roc = [_roc(form, grid, score, positive, locked, start, words) for form in ("roc", "mirror")]
    data = _table(grid, score, positive, codes) | {
        "start": start,
        "locked": [float(p["threshold"]) for p in locked],
        "frames": {
            axis.kind: _frame_json(frame) for axis, (_, frame) in zip(axes, drawn, strict=True)
        },
        "roc": {
            key: _frame_json(frame) for key, (_, frame) in zip(("roc", "mirror"), roc, strict=True)
        },
        "prevalences": [*PREVALENCES],
        "prevalence": float(positive.mean()),
        "words": {k: words(f"explorer.{k}") for k in _PAGE_WORDS},
    }
    return Explorer(
        tuple(c for c, _ in drawn), tuple(c for c, _ in roc), data, part.name == "test",
        tuple((f"{p['threshold']:.4g}", words.name("policy", p["policy"])) for p in locked),
    )  # fmt: skip


_PAGE_WORDS = ("frequency", "nobody", "threshold_says")


def malignant_scores(known: Predictions, malignant: tuple[str, ...]) -> tuple[Floats, Bools] | None:
    """Predicted probability of malignant and the truth; None unless both kinds are present."""
    if not malignant or not len(known):
        return None
    score = score_of(known.y_prob, known.classes, malignant)
    positive = np.isin(np.array(known.classes, dtype=object)[known.y_true], list(malignant))
    return None if positive.all() or not positive.any() else (score, positive)


def _locked(content: ReportContent) -> list[Json]:
    """The stored points whose score is the sum over exactly the malignant classes."""
    return [p for p in content.operating_points if set(p["score"]) == set(content.malignant)]


def _axes(score: Floats, words: Language) -> tuple[Axis, Axis]:
    low = float(np.clip(np.quantile(score, 0.005), 1e-5, 1e-3))
    name = words("explorer.axis")
    ticks = tuple(t for t in LOGIT_TICKS if t >= low)
    return (
        Axis(name, 0, 1, ticks=tuple(i / 10 for i in range(11))),
        Axis(words("explorer.axis_logit"), low, 1 - 1e-3, "logit", ticks),
    )


def _grid(logit: Axis, locked: list[float]) -> Floats:
    linear = np.arange(LINEAR_STEPS + 1) / LINEAR_STEPS
    odds = [np.log(v / (1 - v)) for v in (logit.low, logit.high)]
    spaced = 1 / (1 + np.exp(-np.linspace(odds[0], odds[1], LOGIT_STEPS)))
    rounded = np.array([float(f"{v:.3g}") for v in spaced])
    return np.unique(np.concatenate([linear, rounded, np.array(locked, float)]))


def _table(grid: Floats, score: Floats, positive: Bools, codes: Ints) -> dict[str, Any]:
    """Counts at each threshold (positive at score >= threshold), and intervals of all rates."""
    called = [score >= t for t in grid]
    tp = [int((c & positive).sum()) for c in called]
    fp = [int((c & ~positive).sum()) for c in called]
    sensitivity = _measures(tp, called, positive, codes)
    specificity = _measures(fp, [~c for c in called], ~positive, codes)
    ratios = [ratio_limits(a, b) for a, b in zip(sensitivity, specificity, strict=True)]
    return {
        "t": [float(t) for t in grid],
        "tp": tp,
        "fp": fp,
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "sensitivity": [_limits(m) for m in sensitivity],
        "specificity": [_limits(m) for m in specificity],
        "ppv": [_ratio(r["ppv"]) for r in ratios],
        "npv": [_ratio(r["npv"]) for r in ratios],
    }


def _measures(counts: list[int], right: list[Bools], whole: Bools, codes: Ints) -> list[Measure]:
    """A share for each threshold; thresholds that call the same cases share theirs."""
    known: dict[int, Measure] = {}
    for count, part in zip(counts, right, strict=True):
        if count not in known:
            known[count] = proportion_measure(part & whole, whole, codes)
    return [known[count] for count in counts]


def _limits(m: Measure) -> list[float] | None:
    return None if m.low is None or m.high is None else [round(m.low, 3), round(m.high, 3)]


def _ratio(limits: tuple[float, float, float] | None) -> list[float | None] | None:
    """Limits of the ratio from which the page reckons a predictive value; infinity is null."""
    if limits is None:
        return None
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in limits[1:]]


def _histogram(
    axis: Axis, score: Floats, positive: Bools, start: float, locked: list[Json], words: Language
) -> tuple[Chart, Frame]:
    bins = 50
    edges = _edges(axis, bins)
    clipped = np.clip(score, edges[0], edges[-1])
    above, _ = np.histogram(clipped[positive], edges)
    below, _ = np.histogram(clipped[~positive], edges)
    key = f"explorer-{axis.kind}"
    names = [
        words(f"explorer.{k}", n=f"{n:,}")
        for k, n in (("malignant", int(positive.sum())), ("benign", int((~positive).sum())))
    ]
    blank = butterfly_frame(axis)
    extra = [_locked_line(blank, float(p["threshold"]), i, words) for i, p in enumerate(locked)]
    extra.append(_handle(blank, start, key))
    svg, frame = butterfly(
        key,
        words("explorer.title"),
        words("explorer.histogram_description"),
        TwoHistograms(
            axis, edges, (names[0], above.astype(float)), (names[1], below.astype(float))
        ),
        extra,
        start,
    )
    return Chart(key, words("explorer.title"), words("explorer.histogram_caption"), svg), frame


def _edges(axis: Axis, bins: int) -> Floats:
    if axis.kind == "linear":
        return np.linspace(axis.low, axis.high, bins + 1)
    odds = [np.log(v / (1 - v)) for v in (axis.low, axis.high)]
    edges: Floats = 1 / (1 + np.exp(-np.linspace(odds[0], odds[1], bins + 1)))
    edges[0], edges[-1] = axis.low, axis.high
    return edges


def _locked_line(frame: Frame, threshold: float, row: int, words: Language) -> Markup:
    x = float(frame.px(threshold))
    line = path([x, x], [frame.top, frame.bottom], "locked-line")
    text = words("explorer.locked_short", threshold=f"{threshold:.3g}")
    return line + label(text, x + 5, frame.bottom - 5 - 14 * row, "small")


def _handle(frame: Frame, start: float, key: str) -> Markup:
    x = number(float(frame.px(start)))
    line = tag(
        "path", d=f"M0,{number(frame.top - 14)}V{number(frame.bottom)}", class_="handle-line"
    )
    grip = tag("circle", cx=0, cy=frame.top - 14, r=7, class_="handle-grip")
    return tag("g", line, grip, class_="handle", id=f"{key}-handle", transform=f"translate({x} 0)")


def _roc(
    form: str, grid: Floats, score: Floats, positive: Bools, locked: list[Json], start: float,
    words: Language,
) -> tuple[Chart, Frame]:  # fmt: skip
    """One form of the curve: TPR over FPR, or specificity over sensitivity."""
    order = np.argsort(-score, kind="stable")
    tpr = np.r_[0, np.cumsum(positive[order])] / positive.sum()
    fpr = np.r_[0, np.cumsum(~positive[order])] / (~positive).sum()
    last = np.r_[True, np.diff(score[order]) != 0, True]
    x, y = (fpr, tpr) if form == "roc" else (tpr, 1 - fpr)
    names = (
        ("axis.fpr_short", "axis.tpr_short")
        if form == "roc"
        else ("axis.sensitivity", "axis.specificity")
    )
    axes = [Axis(words(n), 0, 1) for n in names]
    frame = Frame(axes[0], axes[1], 168, 168)
    key = f"explorer-{form}"
    diagonal = (frame.px([0, 1]), frame.py([0, 1] if form == "roc" else [1, 0]))
    parts = [frame.draw(), path(*diagonal, "reference")]
    parts.append(path(frame.px(x[last]), frame.py(y[last]), "line s0"))
    parts += [_ring(frame, form, score, positive, float(p["threshold"])) for p in locked]
    a, b = _place(form, score, positive, start)
    place = f"translate({number(float(frame.px(a)))} {number(float(frame.py(b)))})"
    parts.append(
        tag("g", tag("circle", r=6, class_="handle-grip"), id=f"{key}-dot", transform=place)
    )
    title = words(f"explorer.{form}_title")
    svg = document(
        key, frame.right + 12, frame.bottom + 42, title, words("explorer.roc_description"), *parts
    )
    return Chart(key, title, "", svg), frame


def _place(form: str, score: Floats, positive: Bools, threshold: float) -> tuple[float, float]:
    called = score >= threshold
    tpr, fpr = float(called[positive].mean()), float(called[~positive].mean())
    return (fpr, tpr) if form == "roc" else (tpr, 1 - fpr)


def _ring(frame: Frame, form: str, score: Floats, positive: Bools, threshold: float) -> Markup:
    a, b = _place(form, score, positive, threshold)
    x, y = float(frame.px(a)), float(frame.py(b))
    return tag("circle", cx=x, cy=y, r=9, class_="locked-ring")


def _frame_json(frame: Frame) -> dict[str, Any]:
    return {
        "left": frame.left, "top": frame.top, "width": frame.width, "height": frame.height,
        "low": frame.x.low, "high": frame.x.high, "kind": frame.x.kind,
    }  # fmt: skip
