"""What was claimed, what we get their way, and what is true: a table from result files only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.array_types import Floats, Ints
from lesionlab.errors import BadInput
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.metrics import roc_auc
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.evaluation.repeats import compare_repeats, compare_spreads, compare_unpaired
from lesionlab.experiments.repeat import folds_sha256
from lesionlab.experiments.run_summary import ends, ratio
from lesionlab.platforms import safe_name
from lesionlab.run_folder import SUMMARY

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
SEALED = ("test", "test_of_the_mean")
RESULT = "repeat.json"
NOT_MEASURED = "not measured yet"
UNKNOWN = "not distinguishable"
Record = Mapping[str, Any]
Rows = Mapping[str, Any]


def read_rows(path: Path = ROWS) -> dict[str, Any]:
    """`{"data": [...], "rows": [...], "questions": [...]}` of the table's file."""
    found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return found


def collect(runs: Path, rows: Rows) -> dict[str, Any]:
    """A small record, without any path, of each folder below `runs` that holds results."""
    thresholds = {r["false_auc"]["run"]: r["false_auc"]["threshold"]
                  for r in rows["rows"] if "false_auc" in r}  # fmt: skip
    found: dict[str, Any] = {}
    for folder in sorted(p for p in runs.iterdir() if p.is_dir()):
        if (folder / RESULT).is_file():
            told = files.read_json(folder / RESULT)
            for one in told.get("presets", []):
                found[f"{folder.name}/{one['name']}"] = _repeat(
                    folder / safe_name(one["name"]), one
                )
            if "presets" not in told:
                found[folder.name] = _repeat(folder, told)
        elif list(folder.glob("metrics-*.json")):
            found[folder.name] = _run(folder, thresholds.get(folder.name))
    return found


def _repeat(folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    parts = {**told["parts"], **{p: told[p] for p in SEALED if p in told}}
    kept = {p: {m: _honest(m, p, v[m]) for m in KEPT if m in v} for p, v in parts.items()}
    keys = ("name", "dataset", "leaky", "folds", "seeds", "runs", "failed", "seconds")
    return {"kind": "repeat", **{k: told[k] for k in keys}, "parts": kept,
            "folds_sha256": told.get("folds_sha256") or folds_sha256(folder, told["seeds"]),
            "test_to_train": told.get("test_to_train") or _ratio(folder, told)}  # fmt: skip


def _honest(metric: str, part: str, m: Mapping[str, Any]) -> dict[str, Any]:
    """A measure whose interval may be shown: older results have some that may not."""
    if "mean" not in m:
        return dict(m)
    low, high = ends(metric, part, m["sd"], (m["low"], m["high"]))
    return {**m, "low": low, "high": high}


def _ratio(folder: Path, told: Mapping[str, Any]) -> float:
    """Size of a fold over that of training, of the runs that an older result is made of."""
    names = next(iter(told["parts"]["fold"].values()))["runs"]
    return ratio([files.read_json(folder / "results" / f"{n}.json") for n in names], "fold")


def _run(folder: Path, threshold: float | None) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for path in sorted(folder.glob("metrics-*.json")):
        raw = files.read_json(path)
        against = {f"malignant_{k}": v for k, v in (raw["malignant_v_benign"] or {}).items()}
        measures = {**raw["metrics"], **against}
        part = path.stem.removeprefix("metrics-")
        parts[part] = {m: measures[m] for m in KEPT if m in measures}
    config = files.read_json(folder / "config.json")
    summary = folder / SUMMARY  # an ensemble has none
    seconds = files.read_json(summary)["seconds"] if summary.is_file() else None
    record = {"kind": "run", "name": config["settings"]["name"],
              "dataset": config["dataset"]["name"], "leaky": config["dataset"]["leaky"],
              "seconds": seconds, "parts": parts}  # fmt: skip
    if threshold is not None and (folder / "predictions-test.csv").is_file():
        record["thresholded"] = _thresholded(folder, config, threshold)
    return record


def _thresholded(folder: Path, config: Mapping[str, Any], threshold: float) -> dict[str, float]:
    p = read_predictions(folder / "predictions-test.csv")
    names = config["dataset"]["malignant"]
    score = score_of(p.y_prob, p.classes, names)
    positive = np.isin(np.array(p.classes, object), names)[p.y_true]
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
    """`NAME:PART.METRIC` as text with its spread or interval, marked where the record is leaky.

    Raises `BadInput` for a reference that is none.
    """
    name, sign, rest = reference.partition(":")
    part, dot, metric = rest.partition(".")
    if not sign or not dot:
        raise BadInput(f"'{reference}' is not NAME:PART.METRIC", where=ROWS.name)
    record = records.get(name, {})
    m = record.get("parts", {}).get(part, {}).get(metric)
    leaky = "LEAKY " if record.get("leaky") else ""
    return "" if m is None else f"{leaky}{name}, {part}: {metric} {cell(m)}"


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
    """Yes, no or not distinguishable, with the interval of first against second.

    Runs are paired where both repeats held out the same folds, which their fold files say.
    `about = "sd"` asks whether the first's standard deviation is the smaller one.
    """
    both = [records.get(claim[key], {}) for key in ("first", "second")]
    part = claim.get("part", "fold")
    runs = [r.get("parts", {}).get(part, {}).get(claim["metric"], {}).get("runs") for r in both]
    if not all(runs):
        return f"cannot be measured here: {claim['cannot']}" if "cannot" in claim else NOT_MEASURED
    paired = both[0].get("folds_sha256", "") == both[1].get("folds_sha256", None)
    if paired and set(runs[0]) != set(runs[1]):
        return NOT_MEASURED  # some runs of one are not finished
    values = [[r[name] for name in sorted(r)] for r in runs]
    if claim.get("about") == "sd":
        return _lower_spread(values[0], values[1], paired)
    return _higher(values[0], values[1], paired, [_overlap(r) for r in both])


def _overlap(record: Record) -> float:
    return float(record.get("test_to_train") or 1 / (int(record["folds"]) - 1))


def _higher(
    first: Sequence[float], second: Sequence[float], paired: bool, ratios: Sequence[float]
) -> str:
    if min(len(first), len(second)) < 2:
        return NOT_MEASURED
    if paired:
        told = compare_repeats(first, second, test_to_train=max(ratios))
        counted = f"{told.n} paired runs"
    else:
        told = compare_unpaired(first, second, test_to_train=(ratios[0], ratios[1]))
        counted = f"unpaired, {len(first)} and {len(second)} runs"
    if told.low is None or told.high is None:
        return f"{UNKNOWN}: {told.mean:+.3f} without any variation ({counted})"
    word = "yes" if told.low > 0 else "no: the reverse" if told.high < 0 else UNKNOWN
    return f"{word}: {told.mean:+.3f} ({told.low:+.3f} to {told.high:+.3f}; {counted})"


def _lower_spread(first: Sequence[float], second: Sequence[float], paired: bool) -> str:
    told = compare_spreads(first, second, paired=paired)
    if told is None:
        return f"{UNKNOWN}: {len(first)} and {len(second)} runs are too few"
    word = "yes" if told.high < 1 else "no: the reverse" if told.low > 1 else UNKNOWN
    counted = f"{len(first)} and {len(second)} runs"
    return (
        f"{word}: ratio of SDs {told.value:.2f} ({told.low:.2f} to {told.high:.2f}; {told.method}, "
        f"{counted})"
    )


def page(rows: Rows, records: Mapping[str, Record], machine: str) -> str:
    """The page in Markdown."""
    lines = [
        "# Reproductions",
        "",
        "Made by `lesionlab reproductions RUNS --to docs/reproductions.md` from result files; the",
        "numbers are in `reproductions.json` beside it. Of repeats: mean and SD over runs; on the",
        "folds, which hold out whole patients or lesions, also the 95 % interval of the mean",
        "(corrected resampled t). `test_of_the_mean` is the mean of all runs' probabilities on the",
        "sealed test set, and like a single run has a 95 % interval by resampling patients,",
        "lesions or images. Research use only.",
        "",
        "What each split chose: `valid` chose the epoch and fitted the temperature, so its",
        "figures are optimistic. `fold` is the held-out fold: it chose nothing in its run, for",
        "which a proportion of the other folds served as validation. `test` and `test_of_the_mean`",
        "chose nothing.",
        "",
        "HAM10000 (S4) stands for 256 px copies of the centre 450 x 450 of the 600 x 450",
        "originals. The claims are of the originals, so ours are not comparable with them one",
        "to one.",
        "",
        f"Machine: {machine}.",
        "",
        "| seed | claimed | ours, their protocol | ours, honest | what explains it | time, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(row, records) for row in rows["rows"]]
    lines += ["", "## Commands", "", *_shell(rows["data"])]
    for row in rows["rows"]:
        lines += _commands(row)
    for row in rows["rows"]:
        if "false_auc" in row:
            title = '## An "AUC" that is not an AUC'
            lines += ["", title, "", *_false_auc(row["false_auc"], records)]
    lines += [
        "",
        "## Claims of the sources, by their intervals",
        "",
        "First minus second. Paired where both held out the same folds (corrected resampled t);",
        "unpaired where data or folds differ (each mean's variance added, Welch's degrees of",
        "freedom). A ratio of SDs: the interval of Pitman and Morgan for paired runs, else of F.",
        "",
        "| claim | answer |",
        "|---|---|",
    ]
    lines += [f"| {q['claim']} | {verdict(q, records)} |" for q in rows["questions"]]
    return "\n".join(lines) + "\n"


def _shell(commands: Sequence[str]) -> list[str]:
    return ["```sh", *commands, "```"] if commands else []


def _commands(row: Mapping[str, Any]) -> list[str]:
    lines = ["", f"{row['id']}:", "", *_shell(row["command"])]
    if row.get("gpu"):
        lines += ["", "With a GPU and the full data or weights:", "", *_shell(row["gpu"])]
    return lines


def _row(row: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    noted: set[str] = set()
    theirs = _cells(row, "theirs", records, noted)
    honest = _cells(row, "honest", records, noted)
    names = dict.fromkeys(r.partition(":")[0] for r in (*row["theirs"], *row["honest"]))
    known = {n: records[n]["seconds"] for n in names if n in records}
    times = [f"{n} {seconds:.0f}" for n, seconds in known.items() if seconds is not None]
    absent = f"cannot be measured here: {row['cannot']}" if "cannot" in row else NOT_MEASURED
    cells = (f"**{row['id']}**: {row['system']}", row["claimed"],
             theirs or (absent if row["theirs"] else ""), honest or absent,
             row["why"] if theirs or honest else "", "<br>".join(times))  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _cells(
    row: Mapping[str, Any], column: str, records: Mapping[str, Record], noted: set[str]
) -> str:
    """The column's numbers that there are, and once a row the note on each record of them."""
    found = {r: looked_up(r, records) for r in row[column]}
    shown = dict.fromkeys(r.partition(":")[0] for r, text in found.items() if text)
    names = [n for n in shown if n in row.get("notes", {}) and n not in noted]
    notes = [f"({row['notes'][n]})" for n in names]
    noted.update(names)
    return "<br>".join([text for text in found.values() if text] + notes)


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
        f"Ours on the same test split, cut at {ours['threshold']}: sensitivity "
        f'{ours["sensitivity"]:.3f}, specificity {ours["specificity"]:.3f}, "AUC" of the labels '
        f"{ours['false_auc']:.3f}; the AUC of the same network's scores is {ours['roc_auc']:.3f}.",
    ]
