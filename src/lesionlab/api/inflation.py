"""`lesionlab.inflation`: what a random split by image would have claimed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab import files
from lesionlab.api.split import known_pairs
from lesionlab.data.groups import united_groups
from lesionlab.data.inflation import arms
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.split import Parts
from lesionlab.data.twin import write_twin
from lesionlab.errors import BadInput
from lesionlab.evaluation.repeats import compare_repeats
from lesionlab.progress import SILENT, Progress
from lesionlab.run import CONFIG

NAMES = ("balanced_accuracy", "balanced_accuracy_prior_corrected", "roc_auc", "accuracy")
Fit = Callable[[Path, Path, int], Mapping[str, float]]  # data set, run, seed -> metrics on test


def inflation(
    folder: Path | str,
    preset: str,
    out: Path | str,
    *,
    seeds: int = 3,
    test: float = 0.2,
    valid: float = 0.15,
    weights: Path | str | None = None,
    overrides: Sequence[str] = (),
    progress: Progress = SILENT,
    fit: Fit | None = None,
) -> dict[str, Any]:
    """Train twice a seed, on the same number of images and tested on the same ones.

    The leaky arm has the test images' siblings in training, the clean arm other images of the
    same class. Siblings are images of one patient, lesion or picture (near-duplicates where `audit`
    has left them in the data set). Arms that are finished in `out` are not repeated; one that was
    interrupted goes on exactly where it stopped. The interval
    of the mean difference is that of the corrected resampled t-test over the seeds (each with a
    split of its own). A test part that the data set has stays sealed: its rows are not used.

    Returns `{seeds, arms: [...], metrics: {name: {leaky, clean, difference: {value, low, high, n,
    method}}}, near_duplicates: {from, pairs}, sentence}`, also written to `out/inflation.json`.
    """
    if seeds < 2:
        raise BadInput(f"{seeds} seeds are too few for an interval", remedy="use at least 3")
    dataset, out = read_dataset(Path(folder)), Path(out)
    origin, twins = known_pairs(dataset, None, False, progress)
    free = (dataset.table["split"] != "test").to_numpy()  # what is sealed stays so
    groups = united_groups(dataset.table, twins)[free]
    out.mkdir(parents=True, exist_ok=True)
    fit = fit or _trainer(preset, weights, overrides, progress)
    rows: list[dict[str, Any]] = []
    pairs = []
    for seed in range(seeds):
        both = arms(dataset.table[free].reset_index(drop=True), groups, seed, test, valid)
        told = {
            name: _arm(dataset, _whole(parts, free), name, out, seed, fit)
            for name, parts in (("leaky", both.leaky), ("clean", both.clean))
        }
        rows.append({"seed": seed, "tested": both.tested, "with_siblings": both.with_siblings,
                     "training_images": int((both.clean == "train").sum()), **told})  # fmt: skip
        pairs.append((told["leaky"], told["clean"]))
    ratio = rows[0]["tested"] / rows[0]["training_images"]
    metrics = {name: _difference(name, pairs, ratio) for name in pairs[0][0]}
    result = {
        "schema_version": 1,
        "dataset": str(folder),
        "preset": preset,
        "seeds": seeds,
        "near_duplicates": {"from": origin, "pairs": len(twins)},
        "arms": rows,
        "metrics": metrics,
        "sentence": _sentence(rows, metrics),
    }
    files.write_json(out / "inflation.json", result)
    return result


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
    write_twin(
        dataset,
        parts,
        data,
        split_policy={"policy": f"inflation, {name} arm"},
        leaky=name == "leaky",
        leak_reason="images of test groups are in training, on purpose" * (name == "leaky"),
    )


def _trainer(
    preset: str, weights: Path | str | None, overrides: Sequence[str], progress: Progress
) -> Fit:
    def fit(data: Path, run: Path, seed: int) -> dict[str, float]:
        from lesionlab.api.evaluate import evaluate
        from lesionlab.api.train import resume, train

        if (run / CONFIG).is_file():
            resume(run, data=data, progress=progress)
        else:
            train(data, preset, run, weights=weights, overrides=overrides, seed=seed,
                  progress=progress)  # fmt: skip
        evaluate(run, split="test", images=False, progress=progress)
        return chosen(files.read_json(run / "metrics-test.json"))

    return fit


def chosen(evaluation: Mapping[str, Any]) -> dict[str, float]:
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
            "method": "corrected resampled t-test over seeds, each with its own split",
        },
    }


def _sentence(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> str:
    name = next(n for n in (NAMES[1], NAMES[0], *metrics) if n in metrics)
    told = metrics[name]["difference"]
    share = sum(r["with_siblings"] for r in rows) / sum(r["tested"] for r in rows)
    return (
        f"With images of the groups of {share:.0%} of the test images in training, {name} appears "
        f"{told['value']:+.3f} ({told['low']:+.3f} to {told['high']:+.3f}, {told['n']} seeds) "
        "higher than on the same test images without them."
    )
