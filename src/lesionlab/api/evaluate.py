"""`lesionlab.evaluate`: every number of a run or of a predictions table, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.data import ledger
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.evaluate import Evaluation, evaluate_predictions
from lesionlab.evaluation.operating_point import OperatingPoint, choose_operating_point
from lesionlab.evaluation.predictions import (
    Floats,
    Predictions,
    read_predictions,
    write_predictions,
)
from lesionlab.evaluation.truth import join_truth
from lesionlab.evaluation.units import Unit, to_unit
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.assemble import data_facts, dataset_beside, thumbnailer
from lesionlab.reporting.content import Part, ReportContent
from lesionlab.reporting.language import language
from lesionlab.reporting.report import write_report
from lesionlab.run import BEST, CALIBRATION, OPERATING_POINTS, Run, now, read_history, read_run

SCHEMA_VERSION = 1
PARTS = ("valid", "test", "train", "calib")
BESIDE = {"test": ("valid", "train"), "valid": ("train",), "train": ("valid",), "calib": ("valid",)}


@dataclass(frozen=True)
class Choice:
    """How the operating point is to be chosen: by a policy with its target, or a threshold."""

    policy: str | None = None
    target: float | None = None
    threshold: float | None = None

    @property
    def asked(self) -> bool:
        """Whether the user asked for a point of their own."""
        return self.policy is not None or self.target is not None or self.threshold is not None


@dataclass(frozen=True)
class Subject:
    """What is evaluated: predictions and everything known about them."""

    title: str
    part: str
    predictions: Predictions
    out: Path
    malignant: tuple[str, ...] = ()
    prior: Floats | None = None
    dataset: Dataset | None = None
    run: Run | None = None
    beside: tuple[tuple[str, Predictions], ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)


def evaluate(
    source: Path | str,
    *,
    truth: Path | str | None = None,
    split: str | None = None,
    malignant: Sequence[str] = (),
    unit: Unit = "image",
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    prevalences: Sequence[float] = (),
    data: Path | str | None = None,
    out: Path | str | None = None,
    lang: str = "en",
    images: bool = True,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure a run folder or a predictions CSV, and write `report.html` and the metrics.

    A run is measured on validation; `split="test"` opens the sealed test set, which is written
    to the dataset's ledger before any number is shown. The operating point is chosen on
    validation only (default: the lower 95 % bound of sensitivity is at least 0.95), stored in
    the run and applied unchanged to test. For a CSV from anybody, `truth` joins labels and
    `split` says which part the table is; nothing is chosen on it unless that is "valid".
    `data` is the dataset folder where it has moved, or for a CSV.

    Returns `{n, unit, resampled, metrics: {name: {value, low, high, n, method}}, report, ...}`.
    Raises `BadInput` for what the user can mend, among it choosing on test.
    """
    language(lang)
    choice = Choice(policy, target, threshold)
    source, folder = Path(source), None if data is None else Path(data)
    if source.is_dir():
        if truth is not None or malignant:
            raise BadInput("a run knows its truth and its malignant classes", where=str(source))
        subject = _of_run(source, split or "valid", folder, out, progress)
    else:
        subject = _of_table(source, truth, split, tuple(malignant), folder, out)
    points, refusal = operating_points(subject, choice)

    def measured(predictions: Predictions) -> Evaluation:
        return evaluate_predictions(
            predictions, malignant=subject.malignant, prior=subject.prior, operating_points=points,
            unit=unit, prevalences=prevalences, resamples=resamples, seed=seed, progress=progress,
        )  # fmt: skip

    evaluation = measured(subject.predictions).to_json()
    openings = _open(subject, evaluation)  # before anything is written or shown
    _write(subject, evaluation, points)
    beside = [(name, p, measured(p).to_json()) for name, p in subject.beside]
    parts = [(subject.part, subject.predictions, evaluation), *beside]
    content = _content(subject, parts, openings, images, refusal)
    report = subject.out / "report.html"
    write_report(report, content, lang)
    return _result(subject, evaluation, openings, report)


def _of_run(
    folder: Path, split: str, data: Path | None, out: Path | str | None, progress: Progress
) -> Subject:
    if split not in PARTS:
        raise BadInput(f"no part '{split}'", where="--split", remedy=nearest(split, PARTS))
    run = read_run(folder)
    if not (run.folder / CALIBRATION).is_file() or not run.predictions_path("valid").is_file():
        raise BadInput(
            "the run is not finished", where=str(folder), remedy=f"run: lesionlab resume {folder}"
        )
    found = dataset_beside(Path(run.config.dataset.folder), data)
    dataset = None if found is None else read_dataset(found)
    if split == "test" and dataset is None:
        raise BadInput(
            "its dataset folder is not there, so the opening of test cannot be written down",
            where=run.config.dataset.folder,
            remedy="say where it lies: --data DIR",
        )
    names = [n for n in BESIDE[split] if _is_current(run, n)]
    raw = files.read_json(run.folder / CALIBRATION)
    return Subject(
        title=folder.resolve().name,
        part=split,
        predictions=_predictions(run, split, found, progress),
        out=folder if out is None else Path(out),
        malignant=run.config.dataset.malignant,
        prior=np.array([raw["prior"][c] for c in run.config.dataset.classes]),
        dataset=dataset,
        run=run,
        beside=tuple((n, read_predictions(run.predictions_path(n))) for n in names),
        provenance={"run": folder.resolve().name},
    )


def _is_current(run: Run, split: str) -> bool:
    """Whether the predictions of a part were stored, and no earlier than the best weights."""
    path, best = run.predictions_path(split), run.folder / BEST
    return path.is_file() and (
        not best.is_file() or path.stat().st_mtime >= best.stat().st_mtime or split == "valid"
    )


def _predictions(run: Run, split: str, data: Path | None, progress: Progress) -> Predictions:
    """The stored predictions of a part, else computed now (this needs the extra `train`)."""
    if _is_current(run, split):
        return read_predictions(run.predictions_path(split))
    from lesionlab.api.train import need_torch

    need_torch()
    from lesionlab.training.predict import predict_part

    return predict_part(run.folder, split, dataset_folder=data, progress=progress)


def _of_table(
    path: Path,
    truth: Path | str | None,
    split: str | None,
    malignant: tuple[str, ...],
    data: Path | None,
    out: Path | str | None,
) -> Subject:
    predictions = read_predictions(path)
    if truth is not None:
        predictions = join_truth(predictions, Path(truth))
    elif (predictions.y_true < 0).all():
        raise BadInput(
            "no row has a label", where=str(path), remedy="give the truth: --truth truth.csv"
        )
    dataset = None if data is None else read_dataset(data)
    if not malignant and dataset is not None:
        malignant = tuple(c for c in dataset.info.malignant if c in predictions.classes)
    provenance = {"predictions": path.name, "predictions_sha256": files.sha256_file(path)}
    if truth is not None:
        provenance["truth"] = Path(truth).name
    return Subject(
        title=path.stem,
        part=split or "predictions",
        predictions=predictions,
        out=path.with_name(f"{path.stem}-evaluation") if out is None else Path(out),
        malignant=malignant,
        dataset=dataset,
        provenance=provenance,
    )


def operating_points(subject: Subject, choice: Choice) -> tuple[list[OperatingPoint], str]:
    """The locked points to apply, and why there is none where there is none.

    A run's stored points are read; without any, one is chosen on validation and stored by the
    caller. Raises `BadInput` for a choice on test, or once test has been opened with this run.
    """
    if not subject.malignant:
        if choice.asked:
            raise BadInput(
                "an operating point needs to know which classes are malignant",
                remedy="name them: --malignant a,b",
            )
        return [], ""
    stored = None if subject.run is None else subject.run.folder / OPERATING_POINTS
    if choice.threshold is not None and subject.run is None:
        return [_choose(subject, subject.predictions, "fixed", choice.threshold, subject.part)], ""
    if choice.asked:
        _refuse_choice(subject, stored)
    elif stored is not None and stored.is_file():
        return [OperatingPoint.from_json(p) for p in files.read_json(stored)["points"]], ""
    elif subject.run is None:
        return [], ""
    return _chosen(subject, choice)


def _refuse_choice(subject: Subject, stored: Path | None) -> None:
    if subject.part != "valid":
        raise BadInput(
            f"an operating point is chosen on validation, never on '{subject.part}'",
            where="--policy",
            remedy="choose it without --split test; it is stored and applied unchanged"
            if subject.run
            else "say --split valid if these are validation predictions, or give --threshold",
        )
    opened = subject.run and subject.run.metrics_path("test").is_file()
    if opened and stored is not None and stored.is_file():
        raise BadInput(
            "the test set has been opened with this run: its operating point stays as it is",
            where=str(stored),
            remedy="train a new run to choose another",
        )


def _chosen(subject: Subject, choice: Choice) -> tuple[list[OperatingPoint], str]:
    valid = subject.predictions if subject.part == "valid" else dict(subject.beside)["valid"]
    policy = choice.policy or ("fixed" if choice.threshold is not None else "sensitivity_bound")
    target = choice.threshold if choice.threshold is not None else choice.target
    try:
        return [_choose(subject, valid, policy, target, "valid")], ""
    except BadInput as error:
        if choice.asked:
            raise
        return [], str(error)  # too few positive groups for the default: the report says so


def _choose(
    subject: Subject, predictions: Predictions, policy: str, target: float | None, on: str
) -> OperatingPoint:
    prior = subject.prior
    named = None if prior is None else dict(zip(predictions.classes, prior.tolist(), strict=True))
    return choose_operating_point(
        predictions, score=subject.malignant, chosen_on=on, policy=policy, target=target,
        prior=named,
    )  # fmt: skip


def _open(subject: Subject, evaluation: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The ledger's openings of test, this one among them; None where there is no data set."""
    if subject.dataset is None:
        return None
    folder = subject.dataset.folder
    if subject.part == "test":
        entry = {
            "event": "opened",
            "run": subject.title,
            "split": "test",
            "result": ledger.digest(evaluation),
        }
        if subject.run is not None and (subject.run.folder / BEST).is_file():
            entry["model"] = files.sha256_file(subject.run.folder / BEST)
        ledger.append(folder, entry)
    return ledger.openings(folder)


def _write(subject: Subject, evaluation: dict[str, Any], points: list[OperatingPoint]) -> None:
    """The metrics; for a run also its operating points and the predictions of the part."""
    subject.out.mkdir(parents=True, exist_ok=True)
    name = f"metrics-{subject.part}.json" if subject.run else "metrics.json"
    files.write_json(subject.out / name, evaluation)
    run = subject.run
    if run is None:
        return
    if points:
        stored = {"schema_version": SCHEMA_VERSION, "points": [p.to_json() for p in points]}
        files.write_json(run.folder / OPERATING_POINTS, stored)
    if not _is_current(run, subject.part):
        write_predictions(run.predictions_path(subject.part), subject.predictions)
    if subject.out != run.folder:
        files.write_json(run.metrics_path(subject.part), evaluation)


def _content(
    subject: Subject,
    parts: list[tuple[str, Predictions, dict[str, Any]]],
    openings: list[dict[str, Any]] | None,
    images: bool,
    refusal: str,
) -> ReportContent:
    run, dataset = subject.run, subject.dataset
    return ReportContent(
        title=subject.title,
        parts=tuple(
            Part(
                name,
                to_unit(p.take(np.flatnonzero(p.y_true >= 0)), e["unit"], subject.malignant),
                e,
            )
            for name, p, e in parts
        ),
        malignant=subject.malignant,
        data=None if dataset is None else data_facts(dataset),
        openings=openings,
        history=read_history(run.folder) if run else (),
        config=run.config.model_dump(mode="json") if run else None,
        calibration=files.read_json(run.folder / CALIBRATION) if run else None,
        thumbnail=thumbnailer(dataset) if images and dataset is not None else None,
        notes=(refusal,) if refusal else (),
        provenance=subject.provenance,
        created=now(),
    )


def _result(
    subject: Subject,
    evaluation: dict[str, Any],
    openings: list[dict[str, Any]] | None,
    report: Path,
) -> dict[str, Any]:
    keys = ("n", "unlabelled", "unit", "resampled", "groups", "metrics", "malignant_v_benign")
    info = subject.dataset.info if subject.dataset else None
    return {
        "schema_version": SCHEMA_VERSION,
        "source": subject.title,
        "part": subject.part,
        **{key: evaluation[key] for key in keys},
        "majority_class": evaluation["majority_class"],
        "operating_points": evaluation["operating_points"],
        "test_openings": None if openings is None else len(openings),
        "leaky": bool(info and info.leaky),
        "synthetic": bool(info and info.synthetic),
        "report": str(report),
    }
