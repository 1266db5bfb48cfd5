"""Every check on every method, for one network: the numbers behind the page's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Float32, Floats, Ints, Labels
from lesionlab.data.masks import LesionMasks
from lesionlab.evaluation.evaluate import plain
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation import completeness, faithfulness
from lesionlab.explanation.cam import places
from lesionlab.explanation.localisation import REFERENCES, pointing, share_inside
from lesionlab.explanation.methods import METHODS, ExplainedNetwork, maps_of
from lesionlab.explanation.offset import place_offset
from lesionlab.explanation.randomise import DRAWS, EVERYTHING, randomised, relabelled
from lesionlab.explanation.sanity import (
    Sanity,
    alike,
    judged,
    label_similarity,
    similarity,
)
from lesionlab.explanation.statistics import (
    SHARE,
    SIGNED,
    constant,
    hit_measure,
    known_mean,
    mean_measure,
)
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress

ENLARGED = ("cam", "gradcam")  # maps of a layer's few places
MINIMUM_PLACES = 3  # a side: the highest point of an enlarged 2 x 2 map is always in a corner
POINTING = ("pointing", "pointing_shuffled", "pointing_gain")
CHUNK = 64  # images whose maps are in memory at once


@dataclass(frozen=True)
class Question:
    """What is asked: `rows` of the table, the class of each, its group, and the masks.

    The dear checks use the first `checks` rows only. `known` is (n, D) what the head sees of
    some training images with their labels: for the check with permuted labels. `draws` is how
    often everything is shuffled, and the labels permuted.
    """

    rows: Ints
    target: Ints
    groups: Labels
    classes: int
    masks: LesionMasks | None = None
    checks: int = 32
    known: tuple[Float32, Ints] | None = None
    seed: int = 0
    draws: int = DRAWS

    @property
    def few(self) -> tuple[Ints, Ints, Labels]:
        """Rows, classes and groups of the dear checks."""
        return self.rows[: self.checks], self.target[: self.checks], self.groups[: self.checks]


@dataclass(frozen=True)
class MethodRow:
    """What is known of one method (or reference); None: not asked, or it does not apply.

    What is "of the wholly shuffled network" is the mean over its draws.
    """

    name: str
    reference: bool = False
    signed: bool = True
    class_specific: bool = True
    maps: int = 0  # how many were made ...
    constant: int = 0  # ... and how many of them are the same everywhere
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
    completeness_gap: Measure | None = None  # sum of |sum - difference| / sum of |difference|
    complete: bool | None = None  # whether that is at most `completeness.COMPLETE`
    steps: int | None = None  # of integrated gradients
    milliseconds: float | None = None  # an image, without reading its pixels
    places: tuple[int, int] | None = None  # of the layer's map, where that is enlarged

    def to_json(self) -> dict[str, Any]:
        """A JSON object, NaN as null."""
        found: dict[str, Any] = plain(vars(self) | {"sanity": None})
        if self.sanity is not None:
            found["sanity"] = plain(self.sanity.to_json())
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
            "share": mean_measure(np.concatenate(self.share), groups, SHARE),
        }


def study(
    subject: ExplainedNetwork, names: Sequence[str], asked: Question, progress: Progress = SILENT
) -> list[MethodRow]:
    """One row for each reference, then one for each method of `names`."""
    heads: tuple[Classifier, ...] = ()
    if asked.known is not None:
        heads = relabelled(subject.network, *asked.known, asked.classes, asked.seed, asked.draws)
    base, centre = _references(subject, asked, progress)
    rows = [_method(subject, name, asked, heads, centre, progress) for name in names]
    return [*base, *rows]


def prepared(
    subject: ExplainedNetwork, names: Sequence[str], asked: Question, progress: Progress = SILENT
) -> ExplainedNetwork:
    """The subject with what some methods must know first, where they are asked for.

    That is how many steps integrated gradients need, and where the places of enlarged maps lie.
    """
    rows, target, _ = asked.few
    if completeness.NAME in names:
        subject = completeness.with_enough_steps(subject, rows, target, progress)
    if any(name in ENLARGED for name in names):
        _, channels, height, width = subject.images(subject.views(rows[:1])).shape
        offset = place_offset(subject.network, (channels, height, width))
        subject = replace(subject, offset=offset)
    return subject


def _references(
    subject: ExplainedNetwork, asked: Question, progress: Progress
) -> tuple[list[MethodRow], Floats]:
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
        found.append(MethodRow(name, reference=True, **measures))
    return found, scores["centre"]


def _curves(
    subject: ExplainedNetwork,
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
        "insertion": mean_measure(score, groups, SHARE),
        "deletion": mean_measure(found.deletion_score, groups, SHARE),
    }
    if centre is not None:
        result["insertion_gain"] = mean_measure(score - centre, groups, SIGNED)
    return result, score


@dataclass
class _Made:
    """What the maps of all rows told, chunk by chunk: only those of the few are kept."""

    masked: _Gathered = field(default_factory=_Gathered)
    few: list[Float32] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    constant: int = 0


def _made(subject: ExplainedNetwork, name: str, asked: Question, progress: Progress) -> _Made:
    made = _Made()
    for i in range(0, len(asked.rows), CHUNK):
        rows, target = asked.rows[i : i + CHUNK], asked.target[i : i + CHUNK]
        maps = maps_of(subject, name, rows, target, progress=progress, seconds=made.seconds)
        made.constant += int(constant(maps).sum())
        if i < asked.checks:
            made.few.append(maps[: asked.checks - i])
        if asked.masks is not None:
            made.masked.add(maps, asked.masks.take(rows))
    return made


def _method(
    subject: ExplainedNetwork,
    name: str,
    asked: Question,
    heads: Sequence[Classifier],
    centre: Floats,
    progress: Progress,
) -> MethodRow:
    made, n = _made(subject, name, asked, progress), len(asked.rows)
    few = np.concatenate(made.few)
    measures = {
        **made.masked.measures(asked.groups),
        **_curves(subject, name, few, asked, centre, progress)[0],
        **_shuffled(subject, name, few, asked, heads, made.constant / n, progress),
        **_shifted(subject, name, few, asked, progress),
        **(_added_up(subject, few, asked) if name == completeness.NAME else {}),
    }
    grid = _places(subject, asked.rows[:1]) if name in ENLARGED else None
    if grid is not None and min(grid) < MINIMUM_PLACES:
        measures |= dict.fromkeys(POINTING)
    return MethodRow(
        name,
        signed=METHODS[name].signed,
        class_specific=METHODS[name].class_specific,
        maps=n,
        constant=made.constant,
        milliseconds=1000 * sum(made.seconds) / n,
        places=grid,
        **measures,
    )


def _places(subject: ExplainedNetwork, rows: Ints) -> tuple[int, int]:
    return places(subject.network, subject.images(subject.views(rows)), subject.known(rows))


def _shuffled(
    subject: ExplainedNetwork,
    name: str,
    few: Float32,
    asked: Question,
    heads: Sequence[Classifier],
    constants: float,
    progress: Progress,
) -> dict[str, Any]:
    """The randomisation checks, and where the shuffled networks' maps point."""
    rows, target, groups = asked.few
    pointed = _Pointed(None if asked.masks is None else asked.masks.take(rows))
    others = randomised(subject, rows, asked.seed, asked.draws)
    found = similarity(subject, name, few, others, rows, target, progress, pointed.see)
    labels = None
    if heads and METHODS[name].class_specific:
        labels = alike(label_similarity(subject, name, heads, rows, target, progress), groups)
    levels = {level: alike(values, groups) for level, values in found.items()}
    return {"sanity": judged(levels, labels, constants), **pointed.measures(groups)}


@dataclass
class _Pointed:
    """Where the maps of the wholly shuffled networks point, draw by draw, and gains over them."""

    masks: npt.NDArray[np.bool_] | None
    there: list[Floats] = field(default_factory=list)
    gain: list[Floats] = field(default_factory=list)
    share: list[Floats] = field(default_factory=list)

    def see(self, level: str, base: Float32, wild: Float32) -> None:
        if self.masks is None or level != EVERYTHING:
            return
        there = pointing(wild, self.masks)
        self.there.append(there)
        self.gain.append(pointing(base, self.masks) - there)
        self.share.append(share_inside(base, self.masks) - share_inside(wild, self.masks))

    def measures(self, groups: Labels) -> dict[str, Any]:
        if self.masks is None:
            return {}
        return {
            "pointing_shuffled": hit_measure(known_mean(self.there), groups),
            "pointing_gain": mean_measure(known_mean(self.gain), groups, SIGNED),
            "share_gain": mean_measure(known_mean(self.share), groups, SIGNED),
        }


def _shifted(
    subject: ExplainedNetwork, name: str, few: Float32, asked: Question, progress: Progress
) -> dict[str, Any]:
    rows, target, groups = asked.few
    found = faithfulness.stability(subject, name, few, rows, target, progress)
    return {"stability": mean_measure(found, groups, SIGNED)}


def _added_up(subject: ExplainedNetwork, few: Float32, asked: Question) -> dict[str, Any]:
    rows, target, groups = asked.few
    found = completeness.gaps(subject, few, rows, target)
    return {
        "completeness_gap": found.measured(groups),
        "complete": found.complete,
        "steps": subject.steps,
    }
