"""Predictions in other software's columns, read into ours; every reading is said.

Found by their names, whatever the case, and checked against their values (`columns.py`): the
image, the label, patient and lesion, and the scores: a prefix before the class (`p_mel`), class
names that the taxonomy knows (`MEL`, `melanoma`), numbered columns (`class_0`), or a single one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.array_types import Floats
from lesionlab.data import tables
from lesionlab.data.taxonomy import diagnosis, malignant_if_all_known
from lesionlab.errors import BadInput
from lesionlab.evaluation.class_words import NO, YES, classes_of_marks, in_words_of
from lesionlab.evaluation.columns import Roles, is_numeric, plain, roles_of
from lesionlab.evaluation.lone_score import EITHER, LEAST_ROWS, lone_score
from lesionlab.evaluation.predictions import (
    ID_COLUMNS,
    Predictions,
    as_numbers,
    from_table,
    read_predictions,
    without_absent_ids,
)
from lesionlab.evaluation.score_values import ScoreColumns, probabilities_of
from lesionlab.evaluation.table_reading import NOTHING_SAID, TableReading

LIST = re.compile(r"^(?:tensor|array)?\(?\s*\[([^\[\]{}]+)\]")
NO_NUMBERS: Mapping[str, str] = {}
PROBABILITIES = "save the probability of every class, as columns prob_<class>: prob_mel,prob_nv"


@dataclass(frozen=True)
class ReadTable:
    """Predictions, how they were read, and which column was taken for what.

    `rest` is the class that stands for every other one, where one class is measured against the
    rest; `positive` the class of a lone column; both are "" elsewhere. `numbers` names the
    classes that a label only numbers, where the user has said them.
    """

    predictions: Predictions
    notes: tuple[str, ...] = ()
    mapping: tuple[str, ...] = ()
    rest: str = ""
    positive: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scores:
    """`y_prob (N, K)` of `classes`, None where the table's own texts hold it exactly."""

    columns: dict[str, str]
    classes: tuple[str, ...]
    y_prob: Floats | None
    notes: tuple[str, ...]
    mapping: tuple[str, ...]
    answer: str | None = None
    rest: str = ""
    positive: str = ""


def read_any(path: Path, how: TableReading = NOTHING_SAID) -> ReadTable:
    """A predictions CSV in our columns, or in another software's; and how it was read.

    `how` says what the user knows of the columns. Ids of patients and lesions that say "nan",
    "NA" and the like are not known, and said. Raises `BadInput` as `read_predictions` does, and
    where the image's column or the probabilities cannot be told, or two readings are possible.
    """
    try:
        table, odd = tables.read_csv(path.read_bytes(), str(path))
    except OSError:
        return ReadTable(read_predictions(path))  # says what is wrong with the file
    table = _with_lists(table)
    roles = roles_of(table, how, path)
    scores = _several(table, roles, how, path) if roles.scores else _lone(table, roles, how, path)
    renamed = {c: ours for c, ours in roles.renamed.items() if c != scores.answer}
    named = _renamed(table, renamed, scores)
    words = _labels(named, scores, roles.numbers, how, path)
    found, absent = without_absent_ids(from_table(named, path))
    found, answers = _without_answers(found, roles, how)
    notes = (*odd, *_columns_read(table, roles, renamed, scores), *words, *answers, *absent)
    mapping = _mapping(renamed, scores, how)
    return ReadTable(found, notes, mapping, scores.rest, scores.positive, roles.numbers)


def _columns_read(
    table: pd.DataFrame, roles: Roles, renamed: dict[str, str], scores: _Scores
) -> list[str]:
    """Which columns have another name here, what was done to them, and which are not used."""
    pairs = [f"'{a}' as {b}" for a, b in (renamed | scores.columns).items() if a != b]
    read = [f"columns read: {', '.join(pairs)}"] if pairs else []
    used = {*renamed, *scores.columns, scores.answer, roles.answer if scores.answer else None}
    unused = [str(c) for c in table.columns if c not in used and not c.startswith("logit_")]
    rest = [f"not used: {', '.join(unused)}"] if unused and (read or scores.notes) else []
    return [*read, *scores.notes, *rest]


def _mapping(renamed: dict[str, str], scores: _Scores, how: TableReading) -> tuple[str, ...]:
    """Each column that was understood, by what it holds; the truth where it is in this table."""
    said = {"image_id": "image", "patient_id": "patient", "lesion_id": "lesion", "label": "truth"}
    passed_over = "label" if how.truth is not None else ""
    columns = {ours: c for c, ours in renamed.items() if ours != passed_over}
    return (*(f"{said[o]}: {columns[o]}" for o in said if o in columns), *scores.mapping)


def _without_answers(
    found: Predictions, roles: Roles, how: TableReading
) -> tuple[Predictions, list[str]]:
    """Beside a truth in another table, labels that are the most probable class are answers."""
    known = found.labelled()
    if how.truth is None or roles.label is None or plain(roles.label) not in EITHER:
        return found, []
    if len(known) < LEAST_ROWS or (known.y_prob.argmax(axis=1) != known.y_true).any():
        return found, []
    said = f"'{roles.label}' is the most probable class in every row: the model's answer, not used"
    return replace(found, y_true=np.full(len(found), -1, np.int64)), [said]


def _several(table: pd.DataFrame, roles: Roles, how: TableReading, path: Path) -> _Scores:
    columns, classes = tuple(roles.scores), tuple(roles.scores.values())
    if len(set(classes)) < len(classes):
        twice = max(classes, key=classes.count)
        both = ", ".join(c for c in columns if roles.scores[c] == twice)
        raise BadInput(
            f"two columns are of class '{twice}'", where=str(path), remedy=f"keep one of {both}"
        )
    y_prob, notes = probabilities_of(ScoreColumns(table, columns, roles.are_logits, path, how))
    what = "logit" if any("softmax" in n for n in notes) else "probability"
    return _Scores(
        {column: f"prob_{name}" for column, name in roles.scores.items()},
        classes,
        y_prob if notes else None,
        tuple(notes),
        mapping=tuple(f"{what} of {name}: {column}" for column, name in roles.scores.items()),
        rest=_rest_of(classes),
    )


def _rest_of(classes: tuple[str, ...]) -> str:
    """Of two classes the one that is every other: `non_melanoma` beside `melanoma`."""
    for one, other in (classes, classes[::-1]) if len(classes) == 2 else ():
        node = diagnosis(other)
        specific = node is not None and node.code not in ("BENIGN", "MALIGNANT")
        if specific and re.match(r"(non|not|no|other|others|rest)([ _-]|$)", one, re.I):
            return one
    return ""


def _lone(table: pd.DataFrame, roles: Roles, how: TableReading, path: Path) -> _Scores:
    if roles.lone is None:
        raise _no_scores(table, roles, how, path)
    column = roles.lone[0]
    if not is_numeric(table[column]):
        raise BadInput(f"'{column}' holds no numbers", where=str(path), remedy=PROBABILITIES)
    found = lone_score(roles, ScoreColumns(table, (column,), roles.are_logits, path, how))
    names = [
        roles.numbers.get(name, mark if name.casefold() in (*YES, *NO) else name)
        for name, mark in ((found.negative, "negative"), (found.positive, "positive"))
    ]
    y_prob = np.stack([1 - found.y_prob, found.y_prob], axis=1)
    what = f"probability of {names[1]}"
    said = f"answer: {found.answer}; its confidence" if found.of_answer else what
    return _Scores(
        {column: f"prob_{names[1]}"}, tuple(names), y_prob, found.notes, (f"{said}: {column}",),
        found.answer, names[0] if found.against_rest else "", _marked(names, how),
    )  # fmt: skip


def _marked(names: Sequence[str], how: TableReading) -> str:
    """The class that 1 means: the malignant one, else that of the column, unless it is benign."""
    if how.positive is not None:
        return how.positive
    node = diagnosis(names[1])
    benign = node is not None and node.malignant is False
    return next(iter(malignant_if_all_known(names)), "" if benign else names[1])


def _no_scores(table: pd.DataFrame, roles: Roles, how: TableReading, path: Path) -> BadInput:
    """What to do about a table without scores: name one of its numbers, or save them."""
    rest = [c for c in table.columns if c not in {*roles.renamed, roles.answer}]
    able = [c for c in rest if is_numeric(table[c]) and as_numbers(table[c]).between(0, 1).all()]
    command = how.command(path, score_column=able[-1], positive="malignant") if able else ""
    only = f" ('{roles.answer}' holds answers only)" if roles.answer and not able else ""
    return BadInput(
        f"no column of probabilities can be told{only}",
        where=str(path),
        remedy=PROBABILITIES + (f"; or say which one it is: {command}" if able else ""),
    )


def _renamed(table: pd.DataFrame, renamed: dict[str, str], scores: _Scores) -> pd.DataFrame:
    """The table in our columns; of the others those go whose names would be taken for ours."""
    columns = renamed | (scores.columns if scores.y_prob is None else {})
    logits = {f"logit_{name}" for name in scores.classes}
    kept = {*columns, *(logits if logits <= set(table.columns) else ())}
    odd = [
        c
        for c in table.columns
        if c not in kept and (c in ID_COLUMNS or c.startswith(("prob_", "logit_")))
    ]
    named = table.drop(columns=odd).rename(columns=columns)
    for k, name in enumerate(scores.classes if scores.y_prob is not None else ()):
        assert scores.y_prob is not None
        named[f"prob_{name}"] = [repr(float(v)) for v in scores.y_prob[:, k]]
    return named


def _labels(
    named: pd.DataFrame, scores: _Scores, numbers: Mapping[str, str], how: TableReading, path: Path
) -> list[str]:
    """Labels by the words of the classes, in place; said."""
    if "label" not in named.columns:
        return []
    positive = scores.positive or how.positive or ""
    refuse_numbered(scores.classes, set(named["label"]), positive, how, path)
    named["label"], notes = labels_as_classes(
        named["label"], scores.classes, scores.rest, positive, numbers
    )
    return notes


def labels_as_classes(
    labels: pd.Series,
    classes: tuple[str, ...],
    rest: str = "",
    positive: str = "",
    numbers: Mapping[str, str] = NO_NUMBERS,
) -> tuple[pd.Series, list[str]]:
    """Labels as the classes of predictions: by number, word or mark (0, 1); and what was read.

    Where `rest` stands for all classes but one, every other word of the taxonomy becomes it.
    """
    named = labels.map(lambda v: numbers.get(v.removesuffix(".0"), v))
    counted = sorted({(a, b) for a, b in zip(labels, named, strict=True) if a != b})
    found, notes = in_words_of(named, classes, positive)
    notes = [*(f"label '{a}' read as '{b}'" for a, b in counted), *notes]
    if not rest:
        return found, notes
    known = {c.casefold() for c in classes}
    others = sorted({v for v in found if v and v.casefold() not in known})
    of_taxonomy = [v for v in others if diagnosis(v) is not None]
    others = of_taxonomy or others
    said = [f"labels {', '.join(others)} read as '{rest}'"] if others else []
    return found.map(lambda v: rest if v in others else v), [*notes, *said]


def refuse_numbered(
    classes: tuple[str, ...], words: set[str], positive: str, how: TableReading, path: Path
) -> None:
    """`BadInput` where classes are only numbered and labels are words, or the other way round."""
    said = sorted(words - {""})
    numbers = [w for w in said if w.removesuffix(".0").isdecimal()]
    where = str(path)
    if all(c.isdecimal() for c in classes) and said and not numbers:
        names = said if len(said) == len(classes) else [*said, "..."]
        raise BadInput(
            f"the columns are only numbered ({', '.join(classes)}) and the labels are words",
            where=where,
            remedy="name the classes in the order of the columns; Keras and torchvision sort them: "
            f"{how.command(path, classes=tuple(names))}",
        )
    unnamed = {w.removesuffix(".0") for w in said} - set(classes)
    if not unnamed or len(numbers) < len(said) or how.classes:
        return
    if len(classes) > 2:
        raise BadInput(
            f"the labels are only numbers ({', '.join(said[:4])} ...)",
            where=where,
            remedy="name the classes in the order of these numbers: "
            + how.command(path, classes=classes),
        )
    if not classes_of_marks(classes, positive):
        raise BadInput(
            f"the labels are {', '.join(said)} and the classes {', '.join(classes)}",
            where=where,
            remedy=f"say which class is 1: {how.command(path, positive=classes[-1])}",
        )


def _with_lists(table: pd.DataFrame) -> pd.DataFrame:
    """A column that holds all scores of a row in one cell, as columns.

    `[0.1, 0.9]` becomes numbered ones; `[{"label": "mel", "score": 0.9}, ...]`, which the pipelines
    of Hugging Face return, becomes `p_mel` and so on.
    """
    for column in table.columns:
        cells = [_scores_in(text) for text in table[column]]
        names = set(cells[0] or ())
        if len(names) > 1 and all(cell is not None and set(cell) == names for cell in cells):
            wide = pd.DataFrame(cells, table.index, dtype=str)
            return pd.concat([table.drop(columns=column), wide], axis=1)
    return table


def _scores_in(text: str) -> dict[str, str] | None:
    """The scores that one cell holds, by column; None where it is no list."""
    if not text.endswith(("]", ")")):
        return None
    if numbers := LIST.match(text):
        return {str(k): v for k, v in enumerate(numbers.group(1).replace(",", " ").split())}
    try:
        found = json.loads(text.replace("'", '"'))
        return {f"p_{d['label']}": repr(float(d["score"])) for d in found}
    except (ValueError, TypeError, KeyError):
        return None
