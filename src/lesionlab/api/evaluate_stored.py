"""`lesionlab.evaluate(source)`: every number of a run or of a predictions table, and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lesionlab import files
from lesionlab.api._inputs import Beside, is_current, of_run, of_table, report_content
from lesionlab.api.outside import of_outside
from lesionlab.data import ledger
from lesionlab.data.id_matching import match_ids
from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.conformal import SetOptions, sets_of
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.locked_points import Choice, operating_points, store_points
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.evaluation.plausibility import doubts
from lesionlab.evaluation.policies import DEFAULT_ALPHA
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.evaluation.readers import compare_with_readers, published_points
from lesionlab.evaluation.repeats import names_of, over_runs, refuse_other_tasks, repeated_runs
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.table_reading import TableReading
from lesionlab.evaluation.units import Unit
from lesionlab.evaluation.votes import read_votes
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.language import language
from lesionlab.reporting.report import write_report
from lesionlab.run_folder import read_run

SCHEMA_VERSION = 1
Source = Path | str | Sequence[Path | str]
HELD_OUT = ("valid", "test", "calib", "outside")


def evaluate_stored(
    source: Source,
    *,
    truth: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    score_column: str | None = None,
    positive: str | None = None,
    classes: Sequence[str] = (),
    logits: bool = False,
    matching_only: bool = False,
    split: str | None = None,
    malignant: Sequence[str] = (),
    unit: Unit = "image",
    ordered: bool = False,
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    point: bool = False,
    calib: Path | str | None = None,
    calibration: str | None = None,
    sets: str | None = None,
    alpha: float = DEFAULT_ALPHA,
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
    anybody, `truth` joins labels (`matching_only`: of the images that both tables have) and
    `split` says which part the table is; nothing is chosen on
    it unless that is "valid". `calib` names data to choose on instead: "calib", that part of a
    run's data set, or for a CSV another CSV; `calibration` (temperature, platt, isotonic,
    dirichlet) refits the probabilities of a CSV there (the last two on half of the groups; only
    the other half chooses). `sets` (lac, aps, raps, none) and `alpha`:
    conformal sets, calibrated on the same data and measured on another part; a class with too
    few lesions there is refused, or with `rare="include"` in every set. `ordered`: the classes are
    grades, in their order in the table or the run; only then is quadratic weighted kappa given.
    What the columns of a CSV are is recognised by names and values, or said: `id_column`,
    `label_column` (of the truth, where that is another table), `score_column` (the probability
    of `positive`), `classes` (the order of columns that are only numbered), `logits`.
    `data` is the dataset folder where it has moved, or for a CSV. `readers` are CSVs of readers'
    votes on the same images, laid beside the model; `published` adds published readers (of
    other images, for orientation). `on` is another dataset folder: model, temperature and
    operating point are applied to its images unchanged, and reported beside validation.

    Several runs, or a folder that holds them, are repeats: each is evaluated so, and the result
    is `{runs, varied, metrics: {name: {n, mean, sd, runs}}, ...}` (`evaluation.repeats`).

    Returns `{n, unit, resampled, metrics: {name: {value, low, high, n, method}}, report, ...}`.
    Raises `BadInput` for what the user can mend, among it choosing on test.
    """
    language(lang)
    if point and policy not in (None, "sensitivity"):
        raise BadInput(
            "--point-estimate means the policy 'sensitivity'",
            where=f"--policy {policy}",
            remedy="give one of the two",
        )
    how = TableReading(
        id_column, label_column, score_column, positive, tuple(classes), logits,
        None if truth is None else Path(truth), matching_only,
    )  # fmt: skip
    asked = Options(
        table=TableOptions(how, tuple(malignant), calib, calibration),
        split=split,
        choice=Choice("sensitivity" if point else policy, target, threshold),
        sets=SetOptions(sets, alpha, rare),
        unit=unit,
        ordered=ordered,
        prevalences=tuple(prevalences),
        data=None if data is None else Path(data),
        on=None if on is None else Path(on),
        readers=tuple(Path(r) for r in readers),
        published=published,
        lang=lang,
        images=images,
        resampling=Resampling(resamples, seed, progress),
    )
    runs = repeated_runs(source)
    if runs:
        return _each(runs, out, asked)
    return _one(Path(source if isinstance(source, Path | str) else source[0]), out, asked)


@dataclass(frozen=True)
class TableOptions:
    """What only a table of predictions needs to be told."""

    how: TableReading
    malignant: tuple[str, ...]
    calib: Path | str | None
    calibration: str | None


@dataclass(frozen=True)
class Options:
    """How one source, or each of several runs, is evaluated and reported."""

    table: TableOptions
    split: str | None
    choice: Choice
    sets: SetOptions
    unit: Unit
    ordered: bool
    prevalences: tuple[float, ...]
    data: Path | None
    on: Path | None
    readers: tuple[Path, ...]
    published: bool
    lang: str
    images: bool
    resampling: Resampling


def _each(runs: Sequence[Path], out: Path | str | None, asked: Options) -> dict[str, Any]:
    """Each run on its own, then mean and spread over them, written as JSON."""
    alone = {
        "truth": asked.table.how.truth, "malignant": asked.table.malignant, "on": asked.on,
        "readers": asked.readers, "published": asked.published, "data": asked.data,
    }  # fmt: skip
    for name, value in alone.items():
        if value not in (None, (), False):
            raise BadInput("cannot be used with repeats", where=f"--{name}", remedy="give one run")
    configs = [read_run(folder).config for folder in runs]
    refuse_other_tasks(runs, configs)
    named = dict(zip(names_of(runs), runs, strict=True))
    result = over_runs(named, configs, {n: _one(run, None, asked) for n, run in named.items()})
    path = (runs[0].parent if out is None else Path(out)) / f"repeats-{result['part']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, result)
    return result | {"written": str(path)}


def _one(source: Path, out: Path | str | None, asked: Options) -> dict[str, Any]:
    """Measure one run or table, record the test access, and write everything."""
    subject, choice = _subject(source, out, asked)
    points, refusal = operating_points(subject, choice, asked.unit)
    if points and subject.run is not None and asked.unit != "image":
        note = (
            f"the operating point was chosen on single images and is applied to each {asked.unit}"
        )
        subject = dataclasses.replace(subject, notes=(*subject.notes, note))
    evaluation = _measured(subject, subject.predictions, points, asked)
    evaluation["notes"] = [*doubts(evaluation, _own_labels(subject, asked)), *evaluation["notes"]]
    evaluation["conformal"] = sets_of(subject, asked.sets, asked.unit, asked.resampling.seed)
    beside = [(name, p, _measured(subject, p, points, asked)) for name, p in subject.beside]
    parts = [(subject.part, subject.predictions, evaluation), *beside]
    laid = Beside(
        _subgroups(subject, evaluation, asked.resampling),
        _readers(subject, evaluation, asked.readers, asked.resampling),
        tuple(p.to_json() for p in published_points()) if asked.published else (),
    )
    openings = _open(subject, evaluation)  # before anything is written or shown
    _write(subject, evaluation, points)
    content = report_content(subject, parts, openings, asked.images, refusal, laid)
    report = subject.out / "report.html"
    write_report(report, content, asked.lang)
    return _result(subject, evaluation, openings, report) | {
        "conformal": evaluation["conformal"],
        "notes": [*([refusal] if refusal else []), *subject.notes, *evaluation["notes"]],
        "subgroups": list(laid.subgroups),
        "readers": list(laid.readers),
    }


def _subject(source: Path, out: Path | str | None, asked: Options) -> tuple[Subject, Choice]:
    """What is evaluated, and how its operating point is to be chosen."""
    table, progress = asked.table, asked.resampling.progress
    if source.is_dir():
        _refuse_for_runs(table)
        choice = dataclasses.replace(asked.choice, elsewhere=table.calib is not None)
        if asked.on is not None and asked.split not in (None, "valid"):
            where = f"--on with --split {asked.split}"
            raise BadInput("external validation uses the whole data set", where=where)
        chooser = str(table.calib or "valid")
        subject = of_run(source, asked.split or "valid", asked.data, out, progress, chooser)
        if asked.on is not None:
            subject = of_outside(subject, asked.on, out, progress)
        return subject, choice
    if asked.on is not None:
        raise BadInput("external validation needs a run", where=f"{source} --on {asked.on}")
    other = None if table.calib is None else Path(table.calib)
    subject = of_table(
        source, table.how, asked.split, table.malignant, asked.data, out, other, table.calibration
    )
    return subject, asked.choice


def _own_labels(subject: Subject, asked: Options) -> Predictions | None:
    """The rows of a table that holds its labels itself: they might be the model's answers."""
    own = subject.run is None and asked.table.how.truth is None
    return subject.predictions if own else None


def _measured(
    subject: Subject, predictions: Predictions, points: Sequence[OperatingPoint], asked: Options
) -> dict[str, Any]:
    return evaluate_predictions(
        predictions, malignant=subject.malignant, prior=subject.prior, operating_points=points,
        unit=asked.unit, ordered=asked.ordered, prevalences=asked.prevalences,
        resampling=asked.resampling,
    ).to_json()  # fmt: skip


def _refuse_for_runs(table: TableOptions) -> None:
    if table.how != TableReading() or table.malignant:
        raise BadInput(
            "a run has its own labels and malignant classes",
            where="--truth",
            remedy="what columns mean is said of tables only",
        )
    if table.calib not in (None, "calib"):
        raise BadInput(
            "a run is calibrated on its own data set",
            where=f"--calib {table.calib}",
            remedy="make a split with: lesionlab split --calib 0.1, then give --calib alone",
        )
    if table.calibration is not None:
        raise BadInput(
            "the probabilities of a run always use its stored temperature",
            where=f"--calibration {table.calibration}",
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
        runs = () if subject.run is None else (subject.run.folder,)
        return ledger.record_test_access(folder, subject.title, evaluation, runs)
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
        store_points(run.folder, points)
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
    subject: Subject, evaluation: dict[str, Any], resampling: Resampling
) -> tuple[dict[str, Any], ...]:
    """By image, at the locked threshold; nothing where the data set's rows are not known."""
    if subject.dataset is None:
        return ()
    rows, ids = subject.dataset.table, subject.predictions.image_id
    match = match_ids(ids.tolist(), rows["image_id"].tolist())
    if not match.found.all():
        return ()
    metadata = rows.iloc[match.places].set_index(ids).rename_axis("image_id")
    found = subgroups(
        subject.predictions, metadata, malignant=subject.malignant,
        threshold=_threshold(subject, evaluation),
        resampling=dataclasses.replace(resampling, resamples=min(resampling.resamples, 1000)),
    )  # fmt: skip
    return tuple(attribute.to_json() for attribute in found)


def _readers(
    subject: Subject,
    evaluation: dict[str, Any],
    paths: Sequence[Path],
    resampling: Resampling,
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
            read_votes(path),
            malignant=subject.malignant,
            held_out=True,
            name=path.stem,
            threshold=_threshold(subject, evaluation),
            resampling=resampling,
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
        "mapping": list(subject.mapping),
        **{key: evaluation[key] for key in keys},
        "majority_class": evaluation["majority_class"],
        "operating_points": evaluation["operating_points"],
        "test_openings": None if openings is None else len(openings),
        "leaky": bool((info and info.leaky) or (trained and trained.leaky)),
        "synthetic": bool((info and info.synthetic) or (trained and trained.synthetic)),
        "report": str(report),
    }
