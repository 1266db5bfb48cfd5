"""The sealed test part, seen by the runs of a repeat: only where that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesionlab import files
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.experiments.heldout import in_order, part_rows, run_predictions
from lesionlab.progress import Progress
from lesionlab.run import BEST, read_run
from lesionlab.training.machine import choose_machine


def sealed_predictions(
    dataset: Dataset, out: Path, device: str, threads: int, progress: Progress
) -> tuple[dict[str, Predictions], list[str]]:
    """Predictions of each finished run and of their mean ("mean"), and the models' hashes."""
    dataset, machine = in_order(dataset), choose_machine(device, "float32", threads)
    rows = part_rows(dataset, "test")
    found: dict[str, Predictions] = {}
    models = []
    for path in sorted(out.glob("results/*.json")):
        run = read_run(out / "runs" / path.stem)
        found[path.stem] = run_predictions(run, dataset, rows, machine=machine, progress=progress)
        models.append(files.sha256_file(run.folder / BEST))
    first = next(iter(found.values()))
    y_prob = np.mean([p.y_prob for p in found.values()], axis=0)
    y_prob = y_prob / y_prob.sum(1, keepdims=True)
    found["mean"] = Predictions(
        first.image_id, first.patient_id, first.lesion_id, first.classes, first.y_true, y_prob
    )
    write_predictions(out / "predictions-test.csv", found["mean"])
    return found, models
