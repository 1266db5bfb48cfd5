"""The learning-rate range test: the loss while the rate rises from far too low to far too high.

Smith 2017, arXiv:1506.01186. It moves the network and puts everything back where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.data.randomness import epoch_order
from lesionlab.errors import BadInput
from lesionlab.progress import Progress
from lesionlab.training.optim import set_rates
from lesionlab.training.step import Inputs, NonFiniteStep, StepContext, do_step

LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
SMOOTHING = 0.95  # of the running mean of the loss
BLOWN_UP = 4.0  # times the best loss, both smoothed: the test ends
SETTLED = 5  # steps / 5: before that the running mean is of a few batches, and says little
TOO_FEW = 3  # steps / 3: a curve that ends before that (2e-5) is noise
EPOCH = 10**6  # the test's orders and views come from epochs that no training reaches


@dataclass(frozen=True)
class RateCurve:
    """Rates (n,) of the last group, losses (n,) smoothed, and what they suggest.

    `suggestions`: "steepest", "minimum_10", "valley", "plateau"; None where the curve has none.
    `fault` says why the test ended too early for any; empty where it did not.
    """

    rates: Floats
    losses: Floats
    suggestions: dict[str, float | None]
    fault: str = ""


def find_rate(
    inputs: Inputs,
    context: StepContext,
    labels: Ints,
    number: int,
    batch: int,
    micro: int,
    progress: Progress,
    steps: int = STEPS,
) -> RateCurve:
    """Run the test for a stage; the network is afterwards as it was.

    All groups get the same rate. `context` holds an optimiser of its own, used up here.
    """
    network, settings = context.network, context.settings
    before = {k: v.clone() for k, v in network.state_dict().items()}
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    groups = 1 + max(int(part["block"]) for part in context.optimizer.param_groups)
    losses: list[float] = []
    finite = True
    source = _batches(inputs, context, labels, number, batch)
    try:
        for step in progress(range(steps), "learning rate range test", steps):
            slots, order, epoch = next(source)
            set_rates(
                context.optimizer, [1.0] * groups, float(rates[step]), settings.optim.plain_momentum
            )
            place = (number, EPOCH + epoch, step)
            losses.append(do_step(inputs, context, slots, order, micro, place) / batch)
            if blown_up(smoothed(np.array(losses)), steps):
                break
    except NonFiniteStep:
        finite = False  # the rate was too high: the curve ends here
    finally:
        network.load_state_dict(before)
    curve = _curve(rates, losses, finite)
    if curve.fault:
        progress.say(f"no learning rate is suggested: {curve.fault}")
    return curve


def _curve(rates: Floats, losses: list[float], finite: bool) -> RateCurve:
    """The smoothed curve. One that ended too early suggests nothing: all its places are noise."""
    smooth = smoothed(np.array(losses))
    tested = rates[: len(smooth)]
    fault = _fault(len(smooth), len(rates), finite)
    found = suggest(tested[:0], smooth[:0]) if fault else suggest(tested, smooth)
    return RateCurve(tested, smooth, found, fault)


def _fault(ended: int, steps: int, finite: bool) -> str:
    """Why a curve of `ended` of `steps` steps can say nothing, or ""."""
    if not ended:
        return "the loss is not finite even at the lowest learning rate"
    if ended >= steps / TOO_FEW:
        return ""
    if not finite:
        return f"the loss is not finite after {ended} of {steps} steps"
    return f"too noisy: ended after {ended} of {steps} steps; use a larger batch"


def blown_up(losses: Floats, steps: int) -> bool:
    """Whether the smoothed loss has left its minimum far behind.

    One batch says nothing: of a network already fitted, one image in a hundred holds the loss.
    """
    settled = losses[steps // SETTLED :]
    return len(settled) > 0 and bool(settled[-1] > BLOWN_UP * settled.min())


def chosen_rate(curve: RateCurve, stage: str, number: int) -> float:
    """What "auto" takes: the valley, else a tenth of the rate of the lowest loss.

    `number` is the stage's place in the recipe.
    """
    rate = curve.suggestions["valley"] or curve.suggestions["minimum_10"]
    if rate is None:
        raise BadInput(
            f"stage '{stage}': {curve.fault or 'the loss does not fall at any learning rate'}",
            where="max_lr = 'auto'",
            remedy=f"give a learning rate: --set stages.{number}.max_lr=1e-3",
        )
    return rate


def _batches(
    inputs: Inputs, context: StepContext, labels: Ints, number: int, batch: int
) -> Iterator[tuple[Ints, Ints, int]]:
    """(slots, order, epoch) without end, whole batches."""
    settings, epoch = context.settings, 0
    while True:
        balanced = settings.sampling == "balanced"
        order = epoch_order(settings.seed, number, EPOCH + epoch, labels, balanced)
        inputs.begin_epoch(settings.seed, number, EPOCH + epoch, order)
        for start in range(0, len(order) - batch + 1, batch):
            yield np.arange(start, start + batch), order, epoch
        epoch += 1


def smoothed(losses: Floats) -> Floats:
    """The running mean, corrected for its start (as Adam's moments are)."""
    mean, result = 0.0, []
    for n, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss)
        result.append(mean / (1 - SMOOTHING**n))
    return np.array(result)


def suggest(rates: Floats, losses: Floats) -> dict[str, float | None]:
    """What the curve suggests, by four customs; None where it is too short or never falls.

    A place at an end of the curve, or outside it, is where the test stopped: no suggestion.

    >>> rates = np.geomspace(1e-6, 1, 61)
    >>> losses = 1 - 0.5 / (1 + (1e-3 / rates)) + rates**2
    >>> found = suggest(rates, losses)
    >>> bool(1e-4 < found["steepest"] < 1e-2), bool(found["valley"] < found["minimum_10"] * 10)
    (True, True)
    """
    names = ("steepest", "minimum_10", "valley", "plateau")
    if len(losses) < 5:
        return dict.fromkeys(names)
    lowest = int(np.argmin(losses))
    slope = np.gradient(losses, np.log10(rates))
    falling = slope[: lowest + 1]
    places: tuple[int | None, ...] = (
        int(np.argmin(falling)) if lowest and falling.min() < 0 else None,
        _valley(losses),
        _plateau(losses, slope),
    )
    steepest, valley, plateau = (None if i is None else float(rates[i]) for i in places)
    found = (steepest, float(rates[lowest]) / 10, valley, plateau)
    inside = (r if r is not None and rates[0] < r < rates[-1] else None for r in found)
    return dict(zip(names, inside, strict=True))


def _valley(losses: Floats) -> int | None:
    """The middle of the longest descent: the longest falling subsequence of the curve.

    The custom of fastai 2, which takes the middle third's middle.
    """
    length, before = np.ones(len(losses), int), np.full(len(losses), -1)
    for i in range(1, len(losses)):
        higher = np.flatnonzero(losses[:i] > losses[i])
        if len(higher):
            best = higher[np.argmax(length[higher])]
            length[i], before[i] = length[best] + 1, best
    end = int(np.argmax(length))
    if length[end] < 3:
        return None
    start = end
    while before[start] >= 0:
        start = int(before[start])
    return (start + end) // 2


def _plateau(losses: Floats, slope: Floats) -> int | None:
    """Where the last flat stretch before the loss blows up begins (to be judged by eye in S4).

    Flat: less than a tenth of the curve's range a decade.
    """
    lowest = int(np.argmin(losses))
    span = float(losses[: lowest + 1].max() - losses[lowest]) or math.inf
    flat = np.abs(slope) < 0.1 * max(span, 0.01 * float(losses[lowest]))
    late = np.flatnonzero(losses[lowest:] > losses[lowest] + 0.1 * min(span, float(losses[0])))
    end = lowest + int(late[0]) if len(late) else len(losses)
    runs = [r for r in _runs(flat[:end]) if r[1] - r[0] >= 3]
    return runs[-1][0] if runs else None


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
