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
from lesionlab.data.clinical_metadata import encode
from lesionlab.data.feature_store import ROOT, can_hold, row_ids
from lesionlab.errors import counted
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import freeze, set_mode, trainable_groups
from lesionlab.platforms import keep_memory
from lesionlab.progress import Progress
from lesionlab.run_folder import FactsCoding
from lesionlab.training.batch_norm import reestimate
from lesionlab.training.checkpoint import State
from lesionlab.training.depthwise import quicken
from lesionlab.training.device import Machine
from lesionlab.training.features import Frozen, frozen_features
from lesionlab.training.losses import as_tensor, class_weights, implied_prior
from lesionlab.training.lr_finder import RateCurve, chosen_rate, find_rate
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
class StageResources:
    """What every stage of a run is made from."""

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
class PreparedStage:
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


def prepare_stage(resources: StageResources, number: int, state: State) -> PreparedStage:
    """Make stage `number` ready for its steps; finds its rate first where that is asked for."""
    stage = resources.settings.stages[number]
    norms = stage.frozen_batch_norm == "train"
    names = freeze(resources.network, stage.trainable, norms)
    groups = trainable_groups(resources.network, stage.trainable, norms)
    inputs = stage_inputs(resources, number, state)
    if isinstance(inputs, ImageInputs):
        _reestimate_norms(resources, stage, inputs, state)
    batch, micro = batches(resources, stage, state)
    if stage.max_lr == "auto" and stage.name not in state.found_rates:
        found = chosen_rate(rate_curve(resources, number, inputs, batch, micro), stage.name, number)
        state.found_rates[stage.name] = found
        resources.progress.say(f"{stage.name}: rate {found:.2e} found")
    peaks = group_rates(stage, len(groups), state.found_rates.get(stage.name))
    steps = len(resources.labels) // batch
    context = step_context(resources, stage, names)
    moving = (*names, *_head_statistics(resources.network)) if stage.cached_views else None
    return PreparedStage(number, stage, inputs, context, moving, batch, micro, steps, peaks)


def _reestimate_norms(
    resources: StageResources, stage: Stage, inputs: ImageInputs, state: State
) -> None:
    """The backbone's batch-norm statistics from all training images, before it first trains."""
    wanted = resources.settings.reestimate_batch_norm and stage.trainable != "head"
    if not wanted or state.norms_reestimated:
        return
    starts = range(0, len(inputs.train), NORM_BATCH)
    device = resources.machine.device

    def images() -> Iterator[Tensor]:
        for i in resources.progress(starts, "batch-norm statistics", len(starts)):
            pixels = inputs.pixels.take(inputs.train[i : i + NORM_BATCH])
            yield to_input(torch.from_numpy(pixels).to(device), inputs.how)

    changed = reestimate(resources.network, images(), resources.network.feature_map)
    resources.machine.ranks.share(list(resources.network.state_dict().values()))
    state.norms_reestimated = True
    line = f"{stage.name}: {counted(changed, 'batch norm')} re-estimated on "
    line += counted(len(inputs.train), "image")
    state.note(line)
    resources.progress.say(line)


def _head_statistics(network: Classifier) -> tuple[str, ...]:
    """The names of the head's buffers: its batch norms move them, though no gradient does."""
    return tuple(f"head.{name}" for name, _ in network.head.named_buffers())


def batches(resources: StageResources, stage: Stage, state: State) -> tuple[int, int]:
    """Images of a step, and of what goes through the network at once."""
    batch, micro = resources.settings.batches(stage, len(resources.labels))
    return batch, state.micro_batches.get(stage.name, micro)


def rate_curve(
    resources: StageResources, number: int, inputs: Inputs, batch: int, micro: int
) -> RateCurve:
    """The range test of a stage, from the network as it is."""
    stage = resources.settings.stages[number]
    names = freeze(resources.network, stage.trainable, stage.frozen_batch_norm == "train")
    set_mode(resources.network, stage.trainable, stage.frozen_batch_norm)
    context = step_context(resources, stage, names)
    return find_rate(inputs, context, resources.labels, number, batch, micro, resources.progress)


def step_context(resources: StageResources, stage: Stage, names: tuple[str, ...]) -> StepContext:
    """The optimiser of a stage, new, and what its losses need."""
    device, settings, counts = resources.machine.device, resources.settings, resources.parts.counts
    parameters = dict(resources.network.named_parameters())
    norms = stage.frozen_batch_norm == "train"
    groups = trainable_groups(resources.network, stage.trainable, norms)
    plain = settings.loss.model_copy(update={"class_weights": "none", "logit_adjustment": 0.0})
    seen = implied_prior(plain, settings.sampling, counts)
    return StepContext(
        settings,
        resources.network,
        make_optimizer(settings.optim, resources.network, groups),
        tuple(parameters[n] for n in names),
        torch.from_numpy(resources.labels).to(device),
        as_tensor(class_weights(settings.loss, counts), device),
        as_tensor(np.log(seen), device),
        torch.amp.GradScaler(
            device.split(":")[0], enabled=resources.machine.precision == "float16"
        ),
        resources.machine,
    )


def stage_inputs(resources: StageResources, number: int, state: State) -> Inputs:
    """Images, or cached features where the body is frozen and that is asked for."""
    stage = resources.settings.stages[number]
    if resources.machine.device == "cpu":
        keep_memory()
    return (
        _features(resources, number, stage, state)
        if stage.cached_views
        else _images(resources, stage)
    )


def _features(resources: StageResources, number: int, stage: Stage, state: State) -> FeatureInputs:
    """Cached features, from the data set's cache where they have been computed before."""
    parts, settings, shown = resources.parts, resources.settings, preprocessing(resources.settings)
    frozen = Frozen(
        resources.network,
        settings.model.name,
        shown,
        resources.machine,
        cache(
            lambda: stage_pixels(
                parts, settings, shown.size, resources.progress, resources.machine.ranks
            )
        ),
        row_ids(parts.dataset.table),
        _store_root(resources, number),
    )
    train = frozen_features(frozen, parts.train, stage.cached_views, resources.progress)
    valid = frozen_features(frozen, parts.valid, 1, resources.progress)
    found, computed = (train.from_cache + valid.from_cache, train.computed + valid.computed)
    told: dict[str, int | str] = {"from_cache": found, "computed": computed}
    if computed or frozen.engine == "torch":  # else another run computed them, and has said on what
        told["engine"] = frozen.ran_on
    state.features.setdefault(stage.name, told)
    if not computed:
        resources.progress.say(f"{stage.name}: all frozen features come from the cache")
    return FeatureInputs(
        resources.network,
        train,
        valid,
        parts.train,
        parts.valid,
        resources.facts,
        resources.machine,
    )


def _store_root(resources: StageResources, number: int) -> Path:
    """The data set's store for a body that other runs share; the run's own for any other."""
    before = resources.settings.stages[:number]
    shared = all(s.trainable == "head" and s.frozen_batch_norm == "eval" for s in before)
    cache_folder = resources.parts.dataset.folder / "cache"
    if shared and can_hold(cache_folder):
        return cache_folder / ROOT
    return resources.folder / FEATURES


def _images(resources: StageResources, stage: Stage) -> ImageInputs:
    parts, settings = resources.parts, resources.settings
    shown, how = preprocessing(settings), preprocessing(settings, stage.size)
    pixels = stage_pixels(parts, settings, shown.size, resources.progress, resources.machine.ranks)
    small = pixels
    if how.size != shown.size:
        small = stage_pixels(parts, settings, how.size, resources.progress, resources.machine.ranks)
    if resources.machine.device == "cpu":
        quicken(resources.network)
    forward: Callable[..., Tensor] = resources.network
    if settings.compile:
        forward = torch.compile(resources.network)
    return ImageInputs(
        resources.network,
        small,
        pixels,
        parts.train,
        parts.valid,
        resources.facts,
        stage,
        how,
        shown,
        resources.machine,
        forward,
    )
