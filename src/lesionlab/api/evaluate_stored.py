"""`lesionlab.evaluate(source)`: every number of a run or of a predictions table, and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lesionlab import files
from lesionlab.api.operating_points import Choice, operating_points
from lesionlab.api.outside import of_outside
from lesionlab.api.repeats import evaluate_repeats, repeated_runs
from lesionlab.api.sets import sets_of
from lesionlab.api.subject import Beside, Subject, is_current, of_run, of_table, report_content
from lesionlab.data import ledger
from lesionlab.errors import BadInput
from lesionlab.evaluation.conformal import ALPHA
from lesionlab.evaluation.evaluate import Evaluation, evaluate_predictions
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.evaluation.readers import compare_with_readers, published_points
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.units import Unit
from lesionlab.evaluation.votes import read_votes
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.language import language
from lesionlab.reporting.report import write_report
from lesionlab.run import OPERATING_POINTS, model_sha256

SCHEMA_VERSION = 1
Source = Path | str | Sequence[Path | str]
HELD_OUT = ("valid", "test", "calib", "outside")


def evaluate_stored(
    source: Source,
    *,
    truth: Path | str | None = None,
    split: str | None = None,
    malignant: Sequence[str] = (),
    unit: Unit = "image",
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    point: bool = False,
    calib: Path | str | None = None,
    calibration: str | None = None,
    sets: str | None = None,
    alpha: float = ALPHA,
    rare: Literal["refuse", "include"] = "refuse",
    prevalences: Sequence[float] = (),
    data: Path | str | None = None,
    out: Path | str | None = None,
    lang: str = "en",
    images: bool = True,
    readers: Sequence[Path | str] = (),
    published: bool = False,
    on: Path | str | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure a run folder or a predictions CSV, and write `report.html` and the metrics.

    A run is measured on validation; `split="test"` opens the sealed test set, which is written
    to the dataset's ledger before any number is shown. The operating point is chosen on
    validation only (default: the lower 95 % bound of sensitivity is at least 0.95; `point` asks
    for the point estimate), stored in the run and applied unchanged to test. For a CSV from
    anybody, `truth` joins labels and `split` says which part the table is; nothing is chosen on
    it unless that is "valid". `calib` names data to choose on instead: "calib", that part of a
    run's data set, or for a CSV another CSV; `calibration` (temperature, platt, isotonic,
    dirichlet) refits the probabilities of a CSV there. `sets` (lac, aps, raps, none) and `alpha`:
    conformal sets, calibrated on the same data and measured on another part; a class with too
    few lesions there is refused, or with `rare="include"` in every set.
    `data` is the dataset folder where it has moved, or for a CSV. `readers` are CSVs of readers'
    votes on the same images, laid beside the model; `published` adds published readers (of
    other images, for orientation). `on` is another dataset folder: model, temperature and
    operating point are applied to its images unchanged, and reported beside validation.

    Several runs, or a folder that holds them, are repeats: each is evaluated so, and the result
    is `{runs, varied, metrics: {name: {n, mean, sd, runs}}, ...}` (`api.repeats`).

    Returns `{n, unit, resampled, metrics: {name: {value, low, high, n, method}}, report, ...}`.
    Raises `BadInput` for what the user can mend, among it choosing on test.
    """
    options = {k: v for k, v in locals().items() if k not in ("source", "out")}
    language(lang)
    runs = repeated_runs(source)
    if runs:
        return evaluate_repeats(evaluate_stored, runs, out, options)
    source = Path(source if isinstance(source, Path | str) else source[0])
    if point and policy not in (None, "sensitivity"):
        raise BadInput(
            "--point-estimate means the policy 'sensitivity'",
            where=f"--policy {policy}",
            remedy="give one of the two",
        )
    choice = Choice("sensitivity" if point else policy, target, threshold)
    folder = None if data is None else Path(data)
    if source.is_dir():
        _refuse_for_runs(truth, malignant, calib, calibration)
        choice = dataclasses.replace(choice, elsewhere=calib is not None)
        if on is not None and split not in (None, "valid"):
            raise BadInput(
                "external validation uses the whole data set", where=f"--on with --split {split}"
            )
        subject = of_run(source, split or "valid", folder, out, progress, str(calib or "valid"))
        if on is not None:
            subject = of_outside(subject, Path(on), out, progress)
    elif on is not None:
        raise BadInput("external validation needs a run", where=f"{source} --on {on}")
    else:
        other = None if calib is None else Path(calib)
        subject = of_table(source, truth, split, tuple(malignant), folder, out, other, calibration)
    points, refusal = operating_points(subject, choice, unit)
    if points and subject.run is not None and unit != "image":
        note = f"the operating point was chosen on single images and is applied to each {unit}"
        subject = dataclasses.replace(subject, notes=(*subject.notes, note))

    def measured(predictions: Predictions) -> Evaluation:
        return evaluate_predictions(
            predictions, malignant=subject.malignant, prior=subject.prior, operating_points=points,
            unit=unit, prevalences=prevalences, resamples=resamples, seed=seed, progress=progress,
        )  # fmt: skip

    evaluation = measured(subject.predictions).to_json()
    evaluation["conformal"] = sets_of(subject, sets, alpha, rare, unit, seed)
    beside = [(name, p, measured(p).to_json()) for name, p in subject.beside]
    parts = [(subject.part, subject.predictions, evaluation), *beside]
    laid = Beside(
        _subgroups(subject, evaluation, resamples, seed, progress),
        _readers(subject, evaluation, readers, resamples, seed),
        tuple(p.to_json() for p in published_points()) if published else (),
    )
    openings = _open(subject, evaluation)  # before anything is written or shown
    _write(subject, evaluation, points)
    content = report_content(subject, parts, openings, images, refusal, laid)
    report = subject.out / "report.html"
    write_report(report, content, lang)
    return _result(subject, evaluation, openings, report) | {
        "conformal": evaluation["conformal"],
        "notes": [*([refusal] if refusal else []), *subject.notes, *evaluation["notes"]],
        "subgroups": list(laid.subgroups),
        "readers": list(laid.readers),
    }


def _refuse_for_runs(
    truth: Path | str | None,
    malignant: Sequence[str],
    calib: Path | str | None,
    calibration: str | None,
) -> None:
    if truth is not None or malignant:
        raise BadInput("a run has its own labels and malignant classes", where="--truth")
    if calib not in (None, "calib"):
        raise BadInput(
            "a run is calibrated on its own data set",
            where=f"--calib {calib}",
            remedy="make a split with: lesionlab split --calib 0.1, then give --calib alone",
        )
    if calibration is not None:
        raise BadInput(
            "the probabilities of a run always use its stored temperature",
            where=f"--calibration {calibration}",
            remedy="give its tables instead: evaluate RUN/predictions-test.csv "
            "--calib RUN/predictions-valid.csv",
        )


def _open(subject: Subject, evaluation: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The ledger's openings of test, this one among them; None where there is no data set."""
    if subject.dataset is None:
        return None
    folder = subject.dataset.folder
    sealed = subject.part == "outside" and (subject.dataset.table["split"] == "test").any()
    if subject.part == "test" or sealed:
        entry = {
            "event": "opened",
            "run": subject.title,
            "split": "test",
            "result": ledger.digest(evaluation),
        }
        model = None if subject.run is None else model_sha256(subject.run.folder)
        if model is not None:
            entry["model"] = model
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
    if subject.part == "outside":
        write_predictions(subject.out / "predictions-outside.csv", subject.predictions)
        return
    if subject.chooser is not None and not is_current(run, subject.chooser[0]):
        write_predictions(run.predictions_path(subject.chooser[0]), subject.chooser[1])
    if not is_current(run, subject.part):
        write_predictions(run.predictions_path(subject.part), subject.predictions)
    if subject.out != run.folder:
        files.write_json(run.metrics_path(subject.part), evaluation)


def _subgroups(
    subject: Subject, evaluation: dict[str, Any], resamples: int, seed: int, progress: Progress
) -> tuple[dict[str, Any], ...]:
    """By image, at the locked threshold; nothing where the data set's rows are not known."""
    if subject.dataset is None:
        return ()
    metadata = subject.dataset.table.set_index("image_id")
    if not set(subject.predictions.image_id) <= set(metadata.index):
        return ()
    found = subgroups(
        subject.predictions, metadata, malignant=subject.malignant,
        threshold=_threshold(subject, evaluation), resamples=min(resamples, 1000), seed=seed,
        progress=progress,
    )  # fmt: skip
    return tuple(attribute.to_json() for attribute in found)


def _readers(
    subject: Subject,
    evaluation: dict[str, Any],
    paths: Sequence[Path | str],
    resamples: int,
    seed: int,
) -> tuple[dict[str, Any], ...]:
    """Each study's pooled readers, paired by image; refused for images of training."""
    if paths and subject.part not in HELD_OUT:
        raise BadInput(
            "readers can be compared only on images that were not used in training",
            where="--readers",
            remedy="name the split: --split valid or test",
        )
    return tuple(
        compare_with_readers(
            subject.predictions,
            read_votes(Path(path)),
            malignant=subject.malignant,
            held_out=True,
            name=Path(path).stem,
            threshold=_threshold(subject, evaluation),
            resamples=resamples,
            seed=seed,
        ).to_json()
        for path in paths
    )


def _threshold(subject: Subject, evaluation: dict[str, Any]) -> float | None:
    """The first locked threshold on the malignant score."""
    for point in evaluation["operating_points"]:
        if set(point["chosen"]["score"]) == set(subject.malignant):
            return float(point["threshold"])
    return None


def _result(
    subject: Subject,
    evaluation: dict[str, Any],
    openings: list[dict[str, Any]] | None,
    report: Path,
) -> dict[str, Any]:
    keys = ("n", "unlabelled", "unit", "resampled", "groups", "metrics", "malignant_v_benign")
    info = subject.dataset.info if subject.dataset else None
    trained = subject.run.config.dataset if subject.run else None
    return {
        "schema_version": SCHEMA_VERSION,
        "source": subject.title,
        "part": subject.part,
        **{key: evaluation[key] for key in keys},
        "majority_class": evaluation["majority_class"],
        "operating_points": evaluation["operating_points"],
        "test_openings": None if openings is None else len(openings),
        "leaky": bool((info and info.leaky) or (trained and trained.leaky)),
        "synthetic": bool((info and info.synthetic) or (trained and trained.synthetic)),
        "report": str(report),
    }
