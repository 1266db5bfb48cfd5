"""The sealed test split, seen by the runs of a repeat: only where that was asked for.

`test.json` says which weights of which runs were seen; others are another opening.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.data import ledger
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.experiments.repeat import Plan, measures
from lesionlab.experiments.run_summary import spread
from lesionlab.progress import Progress
from lesionlab.run_folder import BEST, read_run
from lesionlab.training.device import choose_machine
from lesionlab.training.inference import load_run


def open_sealed(
    dataset: Dataset, plan: Plan, out: Path, names: Sequence[str], kept: Path, progress: Progress
) -> dict[str, Any]:
    """Each of the runs `names`, and their mean, on the sealed part: `{test, test_of_the_mean}`.

    What these very runs have seen already is read from `kept`. Else the opening is written to the
    ledger before any prediction or number of it is.
    """
    models = {n: files.sha256_file(out / "runs" / n / BEST) for n in names}
    stored = files.read_json(kept) if kept.is_file() else None
    if stored is not None and _is_of(stored, models):
        return _shown(stored)
    found = sealed_predictions(dataset, out, names, plan, progress)
    told = {"schema_version": 1, "models": models, **_measured(dataset, found)}
    ledger.record_test_access(
        dataset.folder,
        f"{plan.name()} repeated {len(names)} times",
        _shown(told),
        [out / "runs" / name for name in names],
        model=hashlib.sha256("".join(models.values()).encode()).hexdigest(),
    )
    write_predictions(out / "predictions-test.csv", found["mean"])
    files.write_json(kept, told)
    return _shown(told)


def _shown(told: Mapping[str, Any]) -> dict[str, Any]:
    return {k: told[k] for k in ("test", "test_of_the_mean")}


def _is_of(stored: Mapping[str, Any], models: Mapping[str, str]) -> bool:
    """Whether a stored opening is of these runs; an older one knows their names only."""
    if "models" in stored:
        return dict(stored["models"]) == dict(models)
    return all(set(m["runs"]) == set(models) for m in stored["test"].values())


def sealed_predictions(
    dataset: Dataset, out: Path, names: Sequence[str], plan: Plan, progress: Progress
) -> dict[str, Predictions]:
    """Predictions of each run, and of their mean ("mean")."""
    dataset, machine = dataset.in_order(), choose_machine(plan.device, "float32", plan.threads)
    rows = dataset.rows_of("test")
    found = {}
    for name in names:
        run = read_run(out / "runs" / name)
        loaded = load_run(run, dataset, machine=machine, progress=progress)
        found[name] = loaded.predictions(rows)
    first = next(iter(found.values()))
    y_prob = np.mean([p.y_prob for p in found.values()], axis=0)
    y_prob = y_prob / y_prob.sum(1, keepdims=True)
    found["mean"] = Predictions(
        first.image_id, first.patient_id, first.lesion_id, first.classes, first.y_true, y_prob
    )
    return found


def _measured(dataset: Dataset, found: Mapping[str, Predictions]) -> dict[str, Any]:
    train = dataset.table["label"][dataset.table["split"].isin(("train", "valid", "calib"))]
    prior = np.array([(train == c).mean() for c in dataset.info.classes])
    malignant = dataset.info.malignant
    each = [
        {"name": name, "n": {"test": len(p)}, "n_train": len(train),
         "parts": {"test": measures(p, malignant, prior, 500)}}
        for name, p in found.items() if name != "mean"
    ]  # fmt: skip
    return {
        "test": spread(each)["test"],
        "test_of_the_mean": measures(found["mean"], malignant, prior, 2000),
    }
