"""A truth table laid beside predictions: every row is matched, or the error says which."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.data import tables
from lesionlab.data.id_matching import IdMatch, match_ids, repeated_ids
from lesionlab.data.taxonomy import diagnosis, malignant_of
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.class_words import classes_of_words
from lesionlab.evaluation.columns import NAMES, by_name, plain
from lesionlab.evaluation.foreign import ReadTable, labels_as_classes, refuse_numbered
from lesionlab.evaluation.predictions import Predictions, as_numbers, label_numbers
from lesionlab.evaluation.table_reading import TableReading


@dataclass(frozen=True)
class _Labels:
    """Class numbers (M,), -1 where unknown, and where they stand."""

    y_true: np.ndarray[tuple[int], np.dtype[np.int64]]
    column: str
    notes: list[str]


def join_truth(read: ReadTable, source: Path, how: TableReading) -> ReadTable:
    """The predictions with the labels (and patient and lesion ids, if given) of `how.truth`.

    That table holds one row an image: an id column and either `label` (or `dx`, `target`, ...: a
    class; blank = unknown) or one 0/1 column a class. Ids are matched by `match_ids`, labels by the
    words of the taxonomy. `source` is the file of the predictions. Raises `BadInput` for rows
    missing, extra (but with `matching_only`, which leaves them out) or repeated, a label that
    is no class, and labels that contradict those already in the predictions.
    """
    assert how.truth is not None
    path = how.truth
    table = _read(path)
    column = _id_column(table, path, source, how)
    ids = table[column]
    _refuse_repeated(ids, path)
    predictions = read.predictions
    _refuse_repeated(predictions.image_id, source)
    match = match_ids(predictions.image_id.tolist(), ids.tolist())
    left_out = _left_out(match, predictions, column, table, source, how)
    predictions = predictions.take(match.found)
    rows = match.places[match.found]
    labels = _labels(table, read, source, how)
    y_true = labels.y_true[rows]
    _refuse_contradiction(predictions, y_true, path)
    columns = {
        c: ours for ours in ("patient_id", "lesion_id") if (c := by_name(table.columns, ours))
    }
    found = {ours: table[c].to_numpy(object)[rows] for c, ours in columns.items()}
    groups = [f"{ours.removesuffix('_id')}: {path.name}:{c}" for c, ours in columns.items()]
    return dataclasses.replace(
        read,
        predictions=dataclasses.replace(predictions, y_true=y_true, **found),
        notes=(*read.notes, *match.notes(), *left_out, *labels.notes),
        mapping=(f"truth: {path.name}:{labels.column}", *groups, *read.mapping),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        table, _ = tables.read_csv(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None
    return table


def _id_column(table: pd.DataFrame, path: Path, source: Path, how: TableReading) -> str:
    found = how.named("id_column", table.columns) or by_name(table.columns, "image_id")
    if found is None:
        raise BadInput(
            "column 'image_id' is missing",
            where=str(path),
            remedy=f"{nearest('image_id', list(table.columns))} or name it: "
            + how.command(source, id_column=str(table.columns[0])),
        )
    return found


def _refuse_repeated(ids: object, path: Path) -> None:
    twice = repeated_ids(ids)  # type: ignore[arg-type]
    if twice is not None:
        as_well = f" (as '{twice[0]}')" if twice[0] != twice[1] else ""
        raise BadInput(f"image_id '{twice[1]}' is repeated{as_well}", where=str(path))


def _left_out(
    match: IdMatch,
    predictions: Predictions,
    column: str,
    table: pd.DataFrame,
    source: Path,
    how: TableReading,
) -> list[str]:
    """What has no row in the other table, as notes; refused but with `matching_only`."""
    ids = table[column]
    missing = predictions.image_id[~match.found].tolist()
    extra = np.delete(ids.to_numpy(object), match.places[match.found]).tolist()
    if missing and (not how.matching_only or not match.found.any()):
        raise _missing(missing, match, ids, table, source, how)
    said = f"{counted(len(extra), 'row has', 'rows have')} no prediction"
    if extra and not how.matching_only:
        raise BadInput(
            f"{said}, the first is '{extra[0]}'",
            where=str(how.truth),
            remedy="predict every image: leaving some out changes every number; or measure the "
            f"predicted ones on purpose: {how.command(source, matching_only=True)}",
        )
    alone = f"{counted(len(missing), 'predicted image has', 'predicted images have')} no truth"
    return [f"{said} (left out)"] * bool(extra) + [f"{alone} (left out)"] * bool(missing)


def _missing(
    missing: list[str],
    match: IdMatch,
    ids: pd.Series,
    table: pd.DataFrame,
    source: Path,
    how: TableReading,
) -> BadInput:
    first = next(iter(match.candidates), sorted(missing)[0])
    several = match.candidates.get(first, ())
    what = f", which could be {' or '.join(repr(s) for s in several[:2])}" if several else ""
    if not match.found.any():
        remedy = f"compare it with '{ids.iloc[0]}' of the table" + _other_column(
            missing, table, source, how
        )
    else:
        remedy = (
            "give the truth of every predicted image (a blank label = unknown), or leave them out "
            f"on purpose: {how.command(source, matching_only=True)}"
        )
    return BadInput(
        f"{counted(len(missing), 'predicted image has', 'predicted images have')} no row, "
        f"the first is '{first}'{what}",
        where=str(how.truth),
        remedy=remedy,
    )


def _other_column(missing: list[str], table: pd.DataFrame, source: Path, how: TableReading) -> str:
    """The command that names the column in which most of the ids are, where one has any."""
    found = {c: int(match_ids(missing, table[c].tolist()).found.sum()) for c in table.columns}
    best = max(found, key=lambda c: found[c])
    if not found[best]:
        return ""
    return f"; {found[best]:,} are in column '{best}': {how.command(source, id_column=best)}"


def _labels(table: pd.DataFrame, read: ReadTable, source: Path, how: TableReading) -> _Labels:
    """The label of each row: of the column named, else of the first that holds classes."""
    assert how.truth is not None
    named = how.named("label_column", table.columns)
    usual = sorted(
        (c for c in table.columns if plain(c) in NAMES["label"]),
        key=lambda c: NAMES["label"].index(plain(c)),
    )
    refusal: BadInput | None = None
    for column in [named] if named else usual:
        try:
            return _of_column(table, column, read, source, how)
        except BadInput as error:
            refusal = refusal or error
    marked = None if named else _one_hot(table, read.predictions.classes, how.truth)
    if marked is not None:
        return marked
    if refusal is not None:
        raise refusal
    raise BadInput(
        f"neither a column 'label' nor a column '{_absent(table, read.predictions.classes)}'",
        where=str(how.truth),
        remedy="write a column 'label', or one 0/1 column a class; or name it: "
        + how.command(source, label_column=str(table.columns[-1])),
    )


def _of_column(
    table: pd.DataFrame, column: str, read: ReadTable, source: Path, how: TableReading
) -> _Labels:
    assert how.truth is not None
    classes = read.predictions.classes
    positive = read.positive or how.positive or ""
    refuse_numbered(classes, set(table[column]), positive, how, source)
    labels, notes = labels_as_classes(table[column], classes, read.rest, positive, read.numbers)
    return _Labels(label_numbers(labels, classes, how.truth), column, notes)


def _one_hot(table: pd.DataFrame, classes: tuple[str, ...], path: Path) -> _Labels | None:
    """One 0/1 column a class, by its name or another word; or one of the positive of two."""
    words = classes_of_words(table.columns, classes)
    found: dict[str, list[str]] = {c: [] for c in classes}
    for column in map(str, table.columns):
        means = words.get(column, column).casefold()
        for name in [c for c in classes if c.casefold() == means]:
            found[name].append(column)
    marked = [c for c in classes if found[c]]
    if len(marked) == 1 and len(classes) == 2 and len(found[marked[0]]) == 1:
        return _of_mark(table, marked[0], found[marked[0]][0], classes, path)
    if len(marked) < len(classes):
        return None
    values: Floats = np.stack(
        [sum(as_numbers(table[c]).to_numpy("float64") for c in found[name]) for name in classes],
        axis=1,
    )
    bad = np.flatnonzero(~np.isin(values, (0.0, 1.0)).all(axis=1) | (values.sum(axis=1) != 1))
    if len(bad):
        raise BadInput(
            f"row {int(bad[0]) + 2} does not mark exactly one class with 1",
            where=str(path),
            remedy="each row holds one 1 and else 0",
        )
    return _Labels(
        np.asarray(values.argmax(axis=1), np.int64),
        ",".join(c for name in classes for c in found[name]),
        [],
    )


def _of_mark(
    table: pd.DataFrame, name: str, column: str, classes: tuple[str, ...], path: Path
) -> _Labels | None:
    """A single 0/1 column, such as `malignant` of ISIC 2024."""
    values, k = as_numbers(table[column]).to_numpy("float64"), classes.index(name)
    other = diagnosis(classes[1 - k])  # 0 of `mel` need not be a nevus, but it is benign
    every_other = other is None or other.code in ("BENIGN", "MALIGNANT")
    if not np.isin(values, (0.0, 1.0)).all() or not malignant_of([name]) or not every_other:
        return None
    return _Labels(np.where(values == 1, k, 1 - k).astype(np.int64), column, [])


def _absent(table: pd.DataFrame, classes: tuple[str, ...]) -> str:
    return next(c for c in classes if c not in table.columns)


def _refuse_contradiction(predictions: Predictions, y_true: np.ndarray, path: Path) -> None:
    known = (predictions.is_labelled) & (y_true >= 0)
    wrong = np.flatnonzero(known & (predictions.y_true != y_true))
    if len(wrong):
        row = int(wrong[0])
        before, now = (predictions.classes[k] for k in (predictions.y_true[row], y_true[row]))
        raise BadInput(
            f"'{predictions.image_id[row]}' is '{now}' here and '{before}' in the predictions",
            where=str(path),
            remedy="remove the wrong one; a column of the model's answers is called 'prediction'",
        )
