"""Labels and probabilities in arrays, read into `Predictions`; what was assumed is said.

docs/evaluation.md ("From arrays") has the rules in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionlab.array_types import Floats, Ints, Labels
from lesionlab.data.taxonomy import malignant_if_all_known
from lesionlab.errors import BadInput, counted, nearest
from lesionlab.evaluation.arrays import (
    Array,
    Plain,
    at,
    numbers,
    plain_array,
    same_length,
    text,
    texts,
)
from lesionlab.evaluation.predictions import Predictions, without_absent_ids

ROUNDING = 1e-6  # an average of float32 probabilities may exceed 1 by so much
LOST = ("nan", "<NA>", "NaT")  # of NumPy and pandas
IDS = ("patient_id", "lesion_id")
Label = str | int | float | bool
Groups = Array | Mapping[str, Array]


@dataclass(frozen=True)
class FromArrays:
    """Predictions, the classes whose probabilities are summed, and what was assumed."""

    predictions: Predictions
    positive: tuple[str, ...]
    notes: tuple[str, ...]


def predictions_from_arrays(
    y_true: Array,
    y_prob: Array,
    *,
    classes: Sequence[Label] | None = None,
    groups: Groups | None = None,
    positive: Label | Sequence[Label] | None = None,
    image_ids: Array | None = None,
    prefix: str = "",
) -> FromArrays:
    """Check the arrays and join them; `api.evaluate` describes the arguments.

    `prefix` stands before the numbers that cases without `image_ids` are named by.
    Raises `BadInput`, naming the argument, the place and the remedy.
    """
    true, prob = plain_array(y_true, "y_true"), plain_array(y_prob, "y_prob")
    if true.values.ndim > 1:
        raise BadInput(
            f"its shape is {true.values.shape}, one label a case is needed",
            where="y_true",
            remedy="of one-hot rows take y_true.argmax(axis=1), in the order of classes",
        )
    ids = _group_columns(groups)
    named = None if image_ids is None else plain_array(image_ids, "image_ids")
    same_length(true, prob, *ids.values(), named)
    names, notes = _class_names(true, prob, classes)
    chosen, said = _positive(names, positive, prob, _is_numbered(names))
    y, read = _label_numbers(true, names, chosen)
    if (y < 0).all():
        raise BadInput("no case has a label", where="y_true", remedy="give the truth of some")
    patients, lesions = (_id_texts(ids.get(name), len(true)) for name in IDS)
    predictions, absent = without_absent_ids(
        Predictions(
            _image_ids(named, len(true), prefix),
            patients,
            lesions,
            names,
            y,
            probability_rows(prob, names, chosen),
        )
    )
    about = _about_groups(predictions, bool(ids))
    return FromArrays(predictions, chosen, (*notes, *said, *read, *absent, *about))


def probability_rows(
    prob: Plain, classes: tuple[str, ...], positive: tuple[str, ...] = ()
) -> Floats:
    """`(N, K)` float64 in the order of `classes`, rows summing to 1 (+-1e-3, as in a CSV).

    One column is the probability of the positive class of two: of `positive`, else the second.
    """
    p = numbers(prob)
    outside = np.argwhere((p < -ROUNDING) | (p > 1 + ROUNDING))
    if len(outside):
        function = "expit(z)" if p.ndim == 1 else "softmax(z, axis=1)"
        raise BadInput(
            f"{p[tuple(outside[0])]:g} lies outside [0, 1]",
            where=at(prob, outside[0]),
            remedy=f"of logits z give scipy.special.{function}",
        )
    p = p.clip(0, 1)
    if p.ndim == 1:
        of_first = positive == classes[:1]
        return np.stack([p, 1 - p] if of_first else [1 - p, p], axis=1)
    sums = p.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if len(off):
        raise BadInput(
            f"the probabilities sum to {sums[off[0]]:.4g}",
            where=at(prob, [off[0]]),
            remedy="every row must sum to 1: one case is of one class",
        )
    return np.asarray(p[:, _column_order(prob, classes)])


def _class_names(
    true: Plain, prob: Plain, classes: Sequence[Label] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names in the order of the columns, and what was assumed about it."""
    k = 2 if prob.values.ndim == 1 else prob.values.shape[1]
    if classes is not None:
        return _checked(_names(classes, "classes"), k, "classes"), ()
    columns = _column_names(prob)
    if columns is not None:
        return _checked(columns, k, "the columns of y_prob"), ()
    names = _checked(_from_labels(true, k), k, "y_true")
    if prob.values.ndim == 1 or _is_numbered(names):
        return names, ()
    return names, (f"y_prob's columns read in the sorted order of labels: {', '.join(names)}",)


def _names(given: object, where: str) -> tuple[str, ...]:
    """Names of classes as a list, column or array of one dimension holds them; it may be empty."""
    listed = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if not listed and not hasattr(given, "__array__"):
        what = "one text" if isinstance(given, str) else f"a {type(given).__name__}"
        raise BadInput(f"it is {what}", where=where, remedy="give a list of names")
    if listed and not given:
        return ()
    array = plain_array(given, where)  # type: ignore[arg-type]
    if array.values.ndim != 1:
        raise BadInput(f"its shape is {array.values.shape}", where=where, remedy="give a list")
    return tuple(texts(array.values))


def _checked(names: tuple[str, ...], k: int, where: str) -> tuple[str, ...]:
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise BadInput(f"class '{repeated[0]}' is named twice", where=where)
    if "" in names:
        raise BadInput("a class has no name", where=where)
    if len(names) != k:
        columns = "one column, thus two classes" if k == 2 else counted(k, "column")
        raise BadInput(
            f"{counted(len(names), 'class is', 'classes are')} named, y_prob has {columns}",
            where=where,
        )
    return names


def _column_names(prob: Plain) -> tuple[str, ...] | None:
    """The classes named by the columns of a table; None if the columns have default names."""
    columns = prob.columns
    if columns is None or prob.values.ndim == 1:
        return None
    for default in ("{}", "column_{}"):  # the default column names of pandas and of polars
        if columns == tuple(default.format(i) for i in range(len(columns))):
            return None
    if all(c.startswith("prob_") for c in columns):
        return tuple(c.removeprefix("prob_") for c in columns)
    return columns


def _column_order(prob: Plain, classes: tuple[str, ...]) -> list[int]:
    columns = _column_names(prob)
    if columns is None:
        return list(range(len(classes)))
    missing = [c for c in classes if c not in columns]
    if missing:
        raise BadInput(
            f"no column is named '{missing[0]}'",
            where="y_prob",
            remedy=f"{nearest(missing[0], columns)}, or give .to_numpy() in the order of classes",
        )
    return [columns.index(c) for c in classes]


def _from_labels(true: Plain, k: int) -> tuple[str, ...]:
    """The sorted labels (numbers by value, texts by letters), as scikit-learn orders them."""
    labels = [v for v in true.values.tolist() if text(v)]
    if not labels:
        raise BadInput("no case has a label", where="y_true")
    if all(isinstance(v, int | float) for v in labels):
        found = tuple(text(v) for v in sorted(set(labels)))
        numbered = tuple(str(i) for i in range(k))
        if set(found) <= {"False", "True"} and k == 2:
            return ("False", "True")
        # Without a 0 it cannot be told whether they count from 0 or from 1.
        if set(found) <= set(numbered) and ("0" in found or k == 2):
            return numbered
    else:
        found = tuple(sorted({text(v) for v in labels}))
        lost = [name for name in found if name in LOST]
        if lost:
            raise BadInput(
                f"a label is the text '{lost[0]}', which missing values become among texts",
                where="y_true",
                remedy="give None for them, or name the classes: classes=[...]",
            )
        _refuse_numbers_by_letters(found)
    if len(found) != k:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise BadInput(
            f"y_true holds {counted(len(found), 'class', 'classes')} ({shown}), y_prob those "
            f"of {k}",
            remedy="name them all, in the order of y_prob's columns: classes=[...]",
        )
    return found


def _refuse_numbers_by_letters(found: tuple[str, ...]) -> None:
    """Among texts "10" stands before "2": whether the columns do too cannot be told."""
    numbered = _is_numbered(found) and not {"False", "True"} & set(found)
    if numbered and list(found) != sorted(found, key=float):
        raise BadInput(
            f"its labels are numbers as text, by letters in the order {', '.join(found[:4])}, "
            "...: are the columns of y_prob?",
            where="y_true",
            remedy="name the classes in the order of y_prob's columns, classes=[...], or give "
            "numbers",
        )


def _is_numbered(names: tuple[str, ...]) -> bool:
    return all(n in ("False", "True") or n.lstrip("-").replace(".", "", 1).isdigit() for n in names)


def _positive(
    names: tuple[str, ...],
    positive: Label | Sequence[Label] | None,
    prob: Plain,
    numbered: bool,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The positive classes in the order of `names`, and what was assumed about them."""
    if positive is None:
        found = malignant_if_all_known(names)
        if not found and len(names) == 2 and numbered:
            return names[1:], ()
        if found:
            return found, (f"positive by the taxonomy: {', '.join(found)}",)
        if prob.values.ndim == 1:
            raise BadInput(
                f"y_prob is one column: is it the probability of '{names[0]}' or '{names[1]}'?",
                where="y_prob",
                remedy=f"say so: positive='{names[1]}'",
            )
        return (), ()
    single = isinstance(positive, str | int | float | np.generic)
    several = list(positive) if isinstance(positive, set | frozenset) else positive
    wanted = {text(positive)} if single else set(_names(several, "positive"))
    unknown = sorted(wanted - set(names))
    if unknown:
        raise BadInput(
            f"'{unknown[0]}' is not a class", where="positive", remedy=nearest(unknown[0], names)
        )
    return tuple(n for n in names if n in wanted), ()


def _label_numbers(
    true: Plain, names: tuple[str, ...], positive: tuple[str, ...]
) -> tuple[Ints, tuple[str, ...]]:
    """(N,) class numbers, -1 where the label is missing; and how they were read."""
    labels = true.values.tolist()
    shown = texts(true.values)
    known = [(v, t) for v, t in zip(labels, shown, strict=True) if t]
    codes = {name: k for k, name in enumerate(names)}
    strange = [t for _, t in known if t not in codes]
    notes: tuple[str, ...] = ()
    if strange and len(names) == 2 and all(isinstance(v, bool) for v, _ in known):
        first = positive == names[:1]
        codes = {"False": int(first), "True": int(not first)}
        notes = (f"True read as '{names[codes['True']]}', False as '{names[codes['False']]}'",)
    elif strange and not _is_numbered(names) and all(_is_number(v) for v, _ in known):
        _refuse_ambiguous(names, positive)
        codes = {str(k): k for k in range(len(names))}
        notes = ("y_true read as class numbers: " + _shown(names),)
    else:
        codes = _forgiving(names) | codes
    found = [codes.get(t, codes.get(t.casefold())) if t else -1 for t in shown]
    if None in found:
        row = found.index(None)
        raise BadInput(
            f"label '{shown[row]}' is not a class",
            where=at(true, [row]),
            remedy=nearest(shown[row], codes if notes else names),
        )
    return np.array(found, np.int64), notes


def _shown(names: tuple[str, ...]) -> str:
    pairs = [f"{k} = {name}" for k, name in enumerate(names[:8])]
    return ", ".join(pairs) + (", ..." if len(names) > 8 else "")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_ambiguous(names: tuple[str, ...], positive: tuple[str, ...]) -> None:
    """0 and 1 mean "the second class is 1" to one reader and "1 is positive" to the other."""
    if len(names) == 2 and positive == names[:1]:
        raise BadInput(
            f"labels 0 and 1, while the positive class '{names[0]}' is the first",
            where="y_true",
            remedy=f"name the classes with the positive one last, {[*names[::-1]]}, "
            f"or give the labels by name",
        )


def _forgiving(names: tuple[str, ...]) -> dict[str, int]:
    """Case is forgiven where it is clear which class is meant, as in a CSV."""
    folded = [n.casefold() for n in names]
    return {name: k for k, name in enumerate(folded) if folded.count(name) == 1}


def _group_columns(groups: Groups | None) -> dict[str, Plain]:
    """The ids by kind: a plain column holds patients, unless it is named lesion_id."""
    if groups is None:
        return {}
    if isinstance(groups, Mapping) and not groups:
        raise BadInput("it is empty", where="groups", remedy=f"give {' or '.join(IDS)}")
    columns = groups.keys() if isinstance(groups, Mapping) else getattr(groups, "columns", None)
    if columns is None:
        name = "lesion_id" if getattr(groups, "name", None) == "lesion_id" else "patient_id"
        return {name: _ids_of(groups, "groups")}  # type: ignore[arg-type]
    unknown = [str(c) for c in columns if c not in IDS]
    if unknown:
        raise BadInput(
            f"no kind of group '{unknown[0]}'", where="groups", remedy=nearest(unknown[0], IDS)
        )
    return {str(c): _ids_of(groups[c], f"groups['{c}']") for c in columns}  # type: ignore[index]


def _ids_of(values: Array, name: str) -> Plain:
    found = plain_array(values, name)
    if found.values.ndim > 1:
        raise BadInput(f"its shape is {found.values.shape}", where=name, remedy="one id a case")
    return found


def _id_texts(ids: Plain | None, n: int) -> Labels:
    if ids is None:
        return np.array([""] * n, object)
    return texts(ids.values)


def _image_ids(named: Plain | None, n: int, prefix: str) -> Labels:
    if named is None:
        return np.array([f"{prefix}{i}" for i in range(n)], object)
    found = texts(named.values)
    seen: dict[str, int] = {}
    for row, name in enumerate(found):
        if not name or name in seen:
            what = f"'{name}' is repeated" if name else "the id is empty"
            raise BadInput(what, where=at(named, [row]))
        seen[name] = row
    return found


def _about_groups(p: Predictions, given: bool) -> tuple[str, ...]:
    alone = int(((p.patient_id == "") & (p.lesion_id == "")).sum())
    if alone == len(p):
        what = "no case has a group" if given else "no groups were given"
        return (
            f"{what}: every case counts as independent, and the intervals are too "
            "narrow where several are of one patient",
        )
    if alone:
        return (
            f"{alone} of {counted(len(p), 'case')} {'has' if alone == 1 else 'have'} no group: "
            "each is a group of its own",
        )
    return ()
