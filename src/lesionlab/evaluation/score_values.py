"""The numbers of score columns as probabilities: rounding, per cent and logits, each said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import SUM_TOLERANCE, numbers_in
from lesionlab.evaluation.table_reading import TableReading

# Sums of rows that numbers of little precision make: float16 and bfloat16 keep 11 and 8 bits.
HALF_PRECISION = 5e-3
MOST_ROUNDING = 0.05  # whatever the number of classes
PROBABLE = re.compile(r"^(p|prob|proba|probability|probabilities|softmax|conf|confidence)\b")


@dataclass(frozen=True)
class ScoreColumns:
    """The columns of one table's scores, and what their names say."""

    table: pd.DataFrame
    columns: tuple[str, ...]
    are_logits: bool
    path: Path
    how: TableReading

    @property
    def are_probabilities(self) -> bool:
        """Whether the names promise probabilities: numbers outside [0, 1] are then an error."""
        return all(PROBABLE.match(re.sub(r"[^a-z]+", " ", c.casefold())) for c in self.columns)


def probabilities_of(scores: ScoreColumns) -> tuple[Floats, list[str]]:
    """`(N, K)` probabilities whose rows sum to 1, and what was done to the numbers.

    Raises `BadInput`, with a command where there is one, for numbers that are none, are neither
    probabilities nor plain logits, or do not sum to 1 although nothing was rounded.
    """
    values = numbers_in(scores.table, list(scores.columns), scores.path)
    sums = values.sum(axis=1)
    inside = bool(((values >= 0) & (values <= 1)).all())
    exact = bool((np.abs(sums - 1) <= _tolerance(scores)).all())
    if inside and exact:
        if scores.how.logits:
            raise BadInput("every row sums to 1: these are probabilities, not logits",
                           where=str(scores.path), remedy="leave out --logits")  # fmt: skip
        named = ["columns named logits hold probabilities"] if scores.are_logits else []
        return _rounded(values, sums, named)
    if scores.how.logits or scores.are_logits or (not inside and _look_like_logits(scores, values)):
        return softmax(values), ["the numbers are logits: a softmax made them probabilities"]
    if (values >= 0).all() and np.abs(sums / 100 - 1).max() <= _tolerance(scores, 100):
        return _rounded(
            values / 100, sums / 100, ["the numbers are per cent and were divided by 100"]
        )
    raise _refusal(scores, values, sums, inside)


def probability_of(scores: ScoreColumns) -> tuple[Floats, list[str]]:
    """`(N,)` probability in [0, 1] of the class of a lone column, and what was done to it."""
    values = numbers_in(scores.table, list(scores.columns), scores.path)[:, 0]
    inside = bool(((values >= 0) & (values <= 1)).all())
    if scores.how.logits or (scores.are_logits and not inside):
        return np.asarray(1 / (1 + np.exp(-values))), [
            "the numbers are logits: a sigmoid made them probabilities"
        ]
    if not inside:
        row = int(np.flatnonzero((values < 0) | (values > 1))[0])
        raise BadInput(
            f"{scores.columns[0]} {values[row]:g} in row {row + 2} lies outside [0, 1]",
            where=str(scores.path),
            remedy="write probabilities, or if these are logits: "
            + scores.how.command(scores.path, logits=True),
        )
    return values, []


def softmax(logits: Floats) -> Floats:
    """`(N, K)` probabilities of logits."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _tolerance(scores: ScoreColumns, whole: float = 1.0) -> float:
    """How far rounding to the decimals that are written may move the sum of a row from 1."""
    texts = pd.concat([scores.table[c] for c in scores.columns]).str.extract(r"[.,](\d+)")[0]
    decimals = int(texts.str.len().max()) if texts.notna().any() else 0
    rounding = len(scores.columns) * 0.5 * 10.0**-decimals / whole if decimals or whole > 1 else 0.0
    return max(HALF_PRECISION, min(rounding, MOST_ROUNDING)) + 1e-9


def _rounded(values: Floats, sums: Floats, notes: list[str]) -> tuple[Floats, list[str]]:
    """Rows divided by their sums where one is off by more than a written table's own rounding."""
    off = float(np.abs(sums - 1).max())
    if off <= SUM_TOLERANCE:
        return values, notes
    said = f"sums differ from 1 by up to {off:.2g}, as rounding does: rows were divided by them"
    return values / sums[:, None], [*notes, said]


def _look_like_logits(scores: ScoreColumns, values: Floats) -> bool:
    """Some are negative, and the names do not call them probabilities."""
    return bool((values < 0).any()) and not scores.are_probabilities


def _refusal(scores: ScoreColumns, values: Floats, sums: Floats, inside: bool) -> BadInput:
    where, how = str(scores.path), scores.how
    if not inside:
        row, k = (int(v) for v in np.argwhere((values < 0) | (values > 1))[0])
        return BadInput(
            f"{scores.columns[k]} {values[row, k]:g} in row {row + 2} lies outside [0, 1]",
            where=where,
            remedy="write probabilities, or if these are logits: "
            + how.command(scores.path, logits=True),
        )
    row = int(np.abs(sums - 1).argmax())
    one = how.command(scores.path, score_column=scores.columns[0])
    return BadInput(
        f"probabilities in row {row + 2} sum to {sums[row]:.4g}",
        where=where,
        remedy=f"every row must sum to 1; to measure one class against the rest: {one}",
    )
