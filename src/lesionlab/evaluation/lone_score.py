"""A table with one column of scores: the probability of which class, or of the model's answer?

`image,label,score` of Hugging Face, timm or AutoGluon holds the model's answer and its
confidence; the same header is used for the truth and the probability of malignancy. Where names
and values leave both open, the table is refused with the commands that settle it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionlab.array_types import Floats
from lesionlab.data.taxonomy import diagnosis, malignant_of
from lesionlab.errors import BadInput
from lesionlab.evaluation.class_words import YES, classes_of_words
from lesionlab.evaluation.columns import Roles, plain
from lesionlab.evaluation.score_values import ScoreColumns, probability_of

# Names that a truth may have and a model's answer as well; `y_true` and `dx` are only a truth.
EITHER = ("label", "labels", "class", "y", "category")
CONFIDENCES = ("confidence", "conf", "max_prob", "top1_prob", "top1_score", "pred_score",
               "pred_prob", "prediction_score")  # fmt: skip
LEAST_ROWS = 10  # of fewer, none below 1/K is chance
OPPOSITES = {"malignant": "benign", "benign": "malignant", "positive": "negative",
             "negative": "positive", "melanoma": "non-melanoma"}  # fmt: skip


@dataclass(frozen=True)
class LoneScore:
    """Two classes of one column: `y_prob (N,)` is of `positive`; `answer` was read with it."""

    positive: str
    negative: str
    y_prob: Floats
    notes: tuple[str, ...]
    answer: str | None = None  # the column of the answers that were read with it
    of_answer: bool = False  # the column holds the confidence of the answer, whichever that is
    against_rest: bool = False  # `negative` is every other class


def lone_score(roles: Roles, scores: ScoreColumns) -> LoneScore:
    """What the only column of scores is; `BadInput` where that is open, or it is no use alone."""
    assert roles.lone is not None
    column, named = roles.lone
    y_prob, notes = probability_of(scores)
    label = _words(scores, roles.label)
    if named:
        return _of_class(named, label, y_prob, notes)
    answer = roles.answer or _answer_in_label(roles, scores, y_prob)
    if answer is not None:
        return _of_answers(answer, column, scores, y_prob, notes)
    if roles.label is not None:
        _refuse_open(roles, scores, y_prob)
    elif confident := looks_confident(y_prob, 2, column):
        raise _may_be_confidence(confident, column, scores)
    return _of_class(_positive_by_labels(label, scores, column), label, y_prob, notes)


def looks_confident(y_prob: Floats, classes: int, column: str = "") -> str:
    """Why numbers are probably the confidence of the most probable of K classes, or ""."""
    if (y_prob >= 1 / classes - 1e-6).all() and len(y_prob) >= LEAST_ROWS:
        likely = "probably the confidence of the top class (top-1)"
        return f"'{column}' is never below 1/{classes}: {likely}"
    if plain(column) in CONFIDENCES:
        return f"'{column}' is by its name the confidence of the top class (top-1)"
    return ""


def _words(scores: ScoreColumns, column: str | None) -> list[str]:
    return [] if column is None else sorted(set(scores.table[column]) - {""})


def _of_class(named: str, words: Sequence[str], y_prob: Floats, notes: list[str]) -> LoneScore:
    """The probability of a class that is known: the other one is named by the labels."""
    same = {w for w in words if w.casefold() == named.casefold()} | {
        *classes_of_words(words, [named])
    }
    others = [w for w in words if w not in same and not _is_mark(w)]
    known = diagnosis(named)
    general = known is not None and known.code in ("MALIGNANT", "BENIGN")
    opposite = OPPOSITES.get(named.casefold())
    only = others[0] if same and len(others) == 1 else None
    negative = (opposite if general else None) or only or opposite or f"not {named}"
    said = f"two classes: '{named}' with that probability, '{negative}' with 1 minus it"
    rest = not general and negative != only
    return LoneScore(named, negative, y_prob, (*notes, said), against_rest=rest)


def _is_mark(word: str) -> bool:
    return word.casefold() in ("0", "0.0", "false", "no", *YES)


def _answer_in_label(roles: Roles, scores: ScoreColumns, y_prob: Floats) -> str | None:
    """The label column, where the truth is another table and this one holds answers."""
    how, label = scores.how, roles.label
    if how.truth is None or label is None or how.label_column == label:
        return None
    if plain(label) not in EITHER or how.positive is not None:
        return None
    return label


def _of_answers(
    answer: str, column: str, scores: ScoreColumns, y_prob: Floats, notes: list[str]
) -> LoneScore:
    """Two classes from the model's answers and one number: confidence, or one class's score."""
    said = scores.table[answer].to_numpy(object)
    words = _words(scores, answer)
    if len(words) == 1 and words[0].casefold() in OPPOSITES:
        words = sorted([words[0], OPPOSITES[words[0].casefold()]])
    if len(words) != 2:
        raise BadInput(
            f"'{column}' is the confidence of the answers in '{answer}' ({len(words)} classes): it "
            "does not say the probability of the others",
            where=str(scores.path),
            remedy="save the probability of every class (transformers: top_k=None), as columns "
            "p_<class>",
        )
    bad = malignant_of(words)
    positive = bad[0] if len(bad) == 1 else scores.how.positive or words[-1]
    negative = next(w for w in words if w != positive)
    called = said == positive
    if (y_prob >= 0.5 - 1e-6).all():
        of_positive = np.where(called, y_prob, 1 - y_prob)
        note = (
            f"'{answer}' is the model's answer and '{column}' its confidence: where it answers "
            f"'{negative}', the probability of '{positive}' is 1 minus it"
        )
        return LoneScore(positive, negative, of_positive, (*notes, note), answer, of_answer=True)
    for one, other in ((positive, negative), (negative, positive)):
        if ((y_prob > 0.5) <= (said == one)).all() and ((y_prob < 0.5) <= (said == other)).all():
            note = f"'{column}' is the probability of '{one}', by the answers in '{answer}'"
            return LoneScore(one, other, y_prob, (*notes, note), answer)
    raise _neither(answer, column, positive, scores)


def _neither(answer: str, column: str, positive: str, scores: ScoreColumns) -> BadInput:
    """Numbers that are no confidence of the answers: some below 1/2, and not by one class."""
    given = scores.how.command(
        scores.path, score_column=column, positive=positive, label_column=None
    )
    return BadInput(
        f"'{column}' does not go with '{answer}': it is neither the confidence of that answer nor "
        "the probability of one class, by which the answer was chosen",
        where=str(scores.path),
        remedy=f"if it is the probability of '{positive}': {given}",
    )


def _refuse_open(roles: Roles, scores: ScoreColumns, y_prob: Floats) -> None:
    """`BadInput` where a label and a score may be the model's answer or the truth."""
    assert roles.lone is not None
    assert roles.label is not None
    column, label, how = roles.lone[0], roles.label, scores.how
    words = _words(scores, label)
    classes = max(2, len(words))
    confident = looks_confident(y_prob, classes, column)
    named = how.label_column == label and how.score_column == column
    if len(words) <= 2 and not confident and (named or not _is_open(label, column)):
        return
    positive = _likely_positive(words)
    truth = how.truth or "truth.csv"
    answers = how.command(scores.path, truth=truth, label_column=None, score_column=None)
    if how.verb != "evaluate":
        answers = "save the truth beside the probability of each class"
    labelled = how.command(scores.path, label_column=label, score_column=column, positive=positive)
    likely = f"; {confident}" if confident else ""
    raise BadInput(
        f"'{label}' and '{column}' may be the truth and a probability, or the model's answer and "
        f"its confidence{likely}",
        where=str(scores.path),
        remedy=f"if '{label}' is the model's answer: {answers}; if it is the truth, and "
        f"'{column}' the probability of '{positive}': {labelled}",
    )


def _is_open(label: str, column: str) -> bool:
    """Whether the names leave open what they are; `y_score` goes with a truth by its name."""
    return plain(label) in EITHER and not plain(column).startswith("y_") and column != "risk"


def _likely_positive(words: Sequence[str]) -> str:
    bad = malignant_of(words)
    if bad:
        return bad[0]
    plainly = [w for w in words if not _is_mark(w)]
    return plainly[-1] if plainly else "malignant"


def _positive_by_labels(words: Sequence[str], scores: ScoreColumns, column: str) -> str:
    """The class of a lone score beside a truth: the malignant one of two, else the marked one."""
    if all(_is_mark(w) for w in words):
        return "positive"
    bad = malignant_of(words)
    if len(bad) == 1:
        return bad[0]
    given = scores.how.command(scores.path, score_column=column, positive=words[-1])
    raise BadInput(
        f"of which class is '{column}' the probability? The labels are {', '.join(words)}",
        where=str(scores.path),
        remedy=f"say it: {given}",
    )


def _may_be_confidence(confident: str, column: str, scores: ScoreColumns) -> BadInput:
    given = scores.how.command(scores.path, score_column=column, positive="malignant")
    return BadInput(
        f"{confident}, which says nothing without that class",
        where=str(scores.path),
        remedy="save the probability of each class; or if it is the probability of 'malignant': "
        + given,
    )
