"""The worst errors as pictures: where the model was surest and wrong."""

from __future__ import annotations

import base64

import numpy as np

from lesionlab.array_types import Bools, Ints
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import (
    Block,
    Paragraph,
    ReportContent,
    Section,
    Table,
    Thumbnail,
    Thumbnails,
)
from lesionlab.reporting.language import Language, share

LIMIT = 60  # pictures in a report: with about 4 kB each they stay below 350 kB
SHARES = {"missed": 24, "alarm": 18, "confused": 18}


def section(content: ReportContent, words: Language) -> Section | None:
    """Missed malignant, false alarms, then other confusions; None where nothing is wrong."""
    part = content.focus
    known = part.predictions.labelled()
    chosen = worst(known, content.malignant)
    counts = {kind: int(mask.sum()) for kind, mask in mistakes(known, content.malignant).items()}
    blocks: list[Block] = [Paragraph(words("errors.intro"))]
    for kind, rows in chosen.items():
        if len(rows):
            title = words(f"errors.{kind}", shown=f"{len(rows):,}", n=f"{counts[kind]:,}")
            blocks += _group(content, known, title, rows, words)
    if len(blocks) == 1:
        blocks = [Paragraph(words("errors.none"))]
    return Section("errors", words("errors.title"), tuple(blocks))


def worst(known: Predictions, malignant: tuple[str, ...]) -> dict[str, Ints]:
    """Row numbers of the surest mistakes by kind, one image a group, at most `LIMIT` in all."""
    limits = SHARES if malignant else {"missed": 0, "alarm": 0, "confused": LIMIT}
    found = mistakes(known, malignant)
    return {kind: _surest(known, mask, limits[kind]) for kind, mask in found.items()}


def mistakes(known: Predictions, malignant: tuple[str, ...]) -> dict[str, Bools]:
    """`(N,)` for each kind: where the most probable class is not the truth.

    "missed": malignant called benign; "alarm": the reverse; "confused": within one side, or all
    where malignant is not told.
    """
    y_pred = known.y_prob.argmax(axis=1)
    bad = np.isin(np.array(known.classes, dtype=object), list(malignant))
    wrong = y_pred != known.y_true
    return {
        "missed": wrong & bad[known.y_true] & ~bad[y_pred],
        "alarm": wrong & ~bad[known.y_true] & bad[y_pred],
        "confused": wrong & (bad[known.y_true] == bad[y_pred]),
    }


def _surest(known: Predictions, mask: Bools, limit: int) -> Ints:
    rows = np.flatnonzero(mask)
    truth = known.y_prob[rows, known.y_true[rows]]
    rows = rows[np.argsort(truth, kind="stable")]
    first = np.unique(known.groups[rows].astype(str), return_index=True)[1]
    return rows[np.sort(first)][:limit]


def _group(
    content: ReportContent, known: Predictions, title: str, rows: Ints, words: Language
) -> list[Block]:
    if content.thumbnail is None:
        columns = tuple(
            words(f"column.{c}") for c in ("image", "truth", "called", "p_called", "p_truth")
        )
        return [Table(columns, tuple(_row(known, r) for r in rows), title)]
    items = tuple(
        Thumbnail(_data_url(content.thumbnail(str(known.image_id[r]))), str(known.image_id[r]),
                  _lines(known, r, words))
        for r in rows
    )  # fmt: skip
    return [Thumbnails(title, items)]


def _row(known: Predictions, row: int) -> tuple[str, ...]:
    called, truth = int(known.y_prob[row].argmax()), int(known.y_true[row])
    probs = (share(known.y_prob[row, called]), share(known.y_prob[row, truth]))
    return (str(known.image_id[row]), known.classes[truth], known.classes[called], *probs)


def _lines(known: Predictions, row: int, words: Language) -> tuple[str, ...]:
    _, truth, called, *_ = _row(known, row)
    return (
        words("errors.truth_line", name=truth, p=_short(known.y_prob[row, known.y_true[row]])),
        words("errors.called_line", name=called, p=_short(known.y_prob[row].max())),
    )


def _short(p: float) -> str:
    return "< 0.01" if p < 0.01 else f"{p:.2f}"


def _data_url(picture: bytes | None) -> str:
    if picture is None:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
