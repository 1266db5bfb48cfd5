"""Both arms of the leakage experiment, trained and compared seed by seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files
from lesionlab.array_types import Labels
from lesionlab.data.leakage_experiment import arms
from lesionlab.data.linked_dataset import write_linked_dataset
from lesionlab.data.manifest import Dataset
from lesionlab.data.split import Parts
from lesionlab.evaluation.repeats import compare_repeats
from lesionlab.run_folder import CONFIG

NAMES = ("balanced_accuracy", "balanced_accuracy_prior_corrected", "roc_auc", "accuracy")
METHOD = "corrected resampled t-test over seeds, each with its own split"
Fit = Callable[[Path, Path, int], Mapping[str, float]]  # data set, run, seed -> metrics on test


def trained_arms(
    dataset: Dataset,
    groups: Labels,
    seed: int,
    sizes: tuple[float, float],
    out: Path,
    fit: Fit,
) -> dict[str, Any]:
    """One seed: `{seed, tested, with_siblings, training_images, leaky, clean}`.

    `groups` (N,) are those of the rows that are not sealed; `sizes` the proportions of test and
    validation. The arms are trained by `fit`, or read from `out`.
    """
    free = (dataset.table["split"] != "test").to_numpy()  # what is sealed stays so
    both = arms(dataset.table[free].reset_index(drop=True), groups, seed, *sizes)
    told = {
        name: _arm(dataset, _whole(parts, free), name, out, seed, fit)
        for name, parts in (("leaky", both.leaky), ("clean", both.clean))
    }
    return {
        "seed": seed,
        "tested": both.tested,
        "with_siblings": both.with_siblings,
        "training_images": int((both.clean == "train").sum()),
        **told,
    }


def compared_arms(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each metric of both arms, and the difference with its interval over the seeds."""
    pairs = [(row["leaky"], row["clean"]) for row in rows]
    ratio = rows[0]["tested"] / rows[0]["training_images"]
    return {name: _difference(name, pairs, ratio) for name in pairs[0][0]}


def metrics_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are compared, with the sensitivity for each malignant class."""
    found = {n: evaluation["metrics"][n]["value"] for n in NAMES if n in evaluation["metrics"]}
    for name in evaluation.get("malignant", ()):
        measure = evaluation["per_class"].get(name, {}).get("sensitivity")
        if measure and measure["value"] is not None:
            found[f"sensitivity_{name}"] = measure["value"]
    return {name: float(value) for name, value in found.items() if value is not None}


def _difference(
    name: str, pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], ratio: float
) -> dict[str, Any]:
    leaky = [a[name] for a, _ in pairs]
    clean = [b[name] for _, b in pairs]
    found = compare_repeats(leaky, clean, test_to_train=ratio)
    return {
        "leaky": float(np.mean(leaky)),
        "clean": float(np.mean(clean)),
        "difference": {
            "value": found.mean,
            "low": found.low,
            "high": found.high,
            "n": len(pairs),
            "method": METHOD if found.low is not None else found.method,
        },
    }


def sentence(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> str:
    """What was found, in a sentence for the person who reads the result."""
    name = next(n for n in (NAMES[1], NAMES[0], *metrics) if n in metrics)
    told = metrics[name]["difference"]
    share = sum(r["with_siblings"] for r in rows) / sum(r["tested"] for r in rows)
    with_them = f"With images of the groups of {share:.0%} of the test images in training"
    without = "than on the same test images without them"
    low, high = told["low"], told["high"]
    if low is None:
        return f"{with_them}, {name} is {told['value']:+.3f} {without}: {told['method']}."
    numbers = f"{told['value']:+.3f} ({low:+.3f} to {high:+.3f}, {told['n']} seeds)"
    if low > 0 or high < 0:
        return (
            f"{with_them}, {name} appears {numbers} {'higher' if low > 0 else 'lower'} {without}."
        )
    return f"{with_them}, {name} differs by {numbers} from that without them: not distinguishable."


def _whole(parts: Parts, free: npt.NDArray[np.bool_]) -> Parts:
    """Parts of all rows: the others have none. No row leaves the table, so its caches hold."""
    result = np.full(len(free), "", object)
    result[free] = parts
    return result


def _arm(
    dataset: Dataset, parts: Parts, name: str, out: Path, seed: int, fit: Fit
) -> dict[str, float]:
    """One training and its metrics on test; read from `out` where it was done before."""
    kept = out / f"seed{seed}-{name}.json"
    if kept.exists():
        stored: dict[str, float] = files.read_json(kept)
        return stored
    data, run = out / f"seed{seed}-{name}-data", out / f"seed{seed}-{name}-run"
    if not (run / CONFIG).is_file():  # else the training was interrupted, and goes on
        _linked(dataset, parts, name, data, run)
    metrics = {k: float(v) for k, v in fit(data, run, seed).items()}
    files.write_json(kept, metrics)
    return metrics


def _linked(dataset: Dataset, parts: Parts, name: str, data: Path, run: Path) -> None:
    """The data set of one arm, in the place of what an interruption left."""
    for leftover in (data, run):
        shutil.rmtree(leftover, ignore_errors=True)
    write_linked_dataset(
        dataset,
        parts,
        data,
        split_policy={"policy": f"inflation, {name} arm"},
        leaky=name == "leaky",
        leak_reason="images of test groups are in training, on purpose" * (name == "leaky"),
    )
