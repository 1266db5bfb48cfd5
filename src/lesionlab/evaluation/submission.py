"""Submissions in each challenge's form, and a validator that says what would be refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab import files
from lesionlab.array_types import Floats
from lesionlab.data.taxonomy import counterparts, diagnosis, malignant_of
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.challenge.formats import Format, format_of
from lesionlab.evaluation.challenge.tables import (
    SUFFIX,
    Rows,
    image_ids,
    listed,
    pairing_problems,
    read_rows,
    rows_of,
    submission_problems,
)
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.predictions import Predictions

# Columns whose own name says nothing to the taxonomy.
MEANINGS = {"task_1": "melanoma", "task_2": "seborrheic keratosis"}
SINGLE = ("isic2016", "isic2020", "isic2024")  # one column: P(positive)
OPTIONAL = ("UNK",)  # a class that training never shows: without counterpart it is written as 0.0


@dataclass(frozen=True)
class Submission:
    """A submission as text, ready to be written, and what a person should know of it."""

    format: str
    text: str
    rows: int
    columns: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """What the judge would refuse (`problems`), and what it would not but a person may regret."""

    format: str
    judge: str
    rows: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "format": self.format,
            "judge": self.judge,
            "rows": self.rows,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }


def make_submission(
    predictions: Predictions,
    format_name: str,
    *,
    sample: Path | None = None,
    malignant: Sequence[str] = (),
    prior: Floats | None = None,
) -> Submission:
    """The predictions in a challenge's form, in the order of the sample file where there is one.

    `malignant` names the classes that make up the one column of isic2016, isic2020 and isic2024.
    `prior (K,)` divides the prior out of the probabilities, so that the highest one is the
    decision that balanced accuracy rewards. Raises `BadInput` where a class has no column, a
    column no class, or the sample asks for an image without prediction.
    """
    form = format_of(format_name)
    notes: list[str] = []
    prob = predictions.y_prob if prior is None else without_prior(predictions.y_prob, prior)
    taken = columns_of(form, predictions.classes, tuple(malignant), notes)
    values = _values(prob, predictions.classes, taken)
    ids = [str(i) for i in predictions.image_id]
    wanted = ids if sample is None else sample_ids(form, sample)
    chosen = _chosen(ids, wanted, form, notes)
    if sample is None:
        notes.append("no sample file: the images and their order are those of the predictions")
    text = _text(form, wanted, values[chosen])
    problems = list(submission_problems(form, rows_of(form, text, "submission", form.columns)))
    if problems:
        raise problems[0]
    return Submission(form.name, text, len(wanted), taken, tuple(notes))


def write_submission(path: Path, submission: Submission) -> None:
    """Write the file, atomically."""
    files.write_text(path, submission.text)


def without_prior(y_prob: Floats, prior: Floats) -> Floats:
    """`y_prob / prior`, rows summing to 1: the probabilities if all classes were as frequent.

    >>> without_prior(np.array([[0.8, 0.2]]), np.array([0.9, 0.1])).round(3).tolist()
    [[0.308, 0.692]]
    """
    weighed = np.divide(y_prob, prior, out=np.zeros_like(y_prob), where=prior > 0)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def columns_of(
    form: Format, classes: tuple[str, ...], malignant: tuple[str, ...], notes: list[str]
) -> dict[str, tuple[str, ...]]:
    """Which of the model's classes make up each column; `notes` says what was decided."""
    if form.name in SINGLE:
        return {form.columns[0]: _positive_classes(form, classes, malignant, notes)}
    taken = {c: _classes_for(MEANINGS.get(c, c), classes) for c in form.columns}
    for column, found in taken.items():
        if not found and column not in OPTIONAL:
            raise BadInput(
                f"no class of the model answers to {column}",
                where=form.name,
                remedy=f"the model's classes are {', '.join(classes)}",
            )
        if not found:
            notes.append(f"no class of the model answers to {column}: written as 0.0")
    used = {c for group in taken.values() for c in group}
    left = [c for c in classes if c not in used and _family(c) not in form.remainder]
    if left:
        raise BadInput(
            f"class '{left[0]}' of the model has no column",
            where=form.name,
            remedy=nearest(left[0], form.columns),
        )
    return taken


def _classes_for(meaning: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The class that means a column, by the taxonomy; never "malignant" for "melanoma"."""
    found = counterparts([meaning], classes)[meaning]
    same = found is not None and (found == meaning or _family(found) == _family(meaning))
    return (found,) if found is not None and same else ()


def _family(name: str) -> str:
    known = diagnosis(name)
    return "" if known is None else known.family


def _positive_classes(
    form: Format, classes: tuple[str, ...], malignant: tuple[str, ...], notes: list[str]
) -> tuple[str, ...]:
    """The classes whose probabilities are summed into the one column."""
    unknown = [c for c in malignant if c not in classes]
    if unknown:
        raise BadInput(
            f"malignant class '{unknown[0]}' is not predicted", remedy=nearest(unknown[0], classes)
        )
    melanoma = tuple(c for c in classes if _family(c) == "MEL") if form.name != "isic2024" else ()
    chosen = malignant or melanoma or malignant_of(classes)
    if not chosen:
        raise BadInput(
            "it is not known which classes are malignant",
            where=form.name,
            remedy=f"name them: --malignant {','.join(classes[:2])}",
        )
    notes.append(f"{form.columns[0]} = P({' or '.join(chosen)})")
    return chosen


def _values(prob: Floats, classes: tuple[str, ...], taken: Mapping[str, tuple[str, ...]]) -> Floats:
    columns = [
        score_of(prob, classes, group) if group else np.zeros(len(prob)) for group in taken.values()
    ]
    return np.asarray(np.clip(np.stack(columns, axis=1), 0.0, 1.0))


def sample_ids(form: Format, sample: Path) -> list[str]:
    """The ids of a sample file, in its order; its other columns do not matter."""
    rows = read_rows(form, sample, form.columns)
    key = next((k for k in form.keys if k in rows.columns), None)
    if key is None:
        raise BadInput(
            f"column '{form.key}' is missing",
            where=str(sample),
            remedy=nearest(form.key, rows.columns),
        )
    ids = rows.column(key)
    if len(set(ids)) < len(ids):
        raise BadInput("an image stands there twice", where=str(sample))
    return ids


def _chosen(ids: list[str], wanted: list[str], form: Format, notes: list[str]) -> list[int]:
    """Row numbers of the predictions in the wanted order; paths match by their last part."""
    place = {_stem(i): n for n, i in enumerate(ids)}
    if len(place) < len(ids):
        raise BadInput("two predictions share one image name", where=form.name)
    missing = [w for w in wanted if _stem(w) not in place]
    if missing:
        raise BadInput(
            f"{len(missing)} image(s) of the sample have no prediction: {listed(missing)}",
            where=form.name,
            remedy="predict them too",
        )
    left = len(ids) - len(set(wanted))
    if left > 0:
        notes.append(f"{left} prediction(s) are not in the sample and were left out")
    return [place[_stem(w)] for w in wanted]


def _stem(name: str) -> str:
    return SUFFIX.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def _text(form: Format, ids: list[str], values: Floats) -> str:
    """CSV text; every number with a decimal point, as the official package wants it."""
    header = [",".join((form.key, *form.columns))] if form.header else []
    rows = [
        ",".join((name, *(repr(float(v)) for v in row)))
        for name, row in zip(ids, values, strict=True)
    ]
    return "\n".join([*header, *rows]) + "\n"


def check_submission(path: Path, format_name: str, *, sample: Path | None = None) -> Check:
    """Everything that the judge of a format would refuse in a file, before it is sent.

    With a sample (or truth) file the images, and where it matters their order, are checked too.
    Raises `BadInput` only where a file cannot be read at all.
    """
    form = format_of(format_name)
    if not path.is_file():
        raise BadInput("no such file", where=str(path))
    try:
        rows = read_rows(form, path, form.columns)
    except BadInput as problem:
        return Check(form.name, form.judge, 0, (str(problem),), ())
    problems = [str(p) for p in submission_problems(form, rows)]
    if form.key not in rows.columns and any(k in rows.columns for k in form.keys):
        found = next(k for k in form.keys if k in rows.columns)
        problems.insert(0, f"{path}: the id column is '{found}'; write '{form.key}'")
    if sample is not None and any(k in rows.columns for k in form.keys):
        problems += _against_sample(form, rows, sample)
    warnings = [] if problems else _warnings(form, rows)
    return Check(form.name, form.judge, len(rows.cells), tuple(problems), tuple(warnings))


def _against_sample(form: Format, rows: Rows, sample: Path) -> list[str]:
    wanted = sample_ids(form, sample)
    if form.of_isic:
        wanted = [SUFFIX.sub("", w) for w in wanted]
    got = image_ids(form, rows)
    problems = [str(p) for p in pairing_problems(wanted, got, rows.where)]
    if not problems and form.positional and wanted != got:
        first = next(i for i, (a, b) in enumerate(zip(wanted, got, strict=True)) if a != b)
        problems.append(
            f"{rows.where}: row {rows.lines[first]} is '{got[first]}' where the sample has "
            f"'{wanted[first]}'; {form.judge}'s script pairs the rows by their place"
        )
    return problems


def _warnings(form: Format, rows: Rows) -> list[str]:
    values = np.array([[float(c) for c in rows.column(name)] for name in form.columns]).T
    found = []
    constant = [n for k, n in enumerate(form.columns) if np.ptp(values[:, k]) == 0]
    if constant:
        found.append(f"{', '.join(constant)}: the same value for every image")
    if form.primary == "balanced_accuracy":
        best = values.max(axis=1, keepdims=True)
        tied = int(((values == best).sum(axis=1) > 1).sum())
        if tied:
            found.append(f"{tied} image(s) tie for the highest score: they count as wrong")
        off = int((np.abs(values.sum(axis=1) - 1) > 1e-3).sum())
        if off:
            found.append(f"{off} row(s) do not sum to 1 (allowed; per-class numbers use > 0.5)")
    return found
