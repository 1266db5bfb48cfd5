"""The decision curve: is acting on the model better than treating all, or none?"""

from __future__ import annotations

import numpy as np

from lesionlab.array_types import Floats
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.decision_curve import decision_curve
from lesionlab.reporting.content import Chart, Json, Paragraph, ReportContent, Section, Table
from lesionlab.reporting.explorer import malignant_scores
from lesionlab.reporting.language import Language, measure_text
from lesionlab.reporting.plots import Curve, curve_plot
from lesionlab.reporting.svg import Axis, Frame

TABLE_AT = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def section(content: ReportContent, words: Language) -> Section | None:
    """Net benefit over the threshold probability; None without malignant classes."""
    predictions = content.focus.predictions
    known = predictions.labelled()
    scored = malignant_scores(known, content.malignant)
    if scored is None:
        return None
    score, positive = scored
    curve = decision_curve(score, positive, group_codes(known.groups)[0])
    intro = Paragraph(words("decision.intro"))
    blocks = (intro, Paragraph(_where(curve, words)), _chart(curve, words))
    return Section("decision", words("decision.title"), blocks)


def _where(curve: Json, words: Language) -> str:
    """At which thresholds the model gains more than the data's uncertainty; no more than that."""
    if all(low is None for low in curve["gain_limits"]["low"]):
        return words("decision.gain_unknown")
    ranges = curve["gain_above_0"]
    if not ranges:
        return words("decision.gain_nowhere")
    return words("decision.gain_above_0", ranges=", ".join(_range(a, b, words) for a, b in ranges))


def _range(first: float, last: float, words: Language) -> str:
    if first == last:
        return f"{first:.2f}"
    return words("decision.range", low=f"{first:.2f}", high=f"{last:.2f}")


def _chart(curve: Json, words: Language) -> Chart:
    thresholds, model, everyone = _numbers(curve["threshold"]), curve["model"], curve["all"]
    low = -0.15 * curve["prevalence"]
    heights = np.concatenate([_numbers(model[k]) for k in ("value", "high")])
    top = max(float(np.nanmax(heights)), curve["prevalence"]) * 1.1
    frame = Frame(
        Axis(words("axis.threshold_probability"), 0, 1), Axis(words("axis.net_benefit"), low, top),
        420, 230, 62,
    )  # fmt: skip
    shown = _numbers(everyone["value"]) >= low
    lines = [
        Curve(words("decision.model"), thresholds, model["value"], model["low"], model["high"]),
        Curve(
            words("decision.all"), thresholds[shown], _numbers(everyone["value"])[shown], style=2
        ),
    ]
    title = words("decision.chart")
    svg = curve_plot(
        "decision-curve", title, words("decision.description"), frame, lines,
        reference=([0, 1], [0, 0]),
    )  # fmt: skip
    return Chart("decision-curve", title, words("decision.caption"), svg, _table(curve, words))


def _numbers(values: list[float | None]) -> Floats:
    return np.array([np.nan if v is None else v for v in values], float)


def _table(curve: Json, words: Language) -> Table:
    rows = [i for i, t in enumerate(curve["threshold"]) if round(t, 2) in TABLE_AT]
    cells = tuple(
        (
            f"{curve['threshold'][i]:.2f}",
            _benefit(curve["model"], i),
            _benefit(curve["all"], i),
            "0",
            _benefit({"value": curve["gain"], **curve["gain_limits"]}, i),
        )
        for i in rows
    )
    columns = (
        words("axis.threshold_probability"), words("decision.model"), words("decision.all"),
        words("decision.nobody"), words("decision.gain"),
    )  # fmt: skip
    return Table(columns, cells)


def _benefit(column: Json, row: int) -> str:
    return measure_text({k: column[k][row] for k in ("value", "low", "high")}, 4)
