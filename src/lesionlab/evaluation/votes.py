"""A reader study's votes: counts per image, or one row a reader and image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats, Ints
from lesionlab.data.id_matching import plain_id
from lesionlab.data.taxonomy import diagnosis
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.class_words import in_words_of

ID_NAMES = ("image_id", "image", "isic_id", "image_name", "id", "Id")
READER_NAMES = ("reader", "reader_id", "rater", "rater_id", "user_id")
ANSWER_NAMES = ("answer", "vote", "read", "response", "prediction")
TRUTH_NAMES = ("image_diag_id", "truth", "label", "dx")


@dataclass(frozen=True)
class Votes:
    """Votes on M images over K classes.

    `counts (M, K)` float64; `y_true (M,)` the class that the study holds for true, -1 where it
    does not say; `readers` the votes of each reader by name, where they are told apart.
    """

    image_id: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    counts: Floats
    y_true: Ints
    readers: Mapping[str, Votes] = field(default_factory=dict)


def read_votes(path: Path) -> Votes:
    """Read votes from a CSV.

    Either one row an image, with a column of counts a class, in any order (unnamed row numbers
    are skipped; `image_diag_id`, `truth` or `label` holds the truth); or one row a read, with
    columns `reader` and `answer`. Raises `BadInput` for repeated images, counts that are none,
    rows without a vote, and classes that the taxonomy does not know.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"not a readable CSV ({error})", where=str(path)) from None
    if table.empty:
        raise BadInput("no rows", where=str(path))
    key = _first(table, ID_NAMES)
    if key is None:
        raise BadInput(
            "column 'image_id' is missing",
            where=str(path),
            remedy=nearest("image_id", list(table.columns)),
        )
    table[key] = [plain_id(v) for v in table[key]]
    reader, answer = _first(table, READER_NAMES), _first(table, ANSWER_NAMES)
    if reader is not None and answer is not None:
        return _from_reads(table, key, reader, answer, path)
    return _from_counts(table, key, path)


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((n for n in names if n in table.columns), None)


def _from_counts(table: pd.DataFrame, key: str, path: Path) -> Votes:
    truth = _first(table, TRUTH_NAMES)
    classes = _count_columns(table, key, truth, path)
    counts = np.stack([_counts(table, c, path) for c in classes], axis=1)
    repeated = table.loc[table[key].duplicated(), key]
    if not repeated.empty:
        raise BadInput(f"image '{repeated.iloc[0]}' is repeated", where=str(path))
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        raise BadInput(f"row {int(empty[0]) + 2} holds no vote", where=str(path))
    return Votes(table[key].to_numpy(object), classes, counts, _truth(table, truth, classes, path))


def _count_columns(table: pd.DataFrame, key: str, truth: str | None, path: Path) -> tuple[str, ...]:
    names = [c for c in table.columns if c not in (key, truth) and str(c).strip()]
    names = [c for c in names if not str(c).startswith("Unnamed:")]
    known = tuple(c for c in names if diagnosis(c) is not None)
    strange = [c for c in names if c not in known]
    if strange or len(known) < 2:
        what = f"'{strange[0]}' is no class" if strange else "fewer than two classes have votes"
        raise BadInput(what, where=str(path), remedy="name the columns mel, nv, bcc, ...")
    return known


def _counts(table: pd.DataFrame, column: str, path: Path) -> Floats:
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy("float64")
    bad = np.flatnonzero(~(numbers >= 0) | (numbers != np.floor(numbers)))
    if len(bad):
        row = int(bad[0])
        raise BadInput(
            f"{column} '{table[column].iloc[row]}' in row {row + 2} is not a number of votes",
            where=str(path),
        )
    return np.asarray(numbers, np.float64)


def _truth(table: pd.DataFrame, truth: str | None, classes: tuple[str, ...], path: Path) -> Ints:
    if truth is None:
        return np.full(len(table), -1, np.int64)
    index = {name: k for k, name in enumerate(classes)} | {"": -1}
    named = in_words_of(table[truth], classes)[0]
    unknown = table.loc[~named.isin(index), truth]
    if not unknown.empty:
        raise BadInput(
            f"{truth} '{unknown.iloc[0]}' in row {int(unknown.index[0]) + 2} is not a class",
            where=str(path),
            remedy=nearest(unknown.iloc[0], classes),
        )
    return np.asarray(named.map(index), np.int64)


def _from_reads(table: pd.DataFrame, key: str, reader: str, answer: str, path: Path) -> Votes:
    truth = _first(table, TRUTH_NAMES)
    said = set(table[answer]) | (set(table[truth]) - {""} if truth else set())
    classes = tuple(sorted(said))
    strange = [c for c in classes if diagnosis(c) is None]
    if strange:
        raise BadInput(f"'{strange[0]}' is no class", where=str(path))
    twice = table.duplicated([key, reader])
    if twice.any():
        row = table[twice].iloc[0]
        raise BadInput(f"reader '{row[reader]}' read '{row[key]}' twice", where=str(path))
    pooled = _tally(table, key, answer, truth, classes, path)
    each = {
        str(name): _tally(rows, key, answer, truth, classes, path)
        for name, rows in table.groupby(reader, sort=True)
    }
    return Votes(pooled.image_id, classes, pooled.counts, pooled.y_true, each)


def _tally(
    table: pd.DataFrame,
    key: str,
    answer: str,
    truth: str | None,
    classes: tuple[str, ...],
    path: Path,
) -> Votes:
    counts = pd.crosstab(table[key], table[answer]).reindex(columns=classes, fill_value=0)
    y_true = np.full(len(counts), -1, np.int64)
    if truth is not None:
        held = table.groupby(key)[truth].nunique()
        if (held > 1).any():
            raise BadInput(f"image '{held.idxmax()}' has two truths", where=str(path))
        first = table.groupby(key)[truth].first().reindex(counts.index)
        y_true = np.array([classes.index(t) if t else -1 for t in first], np.int64)
    return Votes(counts.index.to_numpy(object), classes, counts.to_numpy("float64"), y_true)
