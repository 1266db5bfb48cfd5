"""The figure of a learning-rate range test."""

from __future__ import annotations

import numpy as np

from lesionlab.array_types import Floats
from lesionlab.reporting.content import Chart
from lesionlab.reporting.figures import standalone
from lesionlab.reporting.plots import Curve, Point, curve_plot
from lesionlab.reporting.svg import Axis, Frame

NAMES = {
    "steepest": "steepest descent",
    "minimum_10": "a tenth of the minimum's rate",
    "valley": "valley (what auto takes)",
    "plateau": "start of the last plateau",
}


def rate_figure(
    rates: Floats, losses: Floats, suggestions: dict[str, float | None], title: str
) -> str:
    """A standalone SVG: smoothed loss over the rate, with what each custom suggests."""
    low, high = float(losses.min()), float(np.quantile(losses, 0.97))
    margin = 0.08 * ((high - low) or 1.0)
    frame = Frame(
        Axis("learning rate", float(rates[0]), float(rates[-1]), "log"),
        Axis("training loss, smoothed", low - margin, high + margin),
        420,
        260,
    )
    found = [(n, r) for n, r in suggestions.items() if r is not None]
    points = [
        Point(
            f"{NAMES[name]}: {rate:.2e}",
            rate,
            float(np.interp(np.log(rate), np.log(rates), losses)),
            style=style,
        )
        for style, (name, rate) in zip((0, 1, 3, 4), found, strict=False)
    ]
    description = "Loss over the learning rate, which rises from step to step."
    curve = Curve("", rates, losses)
    svg = curve_plot("rates", title, description, frame, [curve], points=points)
    return standalone(Chart("rates", title, "", svg))
