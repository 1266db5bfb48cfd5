"""Rates as pure functions of the step: resuming needs no scheduler state."""

from __future__ import annotations

import math

from lesionlab.config import Stage

START, END = 1 / 25, 1e-5  # of the peak, at both ends of the cycle
PLATEAU_EPOCHS, PLATEAU_FACTOR = 5, 0.1  # without a better monitor; then the rate falls
MOMENTUM = (0.95, 0.85)  # falls while the rate rises (Smith 2018, arXiv:1803.09820)


def group_rates(stage: Stage, groups: int, found: float | None = None) -> list[float]:
    """Peak rate of each group from stem to head: one value, or a geometric spread.

    `(1e-4, 1e-5)` gives the first group 1e-4 and the head 1e-5, as written; the usual practice
    is the other way round. A single group is the head.

    >>> [f"{r:.0e}" for r in group_rates(Stage(name="s", epochs=1, max_lr=(1e-5, 1e-3)), 3)]
    ['1e-05', '1e-04', '1e-03']
    """
    if stage.max_lr == "auto":
        if found is None:
            raise ValueError("max_lr = 'auto' needs the learning rate from the range test")
        return [found] * groups
    if isinstance(stage.max_lr, tuple):
        first, last = stage.max_lr
        if groups == 1:
            return [last]
        return [first * (last / first) ** (i / (groups - 1)) for i in range(groups)]
    return [float(stage.max_lr)] * groups


def rate_factor(schedule: str, step: int, total: int, warmup: float) -> float:
    """Fraction of the peak rate at `step` of `total` (0-based).

    >>> [round(rate_factor("one_cycle", s, 101, 0.25), 3) for s in (0, 25, 100)]
    [0.04, 1.0, 0.0]
    """
    if schedule in ("constant", "plateau"):
        return 1.0
    place = step / max(total - 1, 1)
    if schedule == "cosine":
        return _cosine(1.0, END, place)
    if place < warmup:
        return _cosine(START, 1.0, place / warmup)
    return _cosine(1.0, END, (place - warmup) / (1 - warmup))


def momentum(schedule: str, step: int, total: int, warmup: float, plain: float) -> float:
    """Momentum (Adam's beta1) at `step`: the mirror of the rate in one-cycle, else constant."""
    if schedule != "one_cycle":
        return plain
    place = step / max(total - 1, 1)
    high, low = MOMENTUM
    if place < warmup:
        return _cosine(high, low, place / warmup)
    return _cosine(low, high, (place - warmup) / (1 - warmup))


def _cosine(start: float, end: float, place: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * place)) / 2
