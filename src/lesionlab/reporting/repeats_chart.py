"""One chart over several presets: mean and every run's spread of each, by part and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesionlab.experiments.run_summary import titled
from lesionlab.reporting.content import Chart
from lesionlab.reporting.figures import standalone
from lesionlab.reporting.plots import Interval, forest
from lesionlab.reporting.svg import Axis

METRICS = (
    ("roc_auc", "ROC AUC"),
    ("balanced_accuracy_prior_corrected", "balanced accuracy, prior-corrected"),
    ("accuracy", "accuracy"),
    ("majority_accuracy", "accuracy of always predicting the majority class"),
    ("malignant_sensitivity", "sensitivity, malignant"),
    ("malignant_ppv", "PPV, malignant"),
)
STYLES = {"train": 3, "valid": 2, "fold": 0, "test": 1}


def repeats_chart(told: Sequence[Mapping[str, Any]]) -> str:
    """An SVG document: for each metric and preset a row a part, mean with one SD either way."""
    rows = []
    for metric, name in METRICS:
        found = [
            (titled(t["name"], t["leaky"]), part, parts[metric])
            for t in told
            for part, parts in {
                **t["parts"],
                **({"test": t["test"]} if "test" in t else {}),
            }.items()
            if metric in parts
        ]
        if found:
            rows.append(Interval(name, None, heading=True))
            rows += [_row(preset, part, m, len(told) > 1) for preset, part, m in found]
    ends = [r.value if r.low is None else r.low for r in rows]  # a single run has no SD
    low = min([end for end in ends if end is not None], default=0.0)
    axis = Axis("mean ± 1 standard deviation", max(0.0, min(low, 0.5)), 1.0)
    title = f"{', '.join(titled(t['name'], t['leaky']) for t in told)}: repeated"
    svg = forest(
        "repeats", title, "Mean and standard deviation over the runs", rows, axis, width=420
    )
    return standalone(Chart("repeats", title, "", svg))


def _row(preset: str, part: str, m: Mapping[str, Any], several: bool) -> Interval:
    mean, sd = m["mean"], m["sd"]
    name = f"{preset}, {part}" if several else part
    low, high = (None, None) if sd is None else (max(0.0, mean - sd), min(1.0, mean + sd))
    text = f"{mean:.3f}" + ("" if sd is None else f" (SD {sd:.3f}, n = {m['n']})")
    return Interval(name, mean, low, high, text, STYLES.get(part, 4))
