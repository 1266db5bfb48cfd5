"""`lesionlab.ensemble`: several runs as one, that evaluates and exports like a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lesionlab import files
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, group_ids, read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Floats, Predictions, write_predictions
from lesionlab.progress import SILENT, Progress
from lesionlab.run import (
    ENSEMBLE,
    DatasetReference,
    Run,
    RunConfig,
    now,
    read_run,
    write_config,
)

if TYPE_CHECKING:
    from lesionlab.experiments.ensemble import Context, Held, Rows
    from lesionlab.training.members import EnsembleRecord

METHODS = ("mean", "rank", "stack")
FACTS = ("age", "sex", "site")


def ensemble(
    members: Sequence[Path | str],
    out: Path | str,
    *,
    method: Literal["mean", "rank", "stack"] = "mean",
    tta: bool = False,
    handmade: bool = False,
    facts: Sequence[str] | None = None,
    seed: int = 0,
    data: Path | str | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Join runs of one split, or repeats over the same folds, into a run folder `out`.

    "mean" averages the members' calibrated probabilities, "rank" their ranks among the held-out
    images, "stack" learns from them with boosted trees; it takes repeats only, because it must
    learn from out-of-fold predictions, and reads age, sex and site too (`facts`; default: those
    that the data set has). `tta` averages each member over the 8 flips and turns; `handmade` adds
    a member of colours and, where there are masks, lesion shape. `seed` is that of the repeats.
    With a single member and `tta` this is plain test-time augmentation.

    Returns `{ensemble, method, members: {name: {metric: measure}}, valid: {metric: measure}, n,
    folds: {name: {metric: measure}}}`. The measures are those of held-out images: validation, or
    all folds. Raises `BadInput` for members that do not fit together.
    """
    folders, out = [Path(m) for m in members], Path(out)
    _refuse_options(folders, method, tta, handmade, facts)
    files.refuse_existing(out)
    from lesionlab.api.split import known_pairs
    from lesionlab.api.train import need_torch

    need_torch()
    from lesionlab.experiments import ensemble as parts
    from lesionlab.experiments.heldout import VIEWS, in_order, part_rows
    from lesionlab.training.machine import choose_machine
    from lesionlab.training.members import EnsembleRecord, MemberRecord

    repeats = parts.refuse_in_fold(folders, method)
    found = parts.members_of(folders, seed)
    first = read_run(Path(found[0].runs[0].folder))
    dataset = in_order(read_dataset(_data_folder(folders[0], first, repeats, data)))
    if repeats:
        for folder in folders:
            parts.refuse_repeat_of_other_data(folder, dataset)
    else:
        parts.refuse_other_data([read_run(Path(m.runs[0].folder)) for m in found], dataset)
    if handmade:
        found.append(MemberRecord(name=parts.HANDMADE, kind="handmade"))
    record = EnsembleRecord(
        method=method,
        views=VIEWS if tta else 1,
        members=tuple(found),
        seed=seed,
        facts=_facts(dataset, facts) if method == "stack" else (),
        out_of_fold=repeats,
    )
    context = parts.Context(dataset, choose_machine(device, "float32", threads), progress)
    if repeats:
        groups = united_groups(dataset.table, known_pairs(dataset, None, False, SILENT)[1])
        held = parts.held_by_folds(folders, record, groups, context)
        fitting = held.rows
    else:
        rows, fitting = part_rows(dataset, "valid"), part_rows(dataset, "train")
        each = [
            parts.member_probabilities(m, rows, record, context, fitting)
            for m in found
            if m.kind == "run"
        ]
        held = parts.Held(rows, np.array(each), np.full(len(rows), "valid", object))
    if handmade:
        own = parts.handmade_held(held, record, context, fitting)
        held = parts.Held(held.rows, np.concatenate([held.y_prob, own[None]]), held.folds)
    return _written(out, record, held, fitting, first, context)


def _refuse_options(
    folders: Sequence[Path], method: str, tta: bool, handmade: bool, facts: Sequence[str] | None
) -> None:
    """`BadInput` for options that do not fit together, before torch is imported."""
    if method not in METHODS:
        raise BadInput(f"no method '{method}'", remedy="known: " + ", ".join(METHODS))
    if not folders or len(folders) + handmade + tta < 2:
        raise BadInput(
            "an ensemble needs more than one member",
            remedy="give several runs, or --tta, or --handcrafted",
        )
    if facts is not None and method != "stack":
        raise BadInput(
            f"method '{method}' uses no clinical metadata",
            where="--metadata",
            remedy="use --method stack",
        )


def _data_folder(folder: Path, first: Run, repeats: bool, data: Path | str | None) -> Path:
    if data is not None:
        return Path(data)
    if repeats:
        return Path(files.read_json(folder / "plan.json")["dataset"])
    return Path(first.config.dataset.folder)


def _facts(dataset: Dataset, asked: Sequence[str] | None) -> tuple[str, ...]:
    from lesionlab.data.facts import refuse_forbidden

    if asked is not None:
        refuse_forbidden(asked, dataset.info.forbidden_inputs)
        return tuple(asked)
    known = {c: dataset.table[c].notna() & (dataset.table[c].astype(str) != "") for c in FACTS}
    allowed = [c for c in FACTS if c not in dataset.info.forbidden_inputs]
    return tuple(c for c in allowed if known[c].any())


def _written(
    out: Path,
    record: EnsembleRecord,
    held: Held,
    fitting: Rows,
    first: Run,
    context: Context,
) -> dict[str, Any]:
    """Combine, calibrate, measure; write the run folder, `calibration.json` last."""
    from lesionlab.experiments import ensemble as parts
    from lesionlab.experiments.repeat import measures
    from lesionlab.training.predict import calibrate, predictions_of, write_calibration
    from lesionlab.training.setup import reference, write_snapshot

    dataset, y = context.dataset, context.labels(held.rows)
    logits = _combined(record, held, context)
    prior = np.bincount(context.labels(fitting), minlength=context.classes) / len(fitting)
    uniform = np.full(len(prior), 1 / len(prior))
    train_prior = uniform if record.method == "rank" else prior
    groups = int(group_ids(dataset.table.iloc[held.rows]).nunique())
    fitted = calibrate(logits.astype(np.float32), y, prior, train_prior, groups)
    predictions = predictions_of(dataset, held.rows, logits.astype(np.float32), fitted)
    names = [m.name for m in record.members]
    settings = parts.settings_of(out, record.method, names, first)
    facts = settings.model.metadata
    config = first.config.model_copy(
        update={
            "settings": settings,
            "dataset": _marked(reference(dataset, facts), record),
            "created": now(),
        }
    )
    with files.stage_folder(out) as folder:
        write_config(folder, RunConfig.model_validate(config.model_dump(mode="json")))
        write_snapshot(folder, dataset, facts)
        files.write_json(folder / ENSEMBLE, record.model_dump(mode="json"))
        with (folder / parts.STACK).open("wb") as stream:
            np.savez(stream, rows=held.rows, y_prob=held.y_prob, fitting=fitting)
        write_predictions(folder / "predictions-valid.csv", predictions)
        write_calibration(folder, dataset.info.classes, fitted)
    malignant = dataset.info.malignant
    told = {
        name: measures(_plain(predictions, held.y_prob[i]), malignant, prior, 500)
        for i, name in enumerate(names)
    }
    each_fold = {}
    if len(set(held.folds)) > 1:
        for fold in sorted(set(held.folds)):
            some = predictions.take(np.flatnonzero(held.folds == fold))
            each_fold[str(fold)] = measures(some, malignant, prior, 200)
    result = {
        "schema_version": 1,
        "ensemble": str(out),
        "method": record.method,
        "views": record.views,
        "facts": list(record.facts),
        "held_out": "folds" if record.out_of_fold else "validation",
        "n": len(predictions),
        "groups": len(set(united_groups(dataset.table.iloc[held.rows]))),
        "members": told,
        "valid": measures(predictions, malignant, prior, 1000),
        "folds": each_fold,
    }
    files.write_json(out / "members.json", result)
    return result


def _marked(data: DatasetReference, record: EnsembleRecord) -> DatasetReference:
    """The data set's reference, leaky where a member's is."""
    runs = [read_run(Path(run.folder)) for member in record.members for run in member.runs]
    leaks = [run.config.dataset.leak_reason for run in runs if run.config.dataset.leaky]
    if data.leaky or not leaks:
        return data
    return data.model_copy(update={"leaky": True, "leak_reason": leaks[0]})


def _combined(record: EnsembleRecord, held: Held, context: Context) -> Floats:
    from lesionlab.experiments import ensemble as parts

    if record.method == "mean":
        return parts.mean_logits(held.y_prob)
    if record.method == "rank":
        return parts.rank_logits(held.y_prob, held.y_prob)
    features = parts.stack_features(held.y_prob, held.rows, record, context, held.rows)
    y = context.labels(held.rows)
    return parts.stacked_held(features, y, held.folds, context.classes)


def _plain(predictions: Predictions, y_prob: Floats) -> Predictions:
    """The same cases with a member's probabilities."""
    p, total = predictions, y_prob.sum(1, keepdims=True)
    return Predictions(p.image_id, p.patient_id, p.lesion_id, p.classes, p.y_true, y_prob / total)


def ensemble_part(
    run: Run, split: str, *, dataset_folder: Path | None = None, progress: Progress = SILENT
) -> Predictions:
    """Predictions of an ensemble for a part of its data set that its members have not seen.

    Raises `BadInput` for a part that a member was trained on.
    """
    from lesionlab.experiments import ensemble as parts
    from lesionlab.experiments.heldout import in_order, part_rows
    from lesionlab.training.machine import choose_machine
    from lesionlab.training.members import member_runs, read_record
    from lesionlab.training.predict import predictions_of, read_calibration
    from lesionlab.training.setup import refuse_changed_data

    record = read_record(run.folder)
    dataset = in_order(read_dataset(dataset_folder or Path(run.config.dataset.folder)))
    refuse_changed_data(run.folder, run.config, dataset)
    if split == "train" or (record.out_of_fold and split != "test"):
        raise BadInput(
            f"the members of this ensemble were trained on '{split}'",
            where=str(run.folder),
            remedy="use --split valid (held out), or --split test, which accesses the test set",
        )
    rows = part_rows(dataset, split)
    member_runs(record)  # refuses changed weights
    context = parts.Context(dataset, choose_machine("auto", "float32"), progress)
    logits = parts.ensemble_logits(run.folder, rows, context)
    return predictions_of(dataset, rows, logits.astype(np.float32), read_calibration(run))
