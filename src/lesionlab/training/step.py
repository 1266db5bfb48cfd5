"""One optimizer step and one stage's inputs: images augmented by the batch, or cached features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from lesionlab.array_types import Float32, Rows
from lesionlab.config import Settings, Stage
from lesionlab.data.augment import augment, draw_epoch
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing
from lesionlab.data.randomness import philox, torch_seed
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress
from lesionlab.training.device import Machine
from lesionlab.training.distributed import StatisticsInOrder
from lesionlab.training.features import Features, NetworkInput, image_logits
from lesionlab.training.losses import loss_of


class NonFiniteStep(Exception):
    """The loss or the gradient of a step was NaN or infinite; no weight has moved.

    Batch-norm statistics have: the run goes back to its last checkpoint.
    """

    def __init__(self, what: str, place: tuple[int, ...]) -> None:
        super().__init__(what, place)
        self.what, self.place = what, place


class Inputs(Protocol):
    """What a stage feeds the network. `slots` are places in the epoch's order."""

    def begin_epoch(self, seed: int, stage: int, epoch: int, order: Rows) -> None:
        """Make the epoch's draws."""

    def logits(self, slots: Rows) -> Tensor:
        """(n, K) float32 logits of these slots, with gradients."""

    def valid_logits(self, progress: Progress = SILENT) -> Float32:
        """(Nv, K) float32 logits of the validation part, in eval mode."""


@dataclass
class ImageInputs:
    """Images of the training part, augmented afresh in each epoch."""

    network: Classifier
    pixels: Pixels
    valid_pixels: Pixels
    train: Rows
    valid: Rows
    facts: Float32 | None  # (len(table), F)
    stage: Stage
    how: Preprocessing  # at the stage's size
    valid_how: Preprocessing  # at the run's size
    machine: Machine
    forward: Callable[..., Tensor]  # the network, compiled where that was asked for

    def begin_epoch(self, seed: int, stage: int, epoch: int, order: Rows) -> None:
        self.order = order
        self.draws = draw_epoch(self.stage.augment, seed, stage, epoch, len(order))

    def images(self, slots: Rows) -> Tensor:
        """(n, C, H, W) float32: what the network sees of these slots."""
        pixels = torch.from_numpy(self.pixels.take(self.train[self.order[slots]]))
        pixels = pixels.to(self.machine.device, non_blocking=True)
        return augment(pixels, self.draws[slots], self.how, self.stage.augment.fill)

    def logits(self, slots: Rows) -> Tensor:
        images = self.images(slots)
        facts = on_device(self.facts, self.train[self.order[slots]], self.machine)
        with self.machine.autocast():
            logits = self.forward(images) if facts is None else self.forward(images, facts)
        return logits.float()

    def valid_logits(self, progress: Progress = SILENT) -> Float32:
        ranks = self.machine.ranks
        logits = image_logits(
            self.network,
            NetworkInput(self.valid_pixels, self.valid_how, self.facts),
            ranks.mine(self.valid),
            self.machine,
            progress,
            "validation",
        )
        return ranks.gathered(logits, len(self.valid))


@dataclass
class FeatureInputs:
    """Frozen features of the training part; each slot sees one of the cached views."""

    network: Classifier
    features: Features  # (views, Nt, D)
    valid_features: Features  # (1, Nv, D)
    train: Rows
    valid: Rows
    facts: Float32 | None  # (len(table), F)
    machine: Machine

    def begin_epoch(self, seed: int, stage: int, epoch: int, order: Rows) -> None:
        self.order = order
        generator = philox(seed, "view", stage, epoch)
        self.views = generator.integers(len(self.features.views), size=len(order))

    def logits(self, slots: Rows) -> Tensor:
        chosen = self.features.take(self.views[slots], self.order[slots])
        facts = on_device(self.facts, self.train[self.order[slots]], self.machine)
        embedded = torch.from_numpy(chosen).to(self.machine.device)
        return self.network.classify(embedded, facts).float()

    def whole(self) -> Float32:
        """(Nv, D) of the plain validation images."""
        return self.valid_features.views[0].take(np.arange(len(self.valid)))

    def valid_logits(self, progress: Progress = SILENT) -> Float32:
        self.network.eval()
        with torch.inference_mode():
            features = torch.from_numpy(self.whole())
            facts = on_device(self.facts, self.valid, self.machine)
            logits = self.network.classify(features.to(self.machine.device), facts)
        result: Float32 = logits.float().cpu().numpy()
        return result


def on_device(facts: Float32 | None, rows: Rows, machine: Machine) -> Tensor | None:
    """The facts of these rows of the table, where the network reads any."""
    return None if facts is None else torch.from_numpy(facts[rows]).to(machine.device)


@dataclass(frozen=True)
class StepContext:
    """What every step of a stage shares."""

    settings: Settings
    network: Classifier
    optimizer: torch.optim.Optimizer
    moving: tuple[torch.nn.Parameter, ...]
    targets: Tensor  # (Nt,) int64, by row of the training part
    weights: Tensor  # (K,) float32
    log_seen: Tensor  # (K,) float32
    scaler: torch.amp.GradScaler
    machine: Machine


def micro_batches(slots: Rows, size: int) -> list[Rows]:
    """The micro-batches of a step: what batch norm sees. A lone last image joins its neighbours."""
    cuts = list(range(size, len(slots), size))
    if cuts and len(slots) - cuts[-1] == 1:
        cuts.pop()
    return np.split(slots, cuts)


def do_step(
    inputs: Inputs,
    context: StepContext,
    slots: Rows,
    order: Rows,
    micro: int,
    place: tuple[int, ...],
) -> float:
    """One optimizer step on the images of `slots`; returns the sum of their losses.

    Dropout and drop-path are seeded by place and micro-batch, so a step is a pure function of
    the state before it. Raises `NonFiniteStep` before any weight moves.
    """
    context.optimizer.zero_grad(set_to_none=True)
    total = _accumulate(inputs, context, slots, order, micro, place)
    if not math.isfinite(total):
        raise NonFiniteStep("loss", place)
    _descend(context, place)
    return total


def _accumulate(
    inputs: Inputs,
    context: StepContext,
    slots: Rows,
    order: Rows,
    micro: int,
    place: tuple[int, ...],
) -> float:
    """Gradients of the mean loss over `slots`, of all ranks' micro-batches together."""
    settings, ranks = context.settings, context.machine.ranks
    parts = micro_batches(slots, micro)
    statistics = StatisticsInOrder(context.network, ranks)
    total = torch.zeros((), dtype=torch.float64, device=context.targets.device)
    for number, part in enumerate(parts):
        if not ranks.deals(number):
            continue
        torch.manual_seed(torch_seed(settings.seed, "dropout", *place, number))
        with statistics.caught():
            logits = inputs.logits(part)
        target = context.targets[torch.from_numpy(order[part]).to(context.targets.device)]
        loss = loss_of(settings.loss, logits, target, context.weights, context.log_seen)
        context.scaler.scale(loss / len(slots)).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    ranks.sum_gradients(context.moving)
    statistics.apply(len(parts))
    return ranks.total(float(total))[0]


def _descend(context: StepContext, place: tuple[int, ...]) -> None:
    """Move the weights, unless a gradient is not finite (float16 lowers its scale instead)."""
    scaler, clip = context.scaler, context.settings.optim.clip
    scaler.unscale_(context.optimizer)
    gradients = [p.grad for p in context.moving if p.grad is not None]
    norm = get_total_norm(gradients)
    if not scaler.is_enabled() and not math.isfinite(float(norm)):
        raise NonFiniteStep("gradient", place)
    if clip is not None:
        clip_grads_with_norm_(context.moving, clip, norm)
    scaler.step(context.optimizer)
    scaler.update()
