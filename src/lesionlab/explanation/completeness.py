"""Do integrated gradients add up? They must sum to what the picture changes, else take more steps.

Sundararajan et al. (ICML 2017) ask for a gap within 5 % and for more steps until it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from lesionlab.array_types import Float32, Floats, Ints, Labels
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation.evidence import evidence
from lesionlab.explanation.methods import BATCH, ExplainedNetwork, maps_of
from lesionlab.explanation.statistics import ratio_measure
from lesionlab.progress import SILENT, Progress

NAME = "integrated_gradients"
COMPLETE = 0.05  # sum of the gaps, as a share of the sum of what they should be
MOST_STEPS = 192  # 8 times the usual


@dataclass(frozen=True)
class Gaps:
    """(n,) `gap`, how far each map misses its sum, and `whole`, the size of that sum."""

    gap: Floats
    whole: Floats

    @property
    def complete(self) -> bool | None:
        """Whether the gaps are at most `COMPLETE` of the whole; None where there is nothing."""
        total = float(self.whole.sum())
        return float(self.gap.sum()) <= COMPLETE * total if total > 0 else None

    def measured(self, groups: Labels) -> Measure:
        """The sum of the gaps as a share of the whole."""
        return ratio_measure(self.gap, self.whole, groups)


@torch.no_grad()
def gaps(subject: ExplainedNetwork, maps: Float32, rows: Ints, target: Ints) -> Gaps:
    """Of integrated gradients `maps (n, H, W)`: against two forward passes."""
    subject.network.eval()
    differences = []
    for i in range(0, len(rows), BATCH):
        some = rows[i : i + BATCH]
        images, facts = subject.images(subject.views(some)), subject.known(some)
        classes = torch.from_numpy(target[i : i + BATCH]).to(subject.device)
        there, base = (
            evidence(subject.network(x, facts), classes) for x in (images, torch.zeros_like(images))
        )
        differences.append((there - base).double().cpu().numpy())
    whole = np.concatenate(differences)
    return Gaps(np.abs(maps.sum((1, 2), dtype=np.float64) - whole), np.abs(whole))


def with_enough_steps(
    subject: ExplainedNetwork, rows: Ints, target: Ints, progress: Progress = SILENT
) -> ExplainedNetwork:
    """The subject with its steps doubled until the maps of `rows` are complete, or `MOST_STEPS`.

    All images of a network get the same number, so that no map depends on its batch.
    """
    while subject.steps < MOST_STEPS:
        maps = maps_of(subject, NAME, rows, target, progress=progress, title=f"{NAME}, steps")
        if gaps(subject, maps, rows, target).complete is not False:
            break
        subject = dataclasses.replace(subject, steps=min(2 * subject.steps, MOST_STEPS))
    return subject
