"""The verdict of the randomisation checks: how alike a method's maps stay, over several draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lesionlab.array_types import Float32, Floats, Ints, Labels
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation.methods import ExplainedNetwork, maps_of
from lesionlab.explanation.randomise import CONTROL, EVERYTHING
from lesionlab.explanation.statistics import (
    SIGNED,
    known_mean,
    mean_measure,
    rank_correlation,
)
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress

ALIKE = 0.5  # mean rank correlation from which on maps are called alike
NO_MAP = 0.5  # share of constant maps above which a method gives none
LABELS = "labels"
Verdict = Literal["passed", "failed", "unknown", "no_map"]
See = Callable[[str, Float32, Float32], None]  # level, its base's maps, its own maps


@dataclass(frozen=True)
class Alike:
    """Mean rank correlation: over all draws with its interval, and of each draw alone.

    A draw without any defined correlation is NaN.
    """

    mean: Measure
    draws: tuple[float, ...]


def alike(correlations: Sequence[Floats], groups: Labels) -> Alike:
    """From the (n,) rank correlations of each draw; an image counts by its mean over the draws."""
    draws = (float(v) for v in known_mean(np.transpose(correlations)))
    return Alike(mean_measure(known_mean(correlations), groups, SIGNED), tuple(draws))


@dataclass(frozen=True)
class Sanity:
    """How alike a method's maps stay: by level of shuffled parameters, and for permuted labels.

    `draws` are the means of the single draws, for the levels that were drawn more than once and
    "labels". `passed` is False where a check fails or there is no map, None where there is too
    little to say.
    """

    parameters: dict[str, Measure]
    labels: Measure | None
    draws: dict[str, tuple[float, ...]]
    verdict: Verdict

    @property
    def passed(self) -> bool | None:
        """Whether the maps can be believed as far as this check goes."""
        return None if self.verdict == "unknown" else self.verdict == "passed"

    def to_json(self) -> dict[str, object]:
        """All fields and `passed`."""
        return {**vars(self), "passed": self.passed}


def judged(parameters: Mapping[str, Alike], labels: Alike | None, constant: float = 0.0) -> Sanity:
    """Passed where maps of the wholly shuffled network, and of permuted labels, are not alike.

    Not alike means: the 95 % interval of the mean rank correlation over all draws lies between
    -`ALIKE` and `ALIKE` (a map that only turns its sign shows the picture too), and so does the
    mean of each draw. With too few groups for an interval nothing is said. `labels` is None for
    a method that is not class-specific: its maps cannot depend on them. `constant` is the share
    of the trained network's maps that are constant; above `NO_MAP` there is no map to judge.
    """
    decisive = [a for a in (parameters.get(EVERYTHING), labels) if a is not None]
    answers = [_differs(a) for a in decisive]
    several = {k: a.draws for k, a in parameters.items() if k == EVERYTHING}
    if labels is not None:
        several[LABELS] = labels.draws
    return Sanity(
        {k: a.mean for k, a in parameters.items()},
        None if labels is None else labels.mean,
        several,
        "no_map" if constant > NO_MAP else _verdict(answers),
    )


def _verdict(answers: Sequence[bool | None]) -> Verdict:
    if False in answers:
        return "failed"
    return "passed" if answers and None not in answers else "unknown"


def _differs(found: Alike) -> bool | None:
    m = found.mean
    if m.low is None or m.high is None:
        return None
    single = [abs(v) < ALIKE for v in found.draws if np.isfinite(v)]
    return m.low > -ALIKE and m.high < ALIKE and all(single)


def similarity(
    subject: ExplainedNetwork,
    name: str,
    maps: Float32,
    others: Iterable[tuple[str, Classifier]],
    rows: Ints,
    target: Ints,
    progress: Progress = SILENT,
    see: See | None = None,
) -> dict[str, list[Floats]]:
    """(n,) rank correlations of maps with those of each other network, by level and draw.

    `CONTROL` is compared with `maps`, every level after it with `CONTROL`. `see` gets each pair
    of maps; none is kept.
    """
    found: dict[str, list[Floats]] = {}
    base = maps
    for level, network in others:
        theirs = maps_of(
            replace(subject, network=network), name, rows, target, progress=progress,
            title=f"{name}, shuffled {level}",
        )  # fmt: skip
        found.setdefault(level, []).append(rank_correlation(base, theirs))
        if see is not None:
            see(level, base, theirs)
        base = theirs if level == CONTROL else base
        del network  # else it would live on while the next one is made
    return found


def label_similarity(
    subject: ExplainedNetwork,
    name: str,
    heads: Sequence[Classifier],
    rows: Ints,
    target: Ints,
    progress: Progress = SILENT,
) -> list[Floats]:
    """(n,) rank correlations of maps under the first head (true labels) with each other's."""
    true, *wrong = heads
    titles = f"{name}, true labels", f"{name}, permuted"

    def maps(network: Classifier, title: str) -> Float32:
        other = replace(subject, network=network)
        return maps_of(other, name, rows, target, progress=progress, title=title)

    base = maps(true, titles[0])
    return [rank_correlation(base, maps(network, titles[1])) for network in wrong]
