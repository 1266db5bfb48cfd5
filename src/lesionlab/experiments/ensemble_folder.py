"""An ensemble as a run folder: written from its members' held-out predictions, and predicting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.array_types import Floats, Rows
from lesionlab.data.clinical_metadata import refuse_forbidden
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, group_ids
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.experiments.ensemble import (
    STACK,
    Context,
    Held,
    ensemble_logits,
    mean_logits,
    rank_logits,
    settings_of,
    stack_features,
    stacked_held,
)
from lesionlab.experiments.repeat import measures
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import (
    ENSEMBLE,
    DatasetReference,
    Run,
    RunConfig,
    now,
    read_run,
    write_config,
)
from lesionlab.training.device import choose_machine
from lesionlab.training.inference import unchanged_data
from lesionlab.training.members import EnsembleRecord, member_runs, read_record
from lesionlab.training.run_calibration import (
    RunCalibration,
    fit_calibration,
    predictions_of,
    read_calibration,
    write_calibration,
)
from lesionlab.training.setup import reference, write_snapshot

COVARIATES = ("age", "sex", "site")


def write_ensemble(
    out: Path, record: EnsembleRecord, held: Held, fitting: Rows, first: Run, context: Context
) -> dict[str, Any]:
    """Combine, calibrate, measure; write the run folder `out`, `calibration.json` last.

    `fitting` are the rows that hand-made members were fitted on, `first` is a member run, whose
    recipe the ensemble shows. Returns what `api.ensemble` does.
    """
    logits = _combined(record, held, context).astype(np.float32)
    fitted = _calibrated(logits, record, held, fitting, context)
    predictions = predictions_of(context.dataset, held.rows, logits, fitted)
    config = _config(out, record, first, context.dataset)
    with files.stage_folder(out) as folder:
        write_config(folder, config)
        write_snapshot(folder, context.dataset, config.settings.model.metadata)
        files.write_json(folder / ENSEMBLE, record.model_dump(mode="json"))
        with (folder / STACK).open("wb") as stream:
            np.savez(stream, rows=held.rows, y_prob=held.y_prob, fitting=fitting)
        write_predictions(folder / "predictions-valid.csv", predictions)
        write_calibration(folder, context.dataset.info.classes, fitted)
    result = {
        "schema_version": 1,
        "ensemble": str(out),
        "method": record.method,
        "views": record.views,
        "facts": list(record.facts),
        "held_out": "folds" if record.out_of_fold else "validation",
        "n": len(predictions),
        "groups": len(set(united_groups(context.dataset.table.iloc[held.rows]))),
        **_measured(predictions, record, held, fitted.prior, context.dataset.info.malignant),
        "notes": list(fitted.notes),
    }
    files.write_json(out / "members.json", result)
    return result


def ensemble_predictions(
    run: Run, split: str, *, dataset_folder: Path | None = None, progress: Progress = SILENT
) -> Predictions:
    """Predictions of an ensemble for a split of its data set that its members have not seen.

    Raises `BadInput` for a split that a member was trained on.
    """
    record = read_record(run.folder)
    dataset = unchanged_data(run, dataset_folder)
    if split == "train" or (record.out_of_fold and split != "test"):
        raise BadInput(
            f"the members of this ensemble were trained on '{split}'",
            where=str(run.folder),
            remedy="use --split valid (held out), or --split test, which accesses the test set",
        )
    rows = dataset.rows_of(split)
    member_runs(record)  # refuses changed weights
    context = Context(dataset, choose_machine("auto", "float32"), progress)
    logits = ensemble_logits(run.folder, rows, context)
    return predictions_of(dataset, rows, logits.astype(np.float32), read_calibration(run))


def covariates(dataset: Dataset, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Which of age, sex and site a stack reads: those asked for, else those that are known.

    Raises `BadInput` for a column that is known only after the diagnosis.
    """
    if asked is not None:
        refuse_forbidden(asked, dataset.info.forbidden_inputs)
        return tuple(asked)
    known = {c: dataset.table[c].notna() & (dataset.table[c].astype(str) != "") for c in COVARIATES}
    allowed = [c for c in COVARIATES if c not in dataset.info.forbidden_inputs]
    return tuple(c for c in allowed if known[c].any())


def _calibrated(
    logits: np.ndarray[Any, np.dtype[np.float32]],
    record: EnsembleRecord,
    held: Held,
    fitting: Rows,
    context: Context,
) -> RunCalibration:
    """The temperature, at the prevalence of the fitted rows; ranks are uniform over the classes."""
    y = context.labels(held.rows)
    prior = np.bincount(context.labels(fitting), minlength=context.classes) / len(fitting)
    uniform = np.full(len(prior), 1 / len(prior))
    train_prior = uniform if record.method == "rank" else prior
    groups = int(group_ids(context.dataset.table.iloc[held.rows]).nunique())
    return fit_calibration(logits, y, prior, train_prior, groups)


def _config(out: Path, record: EnsembleRecord, first: Run, dataset: Dataset) -> RunConfig:
    """The first member's configuration with the ensemble's recipe and data."""
    settings = settings_of(out, record.method, [m.name for m in record.members], first)
    config = first.config.model_copy(
        update={
            "settings": settings,
            "dataset": _marked(reference(dataset, settings.model.metadata), record),
            "created": now(),
        }
    )
    return RunConfig.model_validate(config.model_dump(mode="json"))


def _measured(
    predictions: Predictions,
    record: EnsembleRecord,
    held: Held,
    prior: Floats,
    malignant: tuple[str, ...],
) -> dict[str, Any]:
    """The measures of each member, of all together, and of each fold where there are several."""
    members = {
        member.name: measures(_plain(predictions, held.y_prob[i]), malignant, prior, 500)
        for i, member in enumerate(record.members)
    }
    folds = sorted(set(held.folds)) if len(set(held.folds)) > 1 else []
    each = {str(f): predictions.take(np.flatnonzero(held.folds == f)) for f in folds}
    return {
        "members": members,
        "valid": measures(predictions, malignant, prior, 1000),
        "folds": {name: measures(some, malignant, prior, 200) for name, some in each.items()},
    }


def _marked(data: DatasetReference, record: EnsembleRecord) -> DatasetReference:
    """The reference to the data set, marked leaky if a member was trained on leaky data."""
    runs = [read_run(Path(run.folder)) for member in record.members for run in member.runs]
    leak_reasons = [run.config.dataset.leak_reason for run in runs if run.config.dataset.leaky]
    if data.leaky or not leak_reasons:
        return data
    return data.model_copy(update={"leaky": True, "leak_reason": leak_reasons[0]})


def _combined(record: EnsembleRecord, held: Held, context: Context) -> Floats:
    if record.method == "mean":
        return mean_logits(held.y_prob)
    if record.method == "rank":
        return rank_logits(held.y_prob, held.y_prob)
    features = stack_features(held.y_prob, held.rows, record, context, held.rows)
    y = context.labels(held.rows)
    return stacked_held(features, y, held.folds, context.classes)


def _plain(predictions: Predictions, y_prob: Floats) -> Predictions:
    """The same cases with a member's probabilities."""
    p, total = predictions, y_prob.sum(1, keepdims=True)
    return Predictions(p.image_id, p.patient_id, p.lesion_id, p.classes, p.y_true, y_prob / total)
