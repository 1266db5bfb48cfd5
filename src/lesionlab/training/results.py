"""What a finished run leaves: calibration, validation predictions, history, summary."""

from __future__ import annotations

import numpy as np

from lesionlab import files
from lesionlab.array_types import Float32
from lesionlab.data.manifest import group_ids
from lesionlab.evaluation.predictions import write_predictions
from lesionlab.run_folder import SUMMARY, Run, now, write_history
from lesionlab.training.checkpoint import State
from lesionlab.training.losses import implied_prior
from lesionlab.training.run_calibration import (
    fit_calibration,
    predictions_of,
    write_calibration,
)
from lesionlab.training.setup import Parts


def write_results(run: Run, state: State, parts: Parts, monitor: str, logits: Float32) -> None:
    """Write them from the best network's validation logits; `calibration.json` last."""
    settings, dataset, y = run.config.settings, parts.dataset, parts.y[parts.valid]
    prior = parts.counts / parts.counts.sum()
    train_prior = implied_prior(settings.loss, settings.sampling, parts.counts)
    groups = int(group_ids(dataset.table.iloc[parts.valid]).nunique())
    fitted = fit_calibration(logits, y, prior, train_prior, groups)
    predictions = predictions_of(dataset, parts.valid, logits, fitted)
    write_predictions(run.predictions_path("valid"), predictions)
    write_history(run.folder, state.history)
    summary = {
        "schema_version": 1,
        "best_epoch": state.best_epoch,
        "monitor": monitor,
        "best_value": state.best_value,
        "images_per_second": steady_speed(state, settings.stages[-1].name),
        "seconds": round(sum(float(row["seconds"]) for row in state.history), 2),
        "skipped_batches": state.skipped,
        "micro_batches": state.micro_batches,
        "found_rates": state.found_rates,
        "frozen_features": state.features,
        "notes": state.notes,
        "finished": now(),
    }
    files.write_json(run.folder / SUMMARY, summary)
    write_calibration(run.folder, dataset.info.classes, fitted)  # it says "finished"


def steady_speed(state: State, stage: str) -> float:
    """Images per second in a stage: the median over its epochs but the first."""
    speeds = [float(r["images_per_second"]) for r in state.history if r["stage"] == stage]
    return round(float(np.median(speeds[1:] or speeds)), 1)
