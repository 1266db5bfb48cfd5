"""One optimizer step and one stage's inputs: images augmented by the batch, or cached features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionlab.config import Settings, Stage
from lesionlab.data.augment import augment, draw_epoch
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing
from lesionlab.data.randomness import philox, torch_seed
from lesionlab.models.classifier import Classifier
from lesionlab.progress import SILENT, Progress
from lesionlab.training.features import image_logits
from lesionlab.training.losses import loss_of
from lesionlab.training.machine import Machine

Rows = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


class NonFiniteLoss(Exception):
    """The loss of a step was NaN or infinite; nothing was updated but batch-norm statistics."""


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
    stage: Stage
    how: Preprocessing  # at the stage's size
    valid_how: Preprocessing  # at the run's size
    machine: Machine

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
        with self.machine.autocast():
            logits: Tensor = self.network(images)
        return logits.float()

    def valid_logits(self, progress: Progress = SILENT) -> Float32:
        how, machine = self.valid_how, self.machine
        return image_logits(
            self.network, self.valid_pixels, self.valid, how, machine, progress, "validation"
        )


@dataclass
class FeatureInputs:
    """Frozen features of the training part; each slot sees one of the cached views."""

    network: Classifier
    features: Float32  # (views, Nt, D)
    valid_features: Float32  # (1, Nv, D)
    machine: Machine

    def begin_epoch(self, seed: int, stage: int, epoch: int, order: Rows) -> None:
        self.order = order
        generator = philox(seed, "view", stage, epoch)
        self.views = generator.integers(len(self.features), size=len(order))

    def logits(self, slots: Rows) -> Tensor:
        chosen = self.features[self.views[slots], self.order[slots]]
        logits: Tensor = self.network.head(torch.from_numpy(chosen).to(self.machine.device))
        return logits.float()

    def valid_logits(self, progress: Progress = SILENT) -> Float32:
        self.network.eval()
        with torch.inference_mode():
            features = torch.from_numpy(np.array(self.valid_features[0]))
            logits = self.network.head(features.to(self.machine.device))
        result: Float32 = logits.float().cpu().numpy()
        return result


@dataclass(frozen=True)
class StepContext:
    """What every step of a stage shares."""

    settings: Settings
    optimizer: torch.optim.Optimizer
    moving: tuple[torch.nn.Parameter, ...]
    targets: Tensor  # (Nt,) int64, by row of the training part
    weights: Tensor  # (K,) float32
    log_seen: Tensor  # (K,) float32
    scaler: torch.amp.GradScaler


def micro_batches(slots: Rows, size: int) -> Iterator[Rows]:
    """The micro-batches of a step: what batch norm sees. A lone last image joins its neighbours."""
    cuts = list(range(size, len(slots), size))
    if cuts and len(slots) - cuts[-1] == 1:
        cuts.pop()
    yield from np.split(slots, cuts)


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
    the state before it. Raises `NonFiniteLoss` before anything moves.
    """
    context.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for number, part in enumerate(micro_batches(slots, micro)):
        torch.manual_seed(torch_seed(context.settings.seed, "dropout", *place, number))
        logits = inputs.logits(part)
        target = context.targets[torch.from_numpy(order[part]).to(context.targets.device)]
        loss = loss_of(context.settings.loss, logits, target, context.weights, context.log_seen)
        context.scaler.scale(loss / len(slots)).backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if not math.isfinite(total):
        raise NonFiniteLoss
    if context.settings.optim.clip is not None:
        context.scaler.unscale_(context.optimizer)
        torch.nn.utils.clip_grad_norm_(context.moving, context.settings.optim.clip)
    context.scaler.step(context.optimizer)
    context.scaler.update()
    return total


def update_average(
    average: Mapping[str, Tensor], network: torch.nn.Module, decay: float, steps_done: int
) -> None:
    """Exponential moving average of weights; statistics are copied. Warm: min(d, (1+t)/(10+t))."""
    keep = min(decay, (1 + steps_done) / (10 + steps_done))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)
