"""The rows that several models share, in one order, whatever each table calls image and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lesionlab.data.id_matching import IdMatch, match_ids
from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.class_words import in_classes, same_classes
from lesionlab.evaluation.predictions import Predictions


@dataclass(frozen=True)
class PairedRows:
    """The labelled rows of every model in the order of the first, and what was left out or read."""

    rows: tuple[Predictions, ...]
    unlabelled: int
    notes: tuple[str, ...]


def paired_rows(
    models: Sequence[tuple[str, Predictions]], matching_only: bool = False
) -> PairedRows:
    """Bring models into the rows and classes of the first; ids match by `match_ids`.

    With `matching_only` the images that not every model predicted are left out and counted.
    Raises `BadInput` where names repeat, or the images, classes, groups or labels differ.
    """
    if len(models) < 2:
        raise BadInput("a comparison needs two models", remedy="give a second one")
    names = [name for name, _ in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are called '{max(names, key=names.count)}'")
    (first_name, first), others = models[0], models[1:]
    matches = [match_ids(first.image_id.tolist(), p.image_id.tolist()) for _, p in others]
    shared = np.all([m.found for m in matches], axis=0)
    if not matching_only:
        for (name, other), match in zip(others, matches, strict=True):
            _refuse_unshared(first, other, match, f"'{name}' against '{first_name}'")
    if not shared.any():
        raise BadInput("no image is shared by all tables", where=first_name)
    kept = np.flatnonzero(first.is_labelled & shared)
    if not len(kept):
        raise BadInput("no image has a label", where=first_name, remedy="add a column 'label'")
    rows, notes = [first.take(kept)], _left_out(first_name, len(first) - int(shared.sum()))
    for (name, other), match in zip(others, matches, strict=True):
        where = f"'{name}' against '{first_name}'"
        turned, read = _in_classes_of(rows[0], other.take(match.places[kept]), where)
        rows.append(_with_truth_of(rows[0], turned, where))
        notes += _left_out(name, len(other) - int(shared.sum()))
        notes += [f"{name}: {note}" for note in (*match.notes(), *read)]
    return PairedRows(tuple(rows), int((shared & ~first.is_labelled).sum()), tuple(notes))


def _left_out(name: str, rows: int) -> list[str]:
    alone = counted(rows, "image that is", "images that are")
    return [f"{name}: {alone} not in every table and left out"] * (rows > 0)


def _refuse_unshared(whole: Predictions, other: Predictions, match: IdMatch, where: str) -> None:
    missing = whole.image_id[~match.found]
    extra = len(other) - int(match.found.sum())
    if len(missing) or extra:
        what = f"{len(missing)} image(s) are missing ('{missing[0]}' ...)" if len(missing) else ""
        more = f"{extra} image(s) are not shared" if extra else ""
        only = "" if not match.found.any() else ", or compare the shared ones: --matching-only"
        raise BadInput(
            "; ".join(filter(None, (what, more))),
            where=where,
            remedy=f"predict the same images with both models{only}",
        )


def _in_classes_of(
    wanted: Predictions, other: Predictions, where: str
) -> tuple[Predictions, list[str]]:
    """The other model's columns and labels in the order of the wanted classes."""
    turned = in_classes(other, wanted.classes)
    if turned is None:
        raise BadInput(
            f"the classes differ ({', '.join(other.classes)} and {', '.join(wanted.classes)})",
            where=where,
        )
    words = same_classes(other.classes, wanted.classes) or {}
    return turned, [f"class '{a}' is '{b}'" for a, b in words.items() if a != b]


def _with_truth_of(wanted: Predictions, other: Predictions, where: str) -> Predictions:
    differ = np.flatnonzero((other.y_true != wanted.y_true) & other.is_labelled)
    if len(differ):
        raise BadInput(
            f"'{wanted.image_id[differ[0]]}' and {len(differ) - 1} more carry other labels",
            where=where,
            remedy="use one truth for both",
        )
    return replace(wanted, y_prob=other.y_prob, logits=None)
