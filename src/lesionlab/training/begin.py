"""What happens before the first step: the network at its start, the run folder, the plan."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lesionlab import files
from lesionlab.config import AugmentSettings, Settings, Stage
from lesionlab.data.clinical_metadata import fit_coding, refuse_forbidden, unknown_case
from lesionlab.data.manifest import group_ids
from lesionlab.data.randomness import torch_seed
from lesionlab.errors import BadInput, counted
from lesionlab.models.classifier import Classifier, build, set_prior_bias
from lesionlab.models.freeze import set_mode, trainable_groups
from lesionlab.models.layers import layer_table
from lesionlab.models.state_dicts import load_body
from lesionlab.models.tensor_files import read_tensors
from lesionlab.models.weights import (
    Weights,
    disagreements,
    random_start,
    settle,
)
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import (
    CHECKPOINTS,
    CONFIG,
    STAGES,
    FactsCoding,
    Run,
    RunConfig,
    environment,
    now,
    read_run,
    write_config,
)
from lesionlab.training import checkpoint
from lesionlab.training.checkpoint import KEPT, State
from lesionlab.training.depthwise import slow_convolutions
from lesionlab.training.device import Machine, free_memory
from lesionlab.training.losses import implied_prior, refuse_unfit_loss
from lesionlab.training.monitor import checked_monitor, refuse_undefined
from lesionlab.training.setup import SNAPSHOT, Parts, reference, snapshot, write_snapshot
from lesionlab.training.step import micro_batches
from lesionlab.training.tracking import refuse_absent_trackers

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors")
SPARE_BYTES = 200 * 2**20  # for features, predictions, reports


def refuse_impossible(settings: Settings, parts: Parts) -> None:
    """`BadInput` for settings that this data set cannot be trained by."""
    classes = len(parts.counts)
    monitor = checked_monitor(settings.monitor, classes)
    refuse_undefined(monitor, parts.y[parts.valid], parts.dataset.info.classes)
    refuse_unfit_loss(settings.loss, classes)
    if settings.stages[0].start_from == "best":
        raise BadInput(
            "the first stage cannot start from an earlier one", where="stages.0.start_from"
        )
    refuse_lone_images(settings, len(parts.train))
    refuse_absent_trackers(settings)
    refuse_forbidden(settings.model.metadata, parts.dataset.info.forbidden_inputs)


def refuse_lone_images(settings: Settings, images: int) -> None:
    """`BadInput` where the batch norms of a concat_pool head would see one vector: no variance."""
    if settings.model.head != "concat_pool":
        return
    for number, _ in _lone_stages(settings, images):
        raise _needs_two(settings, number, images, "'concat_pool' has batch norms")


def _lone_stages(settings: Settings, images: int) -> Iterator[tuple[int, Stage]]:
    """The stages in which some micro-batch of a step is a single image, with their numbers."""
    for number, stage in enumerate(settings.stages):
        batch, micro = settings.batches(stage, images)
        if min(len(part) for part in micro_batches(np.arange(batch), micro)) < 2:
            yield number, stage


def _needs_two(settings: Settings, number: int, images: int, why: str) -> BadInput:
    stage = settings.stages[number]
    batch, _ = settings.batches(stage, images)
    of_stage = f"stages.{number}." if stage.batch_size else ""
    key = "micro_batch" if batch > 1 else f"{of_stage}batch_size"
    return BadInput(
        f"{why}: stage {stage.name} needs at least two images per micro-batch",
        where=key,
        remedy=f"--set {key}=2, or more",
    )


def refuse_single_values(network: Classifier, settings: Settings, images: int) -> None:
    """`BadInput` where a batch norm of the body would see one value a channel; tried."""
    for number, stage in _lone_stages(settings, images):
        if stage.cached_views:
            continue
        probe, side = copy.deepcopy(network), stage.size or settings.shown.size
        set_mode(probe, stage.trainable, stage.frozen_batch_norm)
        blank = torch.zeros((1, settings.shown.channels, side, side))
        try:
            with torch.no_grad():
                probe.feature_map(blank)
        except ValueError:  # torch: expected more than one value per channel
            why = f"the last maps of {side} px images have a single cell"
            raise _needs_two(settings, number, images, why) from None


def begin(
    out: Path,
    settings: Settings,
    parts: Parts,
    machine: Machine,
    weights: Path | str | None,
    start: Path | None,
    progress: Progress = SILENT,
) -> None:
    """Make the run folder with its first checkpoint; whole or not at all.

    The weights are chosen here, and with them the network and the input that the recipe leaves
    open: what the run stores is decided throughout.
    """
    settings, chosen, lines = decide_input(settings, weights, start, progress)
    facts = settings.model.metadata
    coding = fit_coding(parts.dataset.table.iloc[parts.train], facts) if facts else None
    network, named_weights, said = initial_network(settings, parts, coding, chosen, start)
    refuse_single_values(network, settings, len(parts.train))
    refuse_full_memory(network, settings, machine)
    config = RunConfig(
        settings=settings,
        dataset=reference(parts.dataset, facts),
        weights=named_weights,
        facts=coding,
        device=machine.device,
        precision=machine.precision,
        threads=machine.threads,
        environment=environment(PACKAGES),
        created=now(),
    )
    with files.stage_folder(out) as folder:
        refuse_full_disk(folder, network, settings)
        write_snapshot(folder, parts.dataset, facts)
        tensors = {f"model/{k}": v for k, v in network.state_dict().items()}
        recipe = settings.model_dump(mode="json")
        folder_of = folder / CHECKPOINTS
        checkpoint.save(
            folder_of, State(notes=[*lines, *said]), tensors, machine.fingerprint(), recipe
        )
        write_config(folder, config)
    for line in (starts_from(settings, chosen, start), *lines, *said):
        progress.say(line)  # only now: what was refused before started from nothing


def initial_network(
    settings: Settings,
    parts: Parts,
    coding: FactsCoding | None,
    weights: Weights,
    start: Path | None,
) -> tuple[Classifier, dict[str, str], list[str]]:
    """The network before the first step, where its weights came from, and what was changed in
    them to make them fit. The settings' input must be decided."""
    torch.manual_seed(torch_seed(settings.seed, "init"))
    unknown = None if coding is None else unknown_case(coding)
    classes = len(parts.counts)
    network = build(settings.model, settings.shown, classes, unknown_facts=unknown)
    named, lines = dict[str, str](), list[str]()
    if settings.prior_bias:
        prior = implied_prior(settings.loss, settings.sampling, parts.counts)
        set_prior_bias(network, prior)
    if weights.path is not None:
        lines = load_body(network.body, weights.path, by_position=weights.by_position)
        named = weights.record()
    if start is not None:
        _refuse_other_facts(coding, start)
        refuse_seen(parts, start)
        _load_all(network, start)
        named = {"all": start.name, "sha256": files.sha256_file(start), **_parent(start)}
    refuse_sizes(network, settings)
    return network, named, lines


def decide_input(
    settings: Settings, weights: Path | str | None, start: Path | None, progress: Progress
) -> tuple[Settings, Weights, list[str]]:
    """The settings with every "auto" decided by the weights, the weights, and any warning.

    Weights of another run bring that run's input.
    """
    run = None if start is None else _run_of(start)
    if start is not None:
        name = settings.model.name if run is None else run.config.settings.model.name
        native = random_start(name).native if run is None else run.config.settings.shown
        chosen, whose = replace(random_start(settings.model.name), native=native), start.name
    else:
        settings, chosen = settle(settings, weights, progress.say)
        whose = chosen.source
    shown = settings.input.resolved(chosen.native)
    differ = [] if chosen.path is None and run is None else disagreements(shown, chosen.native)
    lines = [f"warning: differs from the input of the weights ({whose}): {', '.join(differ)}"]
    return settings.with_input(shown), chosen, lines if differ else []


def starts_from(settings: Settings, weights: Weights, start: Path | None) -> str:
    """One line for the person who waits: what the network started from, once it is loaded."""
    if start is None:
        return weights.describe()
    run, name = _run_of(start), settings.model.name
    if run is None:
        return f"{name} starts from the weights in {start.name}"
    stage = f"the end of its stage {start.stem}" if start.parent.name == STAGES else "its best"
    began = run.config.weights
    origin = f", begun with {began['source']}" if began.get("source") else ""
    licence = f" (licence {began['licence']})" if began.get("licence") else ""
    return f"{name} starts from run {run.folder.resolve().name}, {stage}{origin}{licence}"


def _refuse_other_facts(coding: FactsCoding | None, start: Path) -> None:
    """`BadInput` where the run of these weights gives its numbers for a case another meaning."""
    run = _run_of(start)
    theirs = None if run is None else run.config.facts
    if coding is None or theirs is None:
        return
    before, here = (", ".join((*c.columns, *c.sites)) for c in (theirs, coding))
    if before != here:
        raise BadInput(
            f"uses other clinical metadata: {before}; here it is {here}",
            where=str(start),
            remedy="--from needs a run with the same metadata columns and the same training sites",
        )


def _run_of(start: Path) -> Run | None:
    """The run that weights lie in; None for a file that lies alone."""
    folder = next((f for f in (start.parent, start.parent.parent) if (f / CONFIG).is_file()), None)
    return None if folder is None else read_run(folder)


def _parent(start: Path) -> dict[str, str]:
    """How a run names the one that it started from."""
    run = _run_of(start)
    if run is None:
        return {}
    began = {k: v for k, v in run.config.weights.items() if k in ("source", "licence")}
    return {**began, "run": run.folder.resolve().name, "data": run.config.dataset.fingerprint}


def refuse_seen(parts: Parts, start: Path) -> None:
    """`BadInput` where the network of `start` was trained on what is to judge it here.

    Its training images, or others of their groups where the data set is the same, must not lie in
    validation or test; what stopped it (its validation part) must not lie in test. A data set
    that is marked leaky is let pass: so is what comes of it.
    """
    run = _run_of(start)
    if run is None or parts.dataset.info.leaky or not (run.folder / SNAPSHOT).is_file():
        return
    columns = ["sha256"]
    if run.config.dataset.name == parts.dataset.info.name:
        columns += ["group"]
    theirs = pd.read_csv(run.folder / SNAPSHOT, dtype=str, keep_default_na=False)
    here = snapshot(parts.dataset)
    trained, stopped = (theirs[theirs["split"] == part] for part in ("train", "valid"))
    judging, test = here[here["split"].isin(["valid", "test"])], here[here["split"] == "test"]
    seen = _shared(judging, trained, columns) | _shared(test, stopped, columns)
    if seen:
        raise BadInput(
            f"was trained on {counted(len(seen), 'image')} of the validation and test splits "
            f"of this run, or on images of the same groups (first: {min(seen)})",
            where=str(start),
            remedy="start from a run of this split, or without --from",
        )


def _shared(rows: pd.DataFrame, theirs: pd.DataFrame, columns: list[str]) -> set[str]:
    """The ids of `rows` that agree with one of `theirs` in one of the columns."""
    hit = [rows[c].isin(set(theirs[c]) - {""}) for c in columns]
    return {str(i) for one in hit for i in rows.loc[one, "image_id"]}


def _load_all(network: Classifier, start: Path) -> None:
    try:
        network.load_state_dict(read_tensors(start))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadInput(
            f"does not fit this network ({reason})",
            where=str(start),
            remedy="--from needs a run of the same network, head and classes",
        ) from None


def refuse_sizes(network: Classifier, settings: Settings) -> None:
    """`BadInput` for a stage's image size that the network cannot take; tried on empty images."""
    for number, stage in enumerate(settings.stages):
        if stage.size in (None, settings.shown.size):
            continue
        shown = settings.shown.model_copy(update={"size": stage.size})
        try:
            layer_table(network, shown)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BadInput(
                f"'{settings.model.name}' cannot take {stage.size} x {stage.size} images ({error})",
                where=f"stages.{number}.size",
                remedy="omit it, or choose a network and a head that accept any size",
            ) from None


def refuse_full_disk(folder: Path, network: Classifier, settings: Settings) -> None:
    """Say before the first epoch what would fail after it."""
    need, free = disk_need(network, settings), shutil.disk_usage(folder).free
    if free < need:
        raise BadInput(
            f"only {free / 2**20:.0f} MiB of disk are free, but this run needs {need / 2**20:.0f}",
            where=str(folder.parent),
            remedy="free some space or choose another --out",
        )


def memory_need(network: Classifier, settings: Settings, machine: Machine) -> int:
    """Bytes that a run takes at the very least: weights, gradients, moments, average, and what
    one micro-batch leaves for the backward pass."""
    weights = _bytes_of(network)
    held = weights * (5 if settings.ema else 4)
    stages = [s for s in settings.stages if s.trainable != "head"]
    if not stages:
        return held
    layers = layer_table(network, settings.shown)
    numbers = sum(math.prod(layer.output) for layer in layers if layer.output)
    side = max((s.size or settings.shown.size) for s in stages) / settings.shown.size
    micro = min(settings.micro_batch, settings.batch_size)
    each = 4 if machine.precision == "float32" else 2
    return held + int(numbers * side**2) * micro * each


def refuse_full_memory(network: Classifier, settings: Settings, machine: Machine) -> None:
    """Say before the first epoch that the first step would end the process."""
    need, free = memory_need(network, settings, machine), free_memory(machine.device)
    if free is not None and free < need:
        raise BadInput(
            f"only {free / 2**20:.0f} MiB of memory are free, but this run needs at least "
            f"{need / 2**20:.0f}",
            where=settings.model.name,
            remedy=f"--set micro_batch={max(2, settings.micro_batch // 2)}, or use a smaller input",
        )


def _bytes_of(network: Classifier) -> int:
    return sum(int(v.numel() * v.element_size()) for v in network.state_dict().values())


def disk_need(network: Classifier, settings: Settings) -> int:
    """Bytes that checkpoints, stages, weights and reports take."""
    weights = _bytes_of(network)
    state = weights * (4 if settings.ema else 3)  # with the moments of Adam
    return state * (KEPT + 1) + weights * (4 + len(settings.stages)) + SPARE_BYTES


def plan(settings: Settings, parts: Parts, network: Classifier, machine: Machine) -> Iterator[str]:
    """What is about to be done, in lines for the person who waits."""
    table, info = parts.dataset.table, parts.dataset.info
    groups = group_ids(table)
    train, valid = (
        f"{counted(len(rows), 'image')} of {counted(groups.iloc[rows].nunique(), 'group')}"
        for rows in (parts.train, parts.valid)
    )
    yield f"{info.name}: {train} to train on, {valid} to validate on, {len(info.classes)} classes"
    size = sum(p.numel() for p in network.parameters())
    facts = f" with {', '.join(settings.model.metadata)}" if settings.model.metadata else ""
    yield f"{settings.model.name}{facts} at {settings.shown.size} px: {size:,} parameters"
    for number, stage in enumerate(settings.stages, 1):
        what = _stage_line(settings, stage, parts, network)
        yield f"stage {number} of {len(settings.stages)}: {what}"
    yield f"on {machine.describe()}, {_batch_line(settings)}"
    slow = [] if machine.device != "cpu" else slow_convolutions(network)
    if slow and machine.precision == "bfloat16":
        yield f"{len(slow)} strided depthwise convolutions take the slow gradient ({slow[0]}, ...)"
    memory, disk = memory_need(network, settings, machine), disk_need(network, settings)
    yield f"at least {memory / 2**20:.0f} MiB of memory and {disk / 2**20:.0f} MiB of disk"


def _stage_line(settings: Settings, stage: Stage, parts: Parts, network: Classifier) -> str:
    groups = trainable_groups(network, stage.trainable, stage.frozen_batch_norm == "train")
    named = dict(network.named_parameters())
    moving = sum(named[n].numel() for g in groups for n in g.parameters)
    batch, _ = settings.batches(stage, len(parts.train))
    rate = stage.max_lr
    rates = f"{rate[0]:g} to {rate[1]:g}" if isinstance(rate, tuple) else f"{rate}"
    views = f" on {counted(stage.cached_views, 'cached view')}" if stage.cached_views else ""
    if stage.cached_views and stage.augment != AugmentSettings():
        views += " (its augment does not apply to them)"
    size = f" at {stage.size} px" if stage.size else ""
    return (
        f"{stage.name}, {counted(stage.epochs, 'epoch')} of "
        f"{counted(len(parts.train) // batch, 'step')}{size}, "
        f"{stage.trainable} ({moving:,} parameters){views}, {stage.schedule} with learning rate "
        f"{rates}"
    )


def _batch_line(settings: Settings) -> str:
    batch = counted(settings.batch_size, "image")
    return f"{batch} per step in micro-batches of {settings.micro_batch}"
