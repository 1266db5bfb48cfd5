"""Which column of another software's table is what: by its name, checked against its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab.data.taxonomy import diagnosis
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.class_words import same_classes
from lesionlab.evaluation.predictions import as_numbers
from lesionlab.evaluation.table_reading import TableReading

# our column -> what others call it; "image id", "Image_ID" and "imageId" are one name
NAMES = {
    "image_id": (
        "image_id", "image", "isic_id", "image_name", "id", "img_id", "img", "filename",
        "file_name", "file", "path", "filepath", "file_path", "image_path", "img_path", "img_name",
        "image_file", "imagename", "imageid", "fname", "filenames", "image_filename",
    ),
    "label": (
        "label", "y_true", "truth", "target", "true_label", "true", "ground_truth", "gt",
        "diagnosis", "dx", "class", "y", "true_class", "labels", "benign_malignant", "diagnostic",
    ),
    "patient_id": ("patient_id", "patient", "subject_id", "subject", "pid"),
    "lesion_id": ("lesion_id", "lesion"),
}  # fmt: skip
# Columns that hold a model's answer and never the truth.
ANSWER = re.compile(
    r"^(y_|model_|hf_)?(pred(s|icted|iction|ictions)?|hat|top_?1)"
    r"(_(label|labels|class|name|category|diagnosis|dx|target|idx|index|id|y))?$|^y_?hat$"
)
WORD = r"(?:probability|probabilities|proba|prob|softmax|score|conf|confidence|pred|p)"
_OF = r"(?:[ _.:-]*\((.+)\)|[ _.:-]*\[(.+)\]|[ _.:-]+(?:of[ _.:-]+)?(.+))$"  # (mel), [mel], _mel
PREFIX = re.compile(rf"^{WORD}{_OF}", re.I)
AFTER = re.compile(rf"^(.+?)[ _.:-]+{WORD}$", re.I)  # mel_prob
LOGIT = re.compile(rf"^logits?{_OF}|^(.+?)[ _.:-]+logits?$", re.I)
NUMBERED = re.compile(
    r"^(|class|cls|c|prob|proba|probability|p|score|softmax|logit|logits|output|out|pred|y_pred|"
    r"label|target)_?(\d+)$"
)
# What follows a prefix without being a class: `pred_label`, `prob_max`, `p_value`.
NO_CLASS = frozenset(
    ("label", "class", "score", "prob", "idx", "index", "id", "max", "top1", "value", "name",
     "true")
)  # fmt: skip
ONE = ("prob", "proba", "probability", "y_prob", "y_score", "score", "p", "y_pred_proba", "risk",
       "probabilities", "scores", "confidence", "conf", "max_prob", "top1_prob", "top1_score",
       "pred_score", "pred_prob", "prediction_score", "y_proba", "likelihood", "logit",
       "logits", "output")  # fmt: skip
MALIGNANT_ONE = ("malignant", "malignancy")


@dataclass(frozen=True)
class Roles:
    """The columns of a table by what they hold; None where there is none.

    `scores` leads from a column to its class. `lone` is a single column, whose class may not be
    said by its name ("").
    """

    image_id: str
    label: str | None
    answer: str | None
    patient_id: str | None
    lesion_id: str | None
    scores: dict[str, str]
    lone: tuple[str, str] | None
    are_logits: bool  # by their names
    numbers: dict[str, str]  # what a class is called that a label only numbers, if that is said

    @property
    def renamed(self) -> dict[str, str]:
        """`{column: our name}` of ids and label."""
        names = ("image_id", "label", "patient_id", "lesion_id")
        return {c: ours for ours in names if (c := getattr(self, ours)) is not None}


def roles_of(table: pd.DataFrame, how: TableReading, path: Path) -> Roles:
    """What each column of a predictions table is; `BadInput` where no image is named."""
    columns = [str(c) for c in table.columns]
    numeric = [c for c in columns if is_numeric(table[c])]
    fractional = [c for c in numeric if _is_fractional(table[c])]
    answers = [c for c in columns if ANSWER.match(plain(c)) and c not in fractional]
    ids = _ids(table, {*answers, *fractional}, how)
    if "image_id" not in ids:
        raise BadInput(
            "column 'image_id' is missing",
            where=str(path),
            remedy=f"{nearest('image_id', columns)} or name it: "
            + how.command(path, id_column=_most_distinct(table)),
        )
    rest = [c for c in numeric if c not in {*answers, *ids.values()}]
    words = set(table[ids["label"]]) - {""} if "label" in ids else set()
    scores, are_logits = _scores(rest, words, how)
    scores, numbers = _by_order(scores, how, path)
    lone = None if scores else _lone(rest, fractional, how)
    return Roles(
        ids["image_id"], ids.get("label"), answers[0] if answers else None,
        ids.get("patient_id"), ids.get("lesion_id"), scores, lone,
        are_logits if lone is None else "logit" in lone[0].casefold(), numbers,
    )  # fmt: skip


def _ids(table: pd.DataFrame, no_label: set[str], how: TableReading) -> dict[str, str]:
    """`{our name: column}` of ids and label: those that the user named, else the usual ones."""
    columns = [str(c) for c in table.columns]
    said = {"image_id": "id_column", "label": "label_column"}
    found = {o: c for o, field in said.items() if (c := how.named(field, columns)) is not None}
    for ours in NAMES:
        taken = {*found.values(), *(no_label if ours == "label" else ())}
        column = by_name([c for c in columns if c not in taken], ours)
        if ours not in found and column is not None:
            found[ours] = column
    return found


def plain(name: str) -> str:
    """A column's name in lower case, with `_` between its words.

    >>> plain("Image Name"), plain("imageId")
    ('image_name', 'image_id')
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[ .-]+", "_", spaced).casefold()


def by_name(columns: Sequence[str], ours: str) -> str | None:
    """The column that is called as others call `ours`: the best of these names."""
    named = [c for c in columns if plain(c) in NAMES[ours]]
    return min(named, key=lambda c: NAMES[ours].index(plain(c)), default=None)


def is_numeric(column: pd.Series) -> bool:
    """Whether most cells are numbers; a bad cell is named later, with its row."""
    return bool(as_numbers(column).notna().mean() > 0.5)


def _is_fractional(column: pd.Series) -> bool:
    """Numbers that number no class: some lie between two whole ones."""
    numbers = as_numbers(column).dropna()
    return is_numeric(column) and bool((numbers % 1 != 0).any())


def _most_distinct(table: pd.DataFrame) -> str:
    """The column that names rows best: the first whose texts are all different."""
    texts = [c for c in table.columns if not _is_fractional(table[c])] or list(table.columns)
    return str(max(texts, key=lambda c: table[c].nunique()))


def _scores(rest: Sequence[str], words: set[str], how: TableReading) -> tuple[dict[str, str], bool]:
    """The columns of several classes, and whether their names call them logits."""
    if how.score_column is not None:
        return {}, False
    prefixed = {c: name for c in rest if (name := class_in(c))}
    logits = {c: name for c in rest if (name := _group(LOGIT.match(c)))}
    named = {c: c for c in rest if c in how.classes or c in words}
    known = {c: c for c in rest if diagnosis(c) is not None}
    ways = (_numbered(rest), named, prefixed, known, logits)
    for found in ways:
        if len(found) > 1:
            are_logits = found is logits or all(c.casefold().startswith("logit") for c in found)
            return found, are_logits
    return {}, False


def _by_order(
    scores: dict[str, str], how: TableReading, path: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """The classes of numbered columns in the order that the user named, and of numbered labels."""
    if not how.classes:
        return scores, {}
    names = list(scores.values())
    numbered = bool(names) and all(name.isdecimal() for name in names)
    words = same_classes(how.classes, names)
    if len(how.classes) != (len(names) or 2) or (not numbered and names and words is None):
        raise BadInput(
            f"--classes names {', '.join(how.classes)}, but the columns are of "
            f"{', '.join(names) or 'two classes'}",
            where=str(path),
            remedy="name each class once, in the order of the numbers",
        )
    start = int(names[0]) if numbered else 0
    if numbered:
        scores = dict(zip(scores, how.classes, strict=True))
    return scores, {str(start + k): name for k, name in enumerate(how.classes)}


def class_in(column: str) -> str:
    """The class in the name of a column of probabilities, or "".

    >>> class_in("p_mel"), class_in("P(nv)"), class_in("mel_prob"), class_in("pred_label")
    ('mel', 'nv', 'mel', '')
    """
    if column.startswith("prob_"):  # ours: whatever follows is the class
        return column.removeprefix("prob_")
    before, after = PREFIX.match(column), AFTER.match(column)
    name = _group(before) or (after.group(1) if after else "")
    odd = plain(name) in NO_CLASS or plain(column) in ONE
    return "" if odd or (not before and diagnosis(name) is None) else name


def _group(match: re.Match[str] | None) -> str:
    """The one group that matched, or ""."""
    return next((g for g in match.groups() if g), "") if match else ""


def _numbered(rest: Sequence[str]) -> dict[str, str]:
    """Columns `0 1 2`, `class_0 class_1` in the order of their numbers."""
    by_prefix: dict[str, dict[int, str]] = {}
    for column in rest:
        if match := NUMBERED.match(plain(column)):
            by_prefix.setdefault(match.group(1), {})[int(match.group(2))] = column
    for found in by_prefix.values():
        numbers = sorted(found)
        if len(numbers) > 1 and numbers[0] in (0, 1) and numbers[-1] - numbers[0] < len(numbers):
            return {found[n]: str(n) for n in numbers}
    return {}


def _lone(
    rest: Sequence[str], fractional: Sequence[str], how: TableReading
) -> tuple[str, str] | None:
    """The single column of scores and the class that its name says ("" where none)."""
    if how.score_column is not None:
        return how.score_column, how.positive or class_of_lone(how.score_column)
    named = [c for c in rest if class_of_lone(c)] or [c for c in rest if plain(c) in ONE]
    named = named or [c for c in fractional if c in rest and (
        plain(c) in NAMES["label"] or ANSWER.match(plain(c)))]  # fmt: skip
    return (named[0], how.positive or class_of_lone(named[0])) if len(named) == 1 else None


def class_of_lone(column: str) -> str:
    """The class that a single column of probabilities is of, by its name, or "".

    >>> [class_of_lone(c) for c in ("malignancy", "p_melanoma", "melanoma", "score")]
    ['malignant', 'melanoma', 'melanoma', '']
    """
    name = _group(LOGIT.match(column)) or class_in(column) or column
    if plain(name) in MALIGNANT_ONE:
        return "malignant"
    known = diagnosis(name) is not None or name != column
    return name if known and plain(name) not in NO_CLASS else ""
