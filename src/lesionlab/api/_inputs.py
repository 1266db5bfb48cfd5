"""What several verbs take: a run's split or a table of predictions, and all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import extras, files
from lesionlab.array_types import Floats
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.split_names import SPLITS
from lesionlab.data.taxonomy import malignant_if_all_known
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.calibration_table import (
    how_read,
    read_calibrating,
    refuse_opened_test,
)
from lesionlab.evaluation.class_words import classes_of_words
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions, read_predictions
from lesionlab.evaluation.recalibration import recalibrated
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.table_reading import NOTHING_SAID, TableReading, refuse_absent_columns
from lesionlab.evaluation.truth import join_truth
from lesionlab.evaluation.units import to_unit
from lesionlab.evaluation.wording import option
from lesionlab.progress import Progress
from lesionlab.reporting.assemble import data_facts, dataset_beside, thumbnailer
from lesionlab.reporting.content import DataFacts, Part, ReportContent
from lesionlab.reporting.explanations_link import pages_in
from lesionlab.run_folder import (
    BEST,
    CALIBRATION,
    SUMMARY,
    Run,
    now,
    read_history,
    read_run,
    refuse_unfinished,
)
from lesionlab.training.run_calibration import read_calibration

BESIDE = {"test": ("valid", "train"), "valid": ("train",), "train": ("valid",), "calib": ("valid",)}


@dataclass(frozen=True)
class Beside:
    """What is laid beside the numbers: subgroups and readers, each in JSON."""

    subgroups: tuple[dict[str, Any], ...] = ()
    readers: tuple[dict[str, Any], ...] = ()
    published: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class PredictionSource:
    """Predictions and what is known of them; `prior (K,)` is None where it is not."""

    name: str
    predictions: Predictions
    malignant: tuple[str, ...] = ()
    prior: Floats | None = None
    part: str | None = None
    leaky: bool = False
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    mapping: tuple[str, ...] = ()  # of a table: which column was taken for what


def refuse_unknown_split(split: str) -> None:
    """`BadInput` for a name that no split has."""
    if split not in SPLITS:
        raise BadInput(f"no split '{split}'", where="--split", remedy=nearest(split, SPLITS))


def open_source(
    path: Path, split: str = "valid", how: TableReading = NOTHING_SAID
) -> PredictionSource:
    """The stored predictions of a run's part, or a predictions CSV that is read as `how` says.

    Raises `BadInput` where the run has none of that part: it opens no sealed test set.
    """
    if path.is_dir():
        return _stored_predictions(path, split)
    read = read_any(path, how)
    notes = how_read(path, read.notes)
    return PredictionSource(path.stem, read.predictions, notes=notes, mapping=read.mapping)


def _stored_predictions(folder: Path, split: str) -> PredictionSource:
    refuse_unknown_split(split)
    run = read_run(folder)
    table = run.predictions_path(split)
    if not table.is_file():
        raise BadInput(
            f"has no predictions of '{split}'",
            where=str(folder),
            remedy=f"make them: lesionlab evaluate {folder} --split {split}",
        )
    data, predictions = run.config.dataset, read_predictions(table)
    prior = None
    if (folder / CALIBRATION).is_file():
        stored = files.read_json(folder / CALIBRATION)["prior"]
        prior = np.array([stored[c] for c in predictions.classes], np.float64)
    return PredictionSource(
        folder.resolve().name,
        predictions,
        data.malignant,
        prior,
        split,
        data.leaky,
        data.synthetic,
    )


def of_run(
    folder: Path,
    split: str,
    data: Path | None,
    out: Path | str | None,
    progress: Progress,
    chooser: str = "valid",
) -> Subject:
    """A finished run's part; its predictions are read, or computed where they are not stored.

    `chooser` is the part on which operating points are chosen and sets calibrated.
    Raises `BadInput` for an unfinished run, an unknown part, and for test without the dataset
    folder whose ledger is to be written.
    """
    refuse_unknown_split(split)
    run = read_run(folder)
    refuse_unfinished(run)
    found = dataset_beside(Path(run.config.dataset.folder), data)
    dataset = None if found is None else read_dataset(found)
    if split == "test" and dataset is None:
        raise BadInput(
            "its dataset folder was not found, so the test-set access cannot be recorded",
            where=run.config.dataset.folder,
            remedy="give it with --data DIR",
        )
    names = [n for n in BESIDE[split] if is_current(run, n)]
    calibration = read_calibration(run)
    return Subject(
        title=folder.resolve().name,
        part=split,
        predictions=_predictions(run, split, found, progress),
        out=folder if out is None else Path(out),
        malignant=run.config.dataset.malignant,
        prior=calibration.prior,
        dataset=dataset,
        run=run,
        beside=tuple((n, read_predictions(run.predictions_path(n))) for n in names),
        chooser=(chooser, _predictions(run, chooser, found, progress)),
        provenance={"run": folder.resolve().name},
        notes=calibration.notes,
    )


def is_current(run: Run, split: str) -> bool:
    """Whether the predictions of a part were stored, and no earlier than the best weights."""
    path, best = run.predictions_path(split), run.folder / BEST
    return path.is_file() and (
        not best.is_file() or path.stat().st_mtime >= best.stat().st_mtime or split == "valid"
    )


def _predictions(run: Run, split: str, data: Path | None, progress: Progress) -> Predictions:
    """The stored predictions of a part, else computed now (this needs the extra `train`)."""
    if is_current(run, split):
        return read_predictions(run.predictions_path(split))

    extras.need_torch("predicting with a run")
    from lesionlab.training.members import is_ensemble

    if is_ensemble(run.folder):
        from lesionlab.experiments.ensemble_folder import ensemble_predictions

        return ensemble_predictions(run, split, dataset_folder=data, progress=progress)
    from lesionlab.training.inference import predict_split

    return predict_split(run.folder, split, dataset_folder=data, progress=progress)


def of_table(
    path: Path,
    how: TableReading,
    split: str | None,
    malignant: tuple[str, ...],
    data: Path | None,
    out: Path | str | None,
    calib: Path | None = None,
    calibration: str | None = None,
) -> Subject:
    """A predictions table from anybody, read as `how` says; `BadInput` where no row has a label.

    `calib` is another table, of other patients, on which a threshold may be chosen; with
    `calibration` a map of the probabilities is fitted there and applied to both.
    """
    refuse_absent_columns(how, [p for p in (path, how.truth, calib) if p is not None])
    read = read_any(path, how)
    if split in ("valid", "calib"):
        refuse_opened_test(path)
    if how.truth is not None:
        read = join_truth(read, path, how)
    predictions, notes = read.predictions, how_read(path, read.notes)
    if how.truth is None and not predictions.is_labelled.any():
        raise BadInput(
            "no row has a label",
            where=str(path),
            remedy=f"give the labels: {how.command(path, truth=Path('truth.csv'))}; or name their "
            "column with --label-column",
        )
    dataset = None if data is None else read_dataset(data)
    given = malignant or (() if how.positive is None else (how.positive,))
    malignant, said = _malignant_classes(given, predictions.classes, dataset)
    notes += said
    provenance = {"predictions": path.name, "predictions_sha256": files.sha256_file(path)}
    if how.truth is not None:
        provenance["truth"] = how.truth.name
    chooser = (split, predictions) if split in ("valid", "calib") else None
    advice = ""
    if calib is not None:
        other, more = read_calibrating(calib, predictions, how)
        found = recalibrated(
            predictions, other, calibration, option("calib"), option("calibration")
        )
        predictions, advice = found.measured, found.advice
        chooser, notes = ("calib", found.choosing), (*notes, *more, *found.notes)
        provenance["calib"] = calib.name
    elif calibration is not None:
        raise BadInput(
            "a calibration must not be fitted on the data that are evaluated",
            where="--calibration",
            remedy="give other data: --calib valid.csv",
        )
    return Subject(
        title=path.stem,
        part=split or "predictions",
        predictions=predictions,
        out=path.with_name(f"{path.stem}-evaluation") if out is None else Path(out),
        malignant=malignant,
        dataset=dataset,
        chooser=chooser,
        advice=advice,
        provenance=provenance,
        notes=notes,
        mapping=read.mapping,
    )


def _malignant_classes(
    given: tuple[str, ...], classes: tuple[str, ...], dataset: Dataset | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As given, else as the data set says, else by the taxonomy; and a note on the last."""
    if given:
        words = classes_of_words(given, classes)
        return tuple(words.get(c, c) for c in given), ()
    if dataset is not None:
        return tuple(c for c in dataset.info.malignant if c in classes), ()
    found = malignant_if_all_known(classes)
    return found, (f"malignant by the taxonomy: {', '.join(found)}",) if found else ()


def _facts(dataset: Dataset | None, run: Run | None) -> DataFacts | None:
    """Of the data set shown; a run trained on leaking or drawn data taints its report too."""
    if dataset is None:
        if run is None:
            return None
        d = run.config.dataset
        return DataFacts(d.name, d.source, d.licence, synthetic=d.synthetic, leaky=d.leaky,
                         leak_reason=d.leak_reason)  # fmt: skip
    facts = data_facts(dataset)
    if run is None:
        return facts
    trained = run.config.dataset
    return replace(
        facts,
        leaky=facts.leaky or trained.leaky,
        leak_reason=facts.leak_reason or trained.leak_reason,
        synthetic=facts.synthetic or trained.synthetic,
    )


def report_content(
    subject: Subject,
    parts: list[tuple[str, Predictions, dict[str, Any]]],
    openings: list[dict[str, Any]] | None,
    images: bool,
    refusal: str = "",
    beside: Beside = Beside(),
) -> ReportContent:
    """What the report shows of evaluated parts `(name, predictions, JSON twin)`, focus first."""
    run, dataset = subject.run, subject.dataset
    return ReportContent(
        title=subject.title,
        parts=tuple(
            Part(
                name,
                to_unit(p.labelled(), e["unit"], subject.malignant),
                e,
            )
            for name, p, e in parts
        ),
        malignant=subject.malignant,
        data=_facts(dataset, run),
        openings=openings,
        history=read_history(run.folder) if run else (),
        training_notes=_training_notes(run) if run else (),
        config=run.config.model_dump(mode="json") if run else None,
        calibration=files.read_json(run.folder / CALIBRATION) if run else None,
        thumbnail=thumbnailer(dataset) if images and dataset is not None else None,
        notes=tuple(note for note in (refusal, _mapping(subject), *subject.notes) if note),
        subgroups=beside.subgroups,
        readers=beside.readers,
        published=beside.published,
        provenance=subject.provenance,
        created=now(),
        explanations=pages_in(subject.out, SPLITS),
    )


def _mapping(subject: Subject) -> str:
    return f"columns: {'; '.join(subject.mapping)}" if subject.mapping else ""


def _training_notes(run: Run) -> tuple[str, ...]:
    """What a finished run wrote down on its way."""
    path = run.folder / SUMMARY
    return tuple(files.read_json(path).get("notes", ())) if path.is_file() else ()
