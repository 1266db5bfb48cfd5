"""What was claimed, what we get their way, and what is true: a table from result files only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.metrics import roc_auc
from lesionlab.evaluation.predictions import Floats, Ints, read_predictions
from lesionlab.evaluation.repeats import compare_repeats

ROWS = Path(__file__).with_suffix(".toml")
KEPT = (
    "roc_auc",
    "accuracy",
    "majority_accuracy",
    "balanced_accuracy",
    "balanced_accuracy_prior_corrected",
    "malignant_sensitivity",
    "malignant_ppv",
    "malignant_roc_auc",
)
NOT_MEASURED = "not measured yet"
Record = Mapping[str, Any]


def read_rows(path: Path = ROWS) -> dict[str, list[dict[str, Any]]]:
    """`{"rows": [...], "questions": [...]}` of the table's file."""
    found: dict[str, list[dict[str, Any]]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return found


def collect(runs: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """A small record, without any path, of each folder below `runs` that holds results."""
    thresholds = {r["false_auc"]["run"]: r["false_auc"]["threshold"]
                  for r in rows["rows"] if "false_auc" in r}  # fmt: skip
    found: dict[str, Any] = {}
    for folder in sorted(p for p in runs.iterdir() if p.is_dir()):
        if (folder / "repeat.json").is_file():
            told = files.read_json(folder / "repeat.json")
            several = told.get("presets")
            for one in several or [told]:
                found[f"{folder.name}/{one['name']}" if several else folder.name] = _repeat(one)
        elif list(folder.glob("metrics-*.json")):
            found[folder.name] = _run(folder, thresholds.get(folder.name))
    return found


def _repeat(told: Mapping[str, Any]) -> dict[str, Any]:
    parts = {**told["parts"], **({"test": told["test"]} if "test" in told else {})}
    kept = {p: {m: v[m] for m in KEPT if m in v} for p, v in parts.items()}
    keys = ("name", "dataset", "leaky", "folds", "seeds", "runs", "failed", "seconds")
    return {"kind": "repeat", **{k: told[k] for k in keys}, "parts": kept}


def _run(folder: Path, threshold: float | None) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for path in sorted(folder.glob("metrics-*.json")):
        raw = files.read_json(path)
        against = {f"malignant_{k}": v for k, v in (raw["malignant_v_benign"] or {}).items()}
        measures = {**raw["metrics"], **against}
        part = path.stem.removeprefix("metrics-")
        parts[part] = {m: measures[m] for m in KEPT if m in measures}
    config = files.read_json(folder / "config.json")
    summary = files.read_json(folder / "summary.json")
    record = {"kind": "run", "name": config["settings"]["name"],
              "dataset": config["dataset"]["name"], "leaky": config["dataset"]["leaky"],
              "seconds": summary["seconds"], "parts": parts}  # fmt: skip
    if threshold is not None and (folder / "predictions-test.csv").is_file():
        record["thresholded"] = _thresholded(folder, config, threshold)
    return record


def _thresholded(folder: Path, config: Mapping[str, Any], threshold: float) -> dict[str, float]:
    p = read_predictions(folder / "predictions-test.csv")
    malignant = np.isin(np.array(p.classes, object), config["dataset"]["malignant"])
    score, positive = p.y_prob[:, malignant].sum(1), malignant[p.y_true]
    told = thresholded_auc(positive.astype(np.int64), score, threshold)
    return {
        "sensitivity": told.sensitivity,
        "specificity": told.specificity,
        "false_auc": told.auc_of_labels,
        "roc_auc": told.auc,
        "threshold": threshold,
    }


@dataclass(frozen=True)
class Thresholded:
    """What an AUC of labels is, beside the one of scores."""

    sensitivity: float
    specificity: float
    auc_of_labels: float
    auc: float


def thresholded_auc(positive: Ints, score: Floats, threshold: float) -> Thresholded:
    """The AUC of `score >= threshold` is (sensitivity + specificity) / 2; `auc` is the true one.

    >>> found = thresholded_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.2, 0.9]), 0.25)
    >>> found.auc_of_labels, found.auc
    (0.5, 0.75)
    """
    called = (score >= threshold).astype(np.float64)
    sensitivity = float(called[positive == 1].mean())
    specificity = float(1 - called[positive == 0].mean())
    return Thresholded(
        sensitivity, specificity, float(roc_auc(positive, called)), float(roc_auc(positive, score))
    )


def looked_up(reference: str, records: Mapping[str, Record]) -> str:
    """`NAME:PART.METRIC` as text with its spread or interval.

    Raises `BadInput` for a reference that is none.
    """
    name, sign, rest = reference.partition(":")
    part, dot, metric = rest.partition(".")
    if not sign or not dot:
        raise BadInput(f"'{reference}' is not NAME:PART.METRIC", where=ROWS.name)
    m = records.get(name, {}).get("parts", {}).get(part, {}).get(metric)
    return "" if m is None else f"{name}, {part}: {metric} {cell(m)}"


def cell(m: Mapping[str, Any]) -> str:
    """`0.91 (SD 0.01; 0.90 to 0.92; 15 runs)` or `0.91 (0.90 to 0.92; n = 600)`."""
    value = m.get("mean", m.get("value"))
    if value is None:
        return "too little to say"
    ends = "" if m["low"] is None else f"{m['low']:.3f} to {m['high']:.3f}; "
    if "mean" in m:
        sd = "" if m["sd"] is None else f"SD {m['sd']:.3f}; "
        return f"{value:.3f} ({sd}{ends}{m['n']} runs)"
    return f"{value:.3f} ({ends}n = {m['n']})"


def verdict(claim: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """yes, no or not distinguishable, with the interval of first minus second over paired runs."""
    runs = []
    for key in ("first", "second"):
        part = records.get(claim[key], {}).get("parts", {}).get("fold", {})
        runs.append(part.get(claim["metric"], {}).get("runs", {}))
    if not runs[0] or set(runs[0]) != set(runs[1]) or len(runs[0]) < 2:
        return NOT_MEASURED
    names = sorted(runs[0])
    folds = int(records[claim["first"]]["folds"])
    told = compare_repeats(
        [runs[0][n] for n in names], [runs[1][n] for n in names], test_to_train=1 / (folds - 1)
    )
    word = "yes" if told.low > 0 else "no: the reverse" if told.high < 0 else "not distinguishable"
    return f"{word}: {told.mean:+.3f} ({told.low:+.3f} to {told.high:+.3f}; {told.n} paired runs)"


def page(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], records: Mapping[str, Record], machine: str
) -> str:
    """The page in Markdown."""
    lines = [
        "# Reproductions",
        "",
        "Made by `lesionlab reproductions RUNS --to docs/reproductions.md` from result files; the",
        "numbers are in `reproductions.json` beside it. Of repeats: mean, SD and 95 % interval of",
        "the mean (corrected resampled t) over runs that hold out whole patients or lesions; of a",
        "single run: 95 % interval by resampling patients, lesions or images. Research use only.",
        "",
        f"Machine: {machine}.",
        "",
        "| seed | claimed | ours, their protocol | ours, honest | what explains it | time, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(row, records) for row in rows["rows"]]
    lines += ["", "## Commands", ""]
    for row in rows["rows"]:
        lines += [f"- {row['id']}: `{row['command']}`"]
        if row.get("gpu"):
            lines.append(f"  With a GPU and the full data or weights: {_code(row['gpu'])}")
    for row in rows["rows"]:
        if "false_auc" in row:
            lines += ["", "## The AUC that was none", "", *_false_auc(row["false_auc"], records)]
    lines += [
        "",
        "## Claims of the seeds, by their intervals",
        "",
        "| claim | answer |",
        "|---|---|",
    ]
    lines += [f"| {q['claim']} | {verdict(q, records)} |" for q in rows["questions"]]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text.startswith("lesionlab") else text


def _row(row: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    theirs = _cells(row["theirs"], records)
    if row["theirs"] and theirs != NOT_MEASURED and row.get("theirs_note"):
        theirs += f"<br>({row['theirs_note']})"
    names = dict.fromkeys(r.partition(":")[0] for r in (*row["theirs"], *row["honest"]))
    times = [f"{n} {records[n]['seconds']:.0f}" for n in names if n in records]
    honest = _cells(row["honest"], records)
    if honest != NOT_MEASURED and row.get("honest_note"):
        honest += f"<br>({row['honest_note']})"
    measured = {theirs, honest} != {NOT_MEASURED}
    why = row["why"] if measured else ""
    cells = (f"**{row['id']}**: {row['system']}", row["claimed"], theirs if row["theirs"] else "",
             honest, why, "<br>".join(times))  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _cells(references: Sequence[str], records: Mapping[str, Record]) -> str:
    found = [text for text in (looked_up(r, records) for r in references) if text]
    return "<br>".join(found) if found else NOT_MEASURED


def _false_auc(told: Mapping[str, Any], records: Mapping[str, Record]) -> list[str]:
    """The source's own sensitivity and specificity give its "AUC"; ours beside the true one."""
    positives, negatives = told["positives"], told["negatives"]
    hits = round(told["sensitivity"] * positives)
    passed = round(told["specificity"] * negatives)
    exact = (hits / positives + passed / negatives) / 2
    lines = [
        f"The source's sensitivity {told['sensitivity']} and specificity {told['specificity']} on "
        f"{positives} + {negatives} images are {hits} and {passed} images; their mean is "
        f'{exact:.6f}. Its "ROC AUC {told["printed"]}" is this number cut after three digits '
        f"(rounded it is {exact:.3f}): the area under a curve with one corner, of labels that "
        "were cut at a threshold."
    ]
    ours = records.get(told["run"], {}).get("thresholded")
    if ours is None:
        return [*lines, "", f"Beside a true one: {NOT_MEASURED}."]
    return [
        *lines,
        "",
        f"Ours on the same test part, cut at {ours['threshold']}: sensitivity "
        f'{ours["sensitivity"]:.3f}, specificity {ours["specificity"]:.3f}, "AUC" of the labels '
        f"{ours['false_auc']:.3f}; the AUC of the same network's scores is {ours['roc_auc']:.3f}.",
    ]
