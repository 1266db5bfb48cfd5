"""One stage made ready: its inputs, optimiser and step numbers, alike in every attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lesionlab.array_types import Float32, Ints
from lesionlab.config import Settings, Stage
from lesionlab.data.augment import to_input
from lesionlab.data.facts import encode
from lesionlab.data.feature_store import ROOT, can_hold, row_ids
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import freeze, set_mode, trainable_groups
from lesionlab.platforms import keep_memory
from lesionlab.progress import Progress
from lesionlab.run import FactsCoding
from lesionlab.training.batch_norm import reestimate
from lesionlab.training.checkpoint import State
from lesionlab.training.depthwise import quicken
from lesionlab.training.features import Frozen, frozen_features
from lesionlab.training.losses import as_tensor, class_weights, implied_prior
from lesionlab.training.lr_finder import RateCurve, chosen_rate, find_rate
from lesionlab.training.machine import Machine
from lesionlab.training.optim import make_optimizer
from lesionlab.training.schedule import group_rates
from lesionlab.training.setup import Parts, preprocessing, stage_pixels
from lesionlab.training.step import (
    FeatureInputs,
    ImageInputs,
    Inputs,
    StepContext,
)

FEATURES = "features"
NORM_BATCH = 32  # images at once where statistics are measured


@dataclass(frozen=True)
class Materials:
    """What every stage of a run is made of."""

    folder: Path  # of the run
    settings: Settings
    parts: Parts
    coding: FactsCoding | None  # of a network that reads age, sex or site
    network: Classifier
    machine: Machine
    progress: Progress

    @property
    def labels(self) -> Ints:
        """(Nt,) classes of the training part."""
        return self.parts.y[self.parts.train]

    @property
    def facts(self) -> Float32 | None:
        """(len(table), F) of a network that reads facts."""
        return None if self.coding is None else encode(self.parts.dataset.table, self.coding)


@dataclass
class Leg:
    """What the steps of one stage share. `steps` are whole batches; `peaks` one rate a group."""

    number: int
    stage: Stage
    inputs: Inputs
    context: StepContext
    moving: tuple[str, ...] | None  # names that an average has to follow; None: all
    batch: int
    micro: int
    steps: int
    peaks: list[float]

    @property
    def total(self) -> int:
        """Optimizer steps of the whole stage."""
        return self.stage.epochs * self.steps


def prepare_leg(made: Materials, number: int, state: State) -> Leg:
    """Make stage `number` ready for its steps; finds its rate first where that is asked for."""
    stage = made.settings.stages[number]
    norms = stage.frozen_batch_norm == "train"
    names = freeze(made.network, stage.trainable, norms)
    groups = trainable_groups(made.network, stage.trainable, norms)
    inputs = stage_inputs(made, number, state)
    if isinstance(inputs, ImageInputs):
        _reestimate_norms(made, stage, inputs, state)
    batch, micro = batches(made, stage, state)
    if stage.max_lr == "auto" and stage.name not in state.found_rates:
        found = chosen_rate(rate_curve(made, number, inputs, batch, micro), stage.name, number)
        state.found_rates[stage.name] = found
        made.progress.say(f"{stage.name}: rate {found:.2e} found")
    peaks = group_rates(stage, len(groups), state.found_rates.get(stage.name))
    steps = len(made.labels) // batch
    context = step_context(made, stage, names)
    moving = (*names, *_head_statistics(made.network)) if stage.cached_views else None
    return Leg(number, stage, inputs, context, moving, batch, micro, steps, peaks)


def _reestimate_norms(made: Materials, stage: Stage, inputs: ImageInputs, state: State) -> None:
    """The backbone's batch-norm statistics from all training images, before it first trains."""
    wanted = made.settings.reestimate_batch_norm and stage.trainable != "head"
    if not wanted or state.norms_reestimated:
        return
    starts = range(0, len(inputs.train), NORM_BATCH)
    device = made.machine.device

    def images() -> Iterator[Tensor]:
        for i in made.progress(starts, "batch-norm statistics", len(starts)):
            pixels = inputs.pixels.take(inputs.train[i : i + NORM_BATCH])
            yield to_input(torch.from_numpy(pixels).to(device), inputs.how)

    changed = reestimate(made.network, images(), made.network.feature_map)
    made.machine.ranks.share(list(made.network.state_dict().values()))
    state.norms_reestimated = True
    line = f"{stage.name}: {changed} batch norms re-estimated on {len(inputs.train)} images"
    state.note(line)
    made.progress.say(line)


def _head_statistics(network: Classifier) -> tuple[str, ...]:
    """The names of the head's buffers: its batch norms move them, though no gradient does."""
    return tuple(f"head.{name}" for name, _ in network.head.named_buffers())


def batches(made: Materials, stage: Stage, state: State) -> tuple[int, int]:
    """Images of a step, and of what goes through the network at once."""
    batch, micro = made.settings.batches(stage, len(made.labels))
    return batch, state.micro_batches.get(stage.name, micro)


def rate_curve(made: Materials, number: int, inputs: Inputs, batch: int, micro: int) -> RateCurve:
    """The range test of a stage, from the network as it is."""
    stage = made.settings.stages[number]
    names = freeze(made.network, stage.trainable, stage.frozen_batch_norm == "train")
    set_mode(made.network, stage.trainable, stage.frozen_batch_norm)
    context = step_context(made, stage, names)
    return find_rate(inputs, context, made.labels, number, batch, micro, made.progress)


def step_context(made: Materials, stage: Stage, names: tuple[str, ...]) -> StepContext:
    """The optimiser of a stage, new, and what its losses need."""
    device, settings, counts = made.machine.device, made.settings, made.parts.counts
    parameters = dict(made.network.named_parameters())
    norms = stage.frozen_batch_norm == "train"
    groups = trainable_groups(made.network, stage.trainable, norms)
    plain = settings.loss.model_copy(update={"class_weights": "none", "logit_adjustment": 0.0})
    seen = implied_prior(plain, settings.sampling, counts)
    return StepContext(
        settings,
        made.network,
        make_optimizer(settings.optim, made.network, groups),
        tuple(parameters[n] for n in names),
        torch.from_numpy(made.labels).to(device),
        as_tensor(class_weights(settings.loss, counts), device),
        as_tensor(np.log(seen), device),
        torch.amp.GradScaler(device.split(":")[0], enabled=made.machine.precision == "float16"),
        made.machine,
    )


def stage_inputs(made: Materials, number: int, state: State) -> Inputs:
    """Images, or cached features where the body is frozen and that is asked for."""
    stage = made.settings.stages[number]
    if made.machine.device == "cpu":
        keep_memory()
    return _features(made, number, stage, state) if stage.cached_views else _images(made, stage)


def _features(made: Materials, number: int, stage: Stage, state: State) -> FeatureInputs:
    """Cached features, from the data set's cache where they have been computed before."""
    parts, settings, shown = made.parts, made.settings, preprocessing(made.settings)
    frozen = Frozen(
        made.network,
        settings.model.name,
        shown,
        made.machine,
        cache(lambda: stage_pixels(parts, settings, shown.size, made.progress, made.machine.ranks)),
        row_ids(parts.dataset.table),
        _store_root(made, number),
    )
    train = frozen_features(frozen, parts.train, stage.cached_views, made.progress)
    valid = frozen_features(frozen, parts.valid, 1, made.progress)
    found, computed = (train.from_cache + valid.from_cache, train.computed + valid.computed)
    told: dict[str, int | str] = {"from_cache": found, "computed": computed}
    if computed or frozen.engine == "torch":  # else another run computed them, and has said on what
        told["engine"] = frozen.ran_on
    state.features.setdefault(stage.name, told)
    if not computed:
        made.progress.say(f"{stage.name}: all frozen features come from the cache")
    return FeatureInputs(
        made.network, train, valid, parts.train, parts.valid, made.facts, made.machine
    )


def _store_root(made: Materials, number: int) -> Path:
    """The data set's store for a body that other runs share; the run's own for any other."""
    before = made.settings.stages[:number]
    shared = all(s.trainable == "head" and s.frozen_batch_norm == "eval" for s in before)
    cache_folder = made.parts.dataset.folder / "cache"
    if shared and can_hold(cache_folder):
        return cache_folder / ROOT
    return made.folder / FEATURES


def _images(made: Materials, stage: Stage) -> ImageInputs:
    parts, settings = made.parts, made.settings
    shown, how = preprocessing(settings), preprocessing(settings, stage.size)
    pixels = stage_pixels(parts, settings, shown.size, made.progress, made.machine.ranks)
    small = pixels
    if how.size != shown.size:
        small = stage_pixels(parts, settings, how.size, made.progress, made.machine.ranks)
    if made.machine.device == "cpu":
        quicken(made.network)
    forward: Callable[..., Tensor] = made.network
    if settings.compile:
        forward = torch.compile(made.network)
    return ImageInputs(
        made.network,
        small,
        pixels,
        parts.train,
        parts.valid,
        made.facts,
        stage,
        how,
        shown,
        made.machine,
        forward,
    )
