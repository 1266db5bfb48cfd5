"""Regrouping classes: `--map nevus,seborrheic_keratosis=benign melanoma=malignant`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lesionlab.data.sources.base import Found
from lesionlab.data.taxonomy import malignant_of
from lesionlab.errors import BadInput, counted, nearest


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """`{old: new}` from texts such as `a,b=c`.

    >>> parse_map(["nevus,seborrheic_keratosis=benign", "melanoma=malignant"])["nevus"]
    'benign'
    """
    rules: dict[str, str] = {}
    for text in " ".join(texts).split():
        olds, sign, new = text.partition("=")
        if not sign or not new or not all(olds.split(",")):
            raise BadInput(f"'{text}' is not of the form OLD,OLD=NEW", where="--map")
        for old in olds.split(","):
            if rules.setdefault(old, new) != new:
                raise BadInput(f"class '{old}' is mapped twice", where="--map")
    return rules


def regrouped(found: Found, texts: Sequence[str]) -> Found:
    """`found` with its classes renamed and united; a class mapped to `-` is left out.

    A class without a rule keeps its name. Rules for classes that no image has are accepted where
    every class that there is has a rule, and noted. A new class is malignant if all that went into
    it was, or if its name says so; `BadInput` where malignant and benign would be mixed silently.
    """
    rules = parse_map(texts)
    if not rules:
        return found
    absent = [old for old in rules if old not in found.classes]
    if absent and not rules.keys() >= set(found.classes):  # a mistyped name would leave one behind
        remedy = nearest(absent[0], found.classes)
        raise BadInput(f"no class '{absent[0]}'", where="--map", remedy=remedy)
    new_of = {c: rules.get(c, c) for c in found.classes}
    rows = found.rows[found.rows["label"].map(new_of) != "-"].reset_index(drop=True)
    rows = rows.assign(source_label=rows["label"], label=rows["label"].map(new_of))
    classes = tuple(dict.fromkeys(n for n in new_of.values() if n != "-"))
    malignant = tuple(c for c in classes if _is_malignant(c, new_of, found))
    dropped = len(found.rows) - len(rows)
    note = "classes regrouped: " + ", ".join(f"{o} -> {n}" for o, n in rules.items())
    return replace(
        found,
        rows=rows,
        classes=tuple(sorted(classes)),
        malignant=malignant,
        expected={},
        notes=(
            *found.notes,
            note,
            *[f"--map: no image is of class {', '.join(map(repr, absent))}"] * bool(absent),
            *[f"{counted(dropped, 'image of a class', 'images of classes')} mapped to - excluded"][
                :dropped
            ],
        ),
        forbidden=(*found.forbidden, "source_label"),
    )


def _is_malignant(new: str, new_of: dict[str, str], found: Found) -> bool:
    parts = [old for old, n in new_of.items() if n == new]
    bad = [old in found.malignant for old in parts]
    if new in malignant_of([new]):
        return True
    if any(bad) and not all(bad):
        raise BadInput(
            f"class '{new}' would mix malignant and benign ({', '.join(parts)})",
            where="--map",
            remedy="choose other groups, or a name such as 'malignant' if that is meant",
        )
    return all(bad)
