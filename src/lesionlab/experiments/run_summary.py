"""Repeated runs in one table: every run, mean, standard deviation, and an honest interval."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from lesionlab.evaluation.metric_table import bounds_of
from lesionlab.evaluation.repeats import VARIES, compare_repeats, summarise

METHOD = "corrected resampled t over the runs (Nadeau and Bengio 2003)"
NO_INTERVAL = "mean and SD over the runs; no interval"
Ends = tuple[float | None, float | None]
SHOWN = (
    "balanced_accuracy_prior_corrected",
    "balanced_accuracy",
    "roc_auc",
    "accuracy",
    "majority_accuracy",
    "nll",
    "malignant_sensitivity",
    "malignant_ppv",
    "malignant_roc_auc",
)
Results = Sequence[Mapping[str, Any]]


def spread(results: Results) -> dict[str, dict[str, Any]]:
    """`{part: {metric: {mean, sd, low, high, n, method, runs}}}` over finished runs.

    Training parts of folds overlap, so the interval of the mean is that of the corrected
    resampled t-test. It is null for a single run, without variation, and for every part but the
    folds: the runs share a test part and learned their training part, so that a t over them says
    how far they differ, not what other images would give. A metric that some run lacks is left
    out.
    """
    parts = dict.fromkeys(part for result in results for part in result["parts"])
    return {part: _of_part(results, part) for part in parts}


def _of_part(results: Results, part: str) -> dict[str, Any]:
    names = dict.fromkeys(name for r in results for name in r["parts"].get(part, {}))
    found = {}
    for name in names:
        runs = {r["name"]: r["parts"].get(part, {}).get(name, {}).get("value") for r in results}
        if all(value is not None for value in runs.values()):
            found[name] = _of_metric(name, part, runs, ratio(results, part))
    return found


def ratio(results: Results, part: str) -> float:
    """Size of the held-out part over that of training: how far the runs' data overlap."""
    shares = [r["n"][part] / r["n_train"] for r in results]
    return float(sum(shares) / len(shares))


def _of_metric(
    name: str, part: str, runs: Mapping[str, float], test_to_train: float
) -> dict[str, Any]:
    told = summarise(name, runs).to_json()
    low = high = None
    if len(runs) > 1:
        values = list(runs.values())
        found = compare_repeats(values, [0.0] * len(values), test_to_train=test_to_train)
        low, high = ends(name, part, told["sd"], (found.low, found.high))
    return {"mean": told["mean"], "sd": told["sd"], "low": low, "high": high, "n": told["n"],
            "method": NO_INTERVAL if low is None else METHOD, "runs": told["runs"]}  # fmt: skip


def ends(metric: str, part: str, sd: float | None, found: Ends) -> Ends:
    """The interval of a mean over runs that may be shown: of folds that vary, inside the scale.

    >>> ends("roc_auc", "fold", 0.1, (0.8, 1.1)), ends("nll", "fold", 0.1, (-0.1, 1.1))
    ((0.8, 1.0), (0.0, 1.1))
    >>> ends("roc_auc", "test", 0.1, (0.8, 0.9)), ends("roc_auc", "fold", 0.0, (0.8, 0.8))
    ((None, None), (None, None))
    """
    low, high = found
    if part != "fold" or not sd or sd < VARIES or low is None or high is None:
        return None, None
    bottom, top = bounds_of(metric.removeprefix("malignant_"))
    return max(bottom, low), min(top, high)


def differences(first: Results, second: Results) -> dict[str, Any]:
    """First minus second on the folds, paired by run, `{metric: {value, low, high, p_value, n}}`.

    Empty unless both have the same runs (folds are the same for the same data set and seed).
    """
    a, b = ({r["name"]: r for r in results} for results in (first, second))
    if set(a) != set(b) or len(a) < 2:
        return {}
    found: dict[str, Any] = {}
    for metric in SHOWN:
        pairs = [
            (a[n]["parts"]["fold"].get(metric), b[n]["parts"]["fold"].get(metric))
            for n in sorted(a)
        ]
        values = [(x["value"], y["value"]) for x, y in pairs if x and y]
        if len(values) < len(a) or any(x is None or y is None for x, y in values):
            continue
        told = compare_repeats(
            [x for x, _ in values], [y for _, y in values],
            test_to_train=max(ratio(first, "fold"), ratio(second, "fold")),
        )  # fmt: skip
        if told.low is None:
            continue  # equal differences have no spread to judge by
        found[metric] = {"value": told.mean, "low": told.low, "high": told.high,
                         "p_value": told.p_value, "n": told.n, "method": told.method}  # fmt: skip
    return found


def table_csv(results: Results, leaky: bool = False) -> str:
    """Every run, part and metric on a line, and whether groups cross the folds."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("run", "fold", "seed", "part", "metric", "value", "low", "high", "n",
                     "leaky"))  # fmt: skip
    for r in results:
        for part, metrics in r["parts"].items():
            for name, m in metrics.items():
                cells = (m["value"], m["low"], m["high"], m["n"], str(leaky).lower())
                head = (r["name"], r["fold"], r["seed"], part, name)
                writer.writerow((*head, *("" if c is None else c for c in cells)))
    return buffer.getvalue()


def titled(name: str, leaky: bool) -> str:
    """A recipe's name as titles show it.

    >>> titled("tiny", False), titled("tiny", True)
    ('tiny', 'LEAKY: tiny')
    """
    return f"LEAKY: {name}" if leaky else name


def markdown(title: str, results: Results, found: Mapping[str, Any]) -> str:
    """The table for people: every run on its fold, then mean (SD) on each part; below it the
    runs that were begun more than once, and why."""
    names = [n for n in SHOWN if n in found.get("fold", {})]
    lines = [f"### {title}", "", "| run | " + " | ".join(names) + " | seconds |"]
    lines.append("|---|" + "---|" * (len(names) + 1))
    for r in results:
        cells = [f"{r['parts']['fold'][n]['value']:.3f}" for n in names]
        lines.append(f"| {r['name']} | " + " | ".join(cells) + f" | {r['seconds']:.0f} |")
    for part, metrics in found.items():
        cells = [mean_sd(metrics[n]) if n in metrics else "" for n in names]
        lines.append(f"| **{part}: mean (SD)** | " + " | ".join(cells) + " | |")
    again = [f"{r['name']} ({r['begun_again']})" for r in results if "begun_again" in r]
    if again:
        lines += [
            "",
            f"Restarted: {', '.join(again)}. Their seconds are those of the last attempt.",
        ]
    return "\n".join(lines) + "\n"


def mean_sd(m: Mapping[str, Any]) -> str:
    """`0.812 (0.010)`; without an SD of a single run.

    >>> mean_sd({"mean": 0.8123, "sd": None}), mean_sd({"mean": 0.8123, "sd": 0.01})
    ('0.812', '0.812 (0.010)')
    """
    return f"{m['mean']:.3f}" + ("" if m["sd"] is None else f" ({m['sd']:.3f})")
