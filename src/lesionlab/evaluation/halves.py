"""Two halves of data that calibrate, in whole groups: one fits a map, the other the rules on it.

A map as flexible as isotonic regression fits the very rows that it has seen too well. A threshold
or a set of classes that is then calibrated on the same rows promises too much
(docs/decisions/0311).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.predictions import Predictions

ROUNDED = 8  # decimals by which a row is told: a CSV and arrays give the same halves


def first_half(data: Predictions) -> npt.NDArray[np.bool_]:
    """`(N,)`: which rows of labelled data are in the first half; a group is whole in one.

    Each half has half of the groups of each class, where the groups allow it: the rarest class
    is divided first. What a group holds decides, not its name, the order of the rows or of the
    classes, so that the same data are always divided alike.
    """
    codes, count = group_codes(data.groups)
    holds = np.zeros((count, len(data.classes)), bool)
    holds[codes, data.y_true] = True
    order = np.argsort(np.array(_digests(data, codes, count), dtype=object), kind="stable")
    half = np.full(count, -1)
    given = np.zeros((2, len(data.classes)), np.int64)  # groups of each class in each half
    total = np.zeros(2, np.int64)
    # Equally rare classes come in the order of their names, not of the columns.
    for k in sorted(range(len(data.classes)), key=lambda c: (holds[:, c].sum(), data.classes[c])):
        for group in order[(holds[:, k] & (half < 0))[order]]:
            half[group] = int((given[1, k], total[1]) < (given[0, k], total[0]))
            given[half[group]] += holds[group]
            total[half[group]] += 1
    return np.asarray(half[codes] == 0)


def halve(data: Predictions) -> tuple[Predictions, Predictions]:
    """Labelled data in two halves of whole groups, by `first_half`."""
    first = first_half(data)
    return data.take(np.flatnonzero(first)), data.take(np.flatnonzero(~first))


def groups_in(data: Predictions) -> int:
    """How many groups (patients, else lesions, else images) there are."""
    return len(set(data.groups))


def _digests(data: Predictions, codes: npt.NDArray[np.int64], count: int) -> list[bytes]:
    """A key for each group whose order looks random, but follows from labels and probabilities.

    Groups that are equal when rounded come in the order of their exact probabilities.
    """
    columns = np.argsort(np.array(data.classes, dtype=object))
    exact = np.ascontiguousarray(data.y_prob[:, columns])
    told = np.round(exact, ROUNDED) + 0.0  # -0.0 is 0.0
    names = [name.encode() + b"\0" for name in data.classes]
    rows: list[list[tuple[bytes, bytes]]] = [[] for _ in range(count)]
    for code, label, rounded, full in zip(codes, data.y_true, told, exact, strict=True):
        rows[code].append((names[label] + rounded.tobytes(), full.tobytes()))
    return [_key(sorted(own)) for own in rows]


def _key(rows: list[tuple[bytes, bytes]]) -> bytes:
    rounded, full = (b"".join(part) for part in zip(*rows, strict=True))
    return hashlib.sha256(rounded).digest() + full
