"""Every check on every method, for one network: the numbers behind the page's table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lesionlab.data.masks import LesionMasks
from lesionlab.evaluation.evaluate import plain
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation import faithfulness
from lesionlab.explanation.attribution import integrated
from lesionlab.explanation.cam import places
from lesionlab.explanation.localisation import REFERENCES, pointing, share_inside
from lesionlab.explanation.methods import BATCH, METHODS, Float32, Ints, Subject, maps_of
from lesionlab.explanation.randomise import (
    CONTROL,
    Sanity,
    judged,
    randomised,
    relabelled,
    similarity,
)
from lesionlab.explanation.statistics import hit_measure, mean_measure, rank_correlation
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress

ENLARGED = ("cam", "gradcam")  # maps of a layer's few places
FEWEST_PLACES = 3  # a side: the highest point of an enlarged 2 x 2 map is always in a corner
POINTING = ("pointing", "pointing_shuffled", "pointing_gain")
CHUNK = 64  # images whose maps are in memory at once
Labels = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What is asked: `rows` of the table, the class of each, its group, and the masks.

    The dear checks use the first `checks` rows only. `known` is (n, D) what the head sees of
    some training images with their labels: for the check with permuted labels.
    """

    rows: Ints
    target: Ints
    groups: Labels
    classes: int
    masks: LesionMasks | None = None
    checks: int = 32
    known: tuple[Float32, Ints] | None = None
    seed: int = 0

    @property
    def few(self) -> tuple[Ints, Ints, Labels]:
        """Rows, classes and groups of the dear checks."""
        return self.rows[: self.checks], self.target[: self.checks], self.groups[: self.checks]


@dataclass(frozen=True)
class Row:
    """What is known of one method (or reference); None: not asked, or it does not apply."""

    name: str
    reference: bool = False
    signed: bool = True
    pointing: Measure | None = None
    share: Measure | None = None
    pointing_shuffled: Measure | None = None  # of the wholly shuffled network, on the few
    pointing_gain: Measure | None = None  # trained less shuffled, on the few
    share_gain: Measure | None = None
    insertion: Measure | None = None
    deletion: Measure | None = None
    insertion_gain: Measure | None = None  # less that of the reference "centre"
    stability: Measure | None = None
    sanity: Sanity | None = None
    completeness_gap: Measure | None = None  # |sum - difference| / |difference|
    milliseconds: float | None = None  # an image
    places: tuple[int, int] | None = None  # of the layer's map, where that is enlarged

    def to_json(self) -> dict[str, Any]:
        """A JSON object, NaN as null."""
        found: dict[str, Any] = plain(vars(self) | {"sanity": None})
        if self.sanity is not None:
            found["sanity"] = plain(vars(self.sanity))
        return found


@dataclass
class _Gathered:
    """Values by image, chunk by chunk."""

    pointing: list[Floats] = field(default_factory=list)
    share: list[Floats] = field(default_factory=list)

    def add(self, maps: Float32, masks: npt.NDArray[np.bool_]) -> None:
        self.pointing.append(pointing(maps, masks))
        self.share.append(share_inside(maps, masks))

    def measures(self, groups: Labels) -> dict[str, Any]:
        if not self.pointing:
            return {}
        return {
            "pointing": hit_measure(np.concatenate(self.pointing), groups),
            "share": mean_measure(np.concatenate(self.share), groups),
        }


def study(
    subject: Subject, names: Sequence[str], asked: Question, progress: Progress = SILENT
) -> list[Row]:
    """One row for each reference, then one for each method of `names`."""
    few = asked.few[0]
    others = randomised(subject, few, asked.seed)
    by_labels = None
    if asked.known is not None:
        embedded, labels = asked.known
        by_labels = relabelled(subject.network, embedded, labels, asked.classes, asked.seed)
    base, centre = _references(subject, asked, progress)
    rows = [_method(subject, name, asked, others, by_labels, centre, progress) for name in names]
    return [*base, *rows]


def _references(subject: Subject, asked: Question, progress: Progress) -> tuple[list[Row], Floats]:
    """The rows of the references, and the insertion score of "centre" on the few."""
    found, scores = [], {}
    few = asked.few[0]
    for name, make in REFERENCES.items():
        gathered = _Gathered()
        for i in range(0, len(asked.rows), CHUNK):
            rows = asked.rows[i : i + CHUNK]
            if asked.masks is not None:
                gathered.add(make(len(rows), subject.how.size), asked.masks.take(rows))
        maps = make(len(few), subject.how.size)
        measures, scores[name] = _curves(subject, name, maps, asked, None, progress)
        measures |= gathered.measures(asked.groups)
        found.append(Row(name, reference=True, **measures))
    return found, scores["centre"]


def _curves(
    subject: Subject,
    name: str,
    maps: Float32,
    asked: Question,
    centre: Floats | None,
    progress: Progress,
) -> tuple[dict[str, Any], Floats]:
    rows, target, groups = asked.few
    found = faithfulness.curves(subject, maps, rows, target, progress, f"{name}, insertion")
    score = found.insertion_score
    result: dict[str, Any] = {
        "insertion": mean_measure(score, groups),
        "deletion": mean_measure(found.deletion_score, groups),
    }
    if centre is not None:
        result["insertion_gain"] = mean_measure(score - centre, groups)
    return result, score


def _method(
    subject: Subject,
    name: str,
    asked: Question,
    others: Mapping[str, Classifier],
    by_labels: tuple[Classifier, Classifier] | None,
    centre: Floats,
    progress: Progress,
) -> Row:
    start = time.perf_counter()
    gathered, first = _Gathered(), []
    for i in range(0, len(asked.rows), CHUNK):
        rows, target = asked.rows[i : i + CHUNK], asked.target[i : i + CHUNK]
        maps = maps_of(subject, name, rows, target, progress=progress)
        if i < asked.checks:
            first.append(maps[: asked.checks - i])
        if asked.masks is not None:
            gathered.add(maps, asked.masks.take(rows))
    seconds = time.perf_counter() - start
    few = np.concatenate(first)
    measures = {
        **gathered.measures(asked.groups),
        **_curves(subject, name, few, asked, centre, progress)[0],
        **_shuffled(subject, name, few, asked, others, by_labels, progress),
        **_shifted(subject, name, few, asked, progress),
    }
    grid = _places(subject, asked.rows[:1]) if name in ENLARGED else None
    if grid is not None and min(grid) < FEWEST_PLACES:
        measures |= dict.fromkeys(POINTING)
    milliseconds = 1000 * seconds / len(asked.rows)
    signed = METHODS[name].signed
    return Row(name, signed=signed, milliseconds=milliseconds, places=grid, **measures)


def _places(subject: Subject, rows: Ints) -> tuple[int, int]:
    return places(subject.network, subject.images(subject.views(rows)), subject.known(rows))


def _shuffled(
    subject: Subject,
    name: str,
    few: Float32,
    asked: Question,
    others: Mapping[str, Classifier],
    by_labels: tuple[Classifier, Classifier] | None,
    progress: Progress,
) -> dict[str, Any]:
    """The randomisation checks, and where the shuffled network's maps point."""
    rows, target, groups = asked.few
    found, kept = similarity(subject, name, few, dict(others), rows, target, groups, progress)
    labels = None
    if by_labels is not None:
        pair = [
            maps_of(subject, name, rows, target, network=n, progress=progress, title=t)
            for n, t in zip(by_labels, (f"{name}, true labels", f"{name}, permuted"), strict=True)
        ]
        labels = mean_measure(rank_correlation(*pair), groups)
    result: dict[str, Any] = {"sanity": judged(found, labels)}
    if asked.masks is None:
        return result
    masks, wild = asked.masks.take(rows), kept["all"]
    base = kept.get(CONTROL, few)
    there = pointing(wild, masks)
    return result | {
        "pointing_shuffled": hit_measure(there, groups),
        "pointing_gain": mean_measure(pointing(base, masks) - there, groups),
        "share_gain": mean_measure(share_inside(base, masks) - share_inside(wild, masks), groups),
    }


def _shifted(
    subject: Subject, name: str, few: Float32, asked: Question, progress: Progress
) -> dict[str, Any]:
    rows, target, groups = asked.few
    found = faithfulness.stability(subject, name, few, rows, target, progress)
    result = {"stability": mean_measure(found, groups)}
    if name == "integrated_gradients":
        gaps = completeness(subject, rows, target)
        result["completeness_gap"] = mean_measure(gaps, groups)
    return result


def completeness(subject: Subject, rows: Ints, target: Ints) -> Floats:
    """(n,) how far integrated gradients miss their sum, as a share of it."""
    gaps = []
    for i in range(0, len(rows), BATCH):
        some = rows[i : i + BATCH]
        images = subject.images(subject.views(some))
        classes = torch.from_numpy(target[i : i + BATCH]).to(subject.device)
        found, gap = integrated(subject.network, images, classes, subject.known(some))
        whole = found.sum((1, 2, 3)) - gap
        gaps.append((gap / whole).abs().double().cpu().numpy())
    return np.concatenate(gaps)
