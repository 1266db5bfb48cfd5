"""One stage made ready: its inputs, optimiser and step numbers, alike in every attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lesionlab.config import Settings, Stage
from lesionlab.data.cache import Pixels
from lesionlab.data.facts import encode
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import freeze, set_mode, trainable_groups
from lesionlab.progress import Progress
from lesionlab.run import FactsCoding
from lesionlab.training.checkpoint import State
from lesionlab.training.features import feature_file
from lesionlab.training.losses import as_tensor, class_weights, implied_prior
from lesionlab.training.lr_finder import chosen_rate, find_rate
from lesionlab.training.machine import Machine
from lesionlab.training.optim import make_optimizer
from lesionlab.training.schedule import group_rates
from lesionlab.training.setup import Parts, preprocessing, stage_pixels
from lesionlab.training.step import FeatureInputs, ImageInputs, Inputs, StepContext

FEATURES = "features"


@dataclass
class Leg:
    """What the steps of one stage share. `steps` are whole batches; `peaks` one rate a group."""

    number: int
    stage: Stage
    inputs: Inputs
    context: StepContext
    moving: tuple[str, ...]  # names of the parameters that move
    batch: int
    micro: int
    steps: int
    peaks: list[float]

    @property
    def total(self) -> int:
        """Optimizer steps of the whole stage."""
        return self.stage.epochs * self.steps


def prepare_leg(
    folder: Path,
    number: int,
    settings: Settings,
    parts: Parts,
    coding: FactsCoding | None,
    network: Classifier,
    machine: Machine,
    state: State,
    progress: Progress,
) -> Leg:
    """Make stage `number` ready for its steps; finds its rate first where that is asked for."""
    stage = settings.stages[number]
    norms = stage.frozen_batch_norm == "train"
    names = freeze(network, stage.trainable, norms)
    groups = trainable_groups(network, stage.trainable, norms)
    inputs = stage_inputs(folder, number, settings, parts, coding, network, machine, progress)
    labels = parts.y[parts.train]
    batch = min(stage.batch_size or settings.batch_size, len(labels))
    micro = batch if stage.cached_views else min(settings.micro_batch, batch)
    micro = state.micro_batches.get(stage.name, micro)

    def context() -> StepContext:
        return _context(settings, parts, network, machine, names, stage)

    if stage.max_lr == "auto" and stage.name not in state.found_rates:
        set_mode(network, stage.trainable, stage.frozen_batch_norm)
        found = find_rate(inputs, context(), labels, number, batch, micro, progress)
        state.found_rates[stage.name] = chosen_rate(found, stage.name)
        progress.say(f"{stage.name}: rate {state.found_rates[stage.name]:.2e} found")
    peaks = group_rates(stage, len(groups), state.found_rates.get(stage.name))
    steps = len(labels) // batch
    return Leg(number, stage, inputs, context(), names, batch, micro, steps, peaks)


def _context(
    settings: Settings,
    parts: Parts,
    network: Classifier,
    machine: Machine,
    names: tuple[str, ...],
    stage: Stage,
) -> StepContext:
    device = machine.device
    parameters = dict(network.named_parameters())
    norms = stage.frozen_batch_norm == "train"
    groups = trainable_groups(network, stage.trainable, norms)
    seen = implied_prior(
        settings.loss.model_copy(update={"class_weights": "none", "logit_adjustment": 0.0}),
        settings.sampling,
        parts.counts,
    )
    return StepContext(
        settings,
        network,
        make_optimizer(settings.optim, network, groups),
        tuple(parameters[n] for n in names),
        torch.from_numpy(parts.y[parts.train]).to(device),
        as_tensor(class_weights(settings.loss, parts.counts), device),
        as_tensor(np.log(seen), device),
        torch.amp.GradScaler(device.split(":")[0], enabled=machine.precision == "float16"),
        machine,
    )


def stage_inputs(
    folder: Path,
    number: int,
    settings: Settings,
    parts: Parts,
    coding: FactsCoding | None,
    network: Classifier,
    machine: Machine,
    progress: Progress,
) -> Inputs:
    """Images, or cached features where the body is frozen and that is asked for."""
    stage, shown = settings.stages[number], preprocessing(settings)
    facts = None if coding is None else encode(parts.dataset.table, coding)
    pixels = stage_pixels(parts, settings, shown.size, progress)
    if stage.cached_views:
        path = folder / FEATURES
        made = [
            feature_file(
                path / f"{number}-{name}.npy",
                network,
                pixels,
                rows,
                shown,
                machine,
                views,
                progress,
            )
            for name, rows, views in (
                ("train", parts.train, stage.cached_views),
                ("valid", parts.valid, 1),
            )
        ]
        return FeatureInputs(network, made[0], made[1], parts.train, parts.valid, facts, machine)
    how = preprocessing(settings, stage.size)
    return ImageInputs(
        network,
        _at_size(pixels, stage, parts, settings, progress),
        pixels,
        parts.train,
        parts.valid,
        facts,
        stage,
        how,
        shown,
        machine,
        _forward(network, settings),
    )


def _at_size(
    pixels: Pixels, stage: Stage, parts: Parts, settings: Settings, progress: Progress
) -> Pixels:
    if stage.size in (None, settings.input.size):
        return pixels
    return stage_pixels(parts, settings, int(stage.size or 0), progress)


def _forward(network: Classifier, settings: Settings) -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(network) if settings.compile else network
    return compiled
