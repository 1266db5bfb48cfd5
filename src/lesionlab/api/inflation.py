"""`lesionlab.inflation`: what a random split by image would have claimed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.api.split import known_pairs
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.experiments.inflation import (
    Fit,
    compared_arms,
    metrics_of,
    sentence,
    trained_arms,
)
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import CONFIG


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
    """Measure how much metrics rise when images of test groups leak into training.

    Two models are trained for each seed, the leaky and the clean arm, on the same number of
    images, and tested on the same images. The training set of the leaky arm contains images of
    the groups of the test images; that of the clean arm contains other images of the same class
    instead. A group holds the images of one patient or lesion, and near-duplicates if `audit` has
    stored them in the data set. `test` and `valid` are proportions. `fit` replaces the default
    function, which trains a model and returns its metrics on test.

    Arms that are finished in `out` are not trained again, and interrupted ones are resumed. Each
    seed has its own split; the interval of the mean difference is that of the corrected resampled
    t-test over the seeds. If the data set has a test split, that split is not used.

    Returns `{seeds, arms: [...], metrics: {name: {leaky, clean, difference: {value, low, high, n,
    method}}}, near_duplicates: {from, pairs}, sentence}`, also written to `out/inflation.json`.
    """
    if seeds < 2:
        raise BadInput(f"{seeds} seeds are too few for an interval", remedy="use at least 3")
    dataset, out = read_dataset(Path(folder)), Path(out)
    pairs_from, duplicates = known_pairs(dataset, None, False, progress)
    not_sealed = (dataset.table["split"] != "test").to_numpy()
    groups = united_groups(dataset.table, duplicates)[not_sealed]
    out.mkdir(parents=True, exist_ok=True)
    fit = fit or _trainer(preset, weights, overrides, progress)
    rows = [trained_arms(dataset, groups, seed, (test, valid), out, fit) for seed in range(seeds)]
    metrics = compared_arms(rows)
    result = {
        "schema_version": 1,
        "dataset": str(folder),
        "preset": preset,
        "seeds": seeds,
        "near_duplicates": {"from": pairs_from, "pairs": len(duplicates)},
        "arms": rows,
        "metrics": metrics,
        "sentence": sentence(rows, metrics),
    }
    files.write_json(out / "inflation.json", result)
    return result


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
        return metrics_of(files.read_json(run / "metrics-test.json"))

    return fit
