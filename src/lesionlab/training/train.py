"""A training run, from the first step to the calibrated best network, on one page.

Everything random is a pure function of (seed, stage, epoch, step), everything else is in the
checkpoint, so a run that is killed anywhere and resumed ends with the same bits.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lesionlab import files
from lesionlab.config import Settings, Stage
from lesionlab.data.manifest import group_ids
from lesionlab.data.randomness import epoch_order, torch_seed
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import write_predictions
from lesionlab.models.classifier import (
    Classifier,
    build,
    freeze,
    set_mode,
    set_prior_bias,
    trainable_groups,
)
from lesionlab.models.weights import load_body, read_tensors, write_tensors
from lesionlab.progress import SILENT, Progress
from lesionlab.run import (
    BEST,
    CALIBRATION,
    CHECKPOINTS,
    LAST,
    SUMMARY,
    Run,
    RunConfig,
    environment,
    locked,
    now,
    read_run,
    write_config,
    write_history,
)
from lesionlab.training import checkpoint
from lesionlab.training.checkpoint import State
from lesionlab.training.features import feature_file
from lesionlab.training.losses import as_tensor, class_weights, implied_prior
from lesionlab.training.machine import Machine, choose_machine
from lesionlab.training.monitor import checked_monitor, is_better, rounded, watch
from lesionlab.training.optim import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_rates,
)
from lesionlab.training.predict import bare_network, calibrate, predictions_of, write_calibration
from lesionlab.training.schedule import group_rates, momentum, rate_factor
from lesionlab.training.setup import (
    Parts,
    open_parts,
    preprocessing,
    reference,
    refuse_changed_data,
    refuse_full_disk,
    stage_pixels,
    write_snapshot,
)
from lesionlab.training.step import (
    FeatureInputs,
    ImageInputs,
    Inputs,
    NonFiniteLoss,
    StepContext,
    do_step,
    update_average,
)
from lesionlab.training.stop import Interrupted, StopRequest

FEATURES = "features"
STAGES = "stages"
MAX_RETRIES = 3  # after a loss that is not finite
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors")


def train(
    dataset_folder: Path,
    settings: Settings,
    out: Path,
    *,
    weights: Path | None = None,
    start: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train by `settings` on a split data set, into a new run folder `out`.

    `weights` is a safetensors file for the body; without it timm's own are downloaded (where
    `settings.model.pretrained`). `start` is a safetensors file of a whole network, such as
    another run's `stages/NAME.safetensors`. Raises `BadInput` before the first step for
    whatever can be known by then, and `Interrupted` when stopped by a signal.
    """
    machine = machine or choose_machine(precision=settings.precision)
    parts = open_parts(dataset_folder)
    checked_monitor(settings.monitor, len(parts.counts))
    files.refuse_existing(out)
    network, named_weights = _initial_network(settings, parts, weights, start)
    config = RunConfig(
        settings=settings,
        dataset=reference(parts.dataset),
        weights=named_weights,
        device=machine.device,
        precision=machine.precision,
        threads=machine.threads,
        environment=environment(PACKAGES),
        created=now(),
    )
    with files.stage_folder(out) as folder:
        refuse_full_disk(folder)
        write_snapshot(folder, parts.dataset)
        tensors = {f"model/{k}": v for k, v in network.state_dict().items()}
        checkpoint.save(folder / CHECKPOINTS, State(), tensors, machine.fingerprint())
        write_config(folder, config)
    progress.say(f"training on {machine.describe()}")
    return resume(out, machine=machine, progress=progress)


def resume(folder: Path, *, machine: Machine | None = None, progress: Progress = SILENT) -> Run:
    """Go on with a run from its newest whole checkpoint; a finished run is returned as it is.

    On the same machine the result is bit-identical to a run that was never stopped; where
    threads, processor, precision or versions differ, it says "not bit-exact" and why.
    """
    run = read_run(folder)
    if (folder / CALIBRATION).is_file():
        progress.say(f"{folder} is finished")
        return run
    settings = run.config.settings
    machine = machine or choose_machine(run.config.device, run.config.precision, run.config.threads)
    with locked(folder), StopRequest() as stop:
        parts = open_parts(Path(run.config.dataset.folder))
        refuse_changed_data(folder, run.config, parts.dataset)
        retries = 0
        skipped: list[list[int]] = []
        while True:
            found = checkpoint.latest(folder / CHECKPOINTS, progress)
            if found is None:
                raise BadInput("no whole checkpoint", where=str(folder), remedy="start a new run")
            _say_if_inexact(found.fingerprint, machine, found.state, progress)
            found.state.skipped += [s for s in skipped if s not in found.state.skipped]
            trainer = _Trainer(run, settings, parts, machine, found, stop, progress)
            try:
                trainer.run_stages()
                return run
            except NonFiniteLoss as place:
                retries += 1
                skipped.append(list(place.args[0]))
                if retries > MAX_RETRIES:
                    raise BadInput(
                        f"the loss was not finite {retries} times, last at stage, epoch, step "
                        f"{place.args[0]}",
                        where=str(folder),
                        remedy="lower the rate (--set stages.0.max_lr=...) or clip the gradient",
                    ) from None
                progress.say(f"loss not finite at {place.args[0]}: back, and past that batch")


def _say_if_inexact(
    then: dict[str, Any], machine: Machine, state: State, progress: Progress
) -> None:
    differs = checkpoint.difference(then, machine.fingerprint())
    if differs and state.steps_done:
        line = f"not bit-exact with the uninterrupted run: {differs}"
        progress.say(line)
        state.notes.append(line)


def _initial_network(
    settings: Settings, parts: Parts, weights: Path | None, start: Path | None
) -> tuple[Classifier, dict[str, str]]:
    torch.manual_seed(torch_seed(settings.seed, "init"))
    own = settings.model.pretrained and weights is None and start is None
    network = build(settings.model, settings.input, len(parts.counts), pretrained=own)
    named = {"body": f"timm's own of {settings.model.name}"} if own else {}
    if settings.prior_bias:
        prior = implied_prior(settings.loss, settings.sampling, parts.counts)
        set_prior_bias(network, prior)
    if weights is not None:
        load_body(network.body, weights)
        named = {"body": weights.name, "sha256": files.sha256_file(weights)}
    if start is not None:
        try:
            network.load_state_dict(read_tensors(start))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise BadInput(f"does not fit this network ({reason})", where=str(start)) from None
        named = {"all": start.name, "sha256": files.sha256_file(start)}
    return network, named


class _Trainer:
    """One attempt at a run, from a checkpoint on. `run_stages` is the story."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        parts: Parts,
        machine: Machine,
        found: checkpoint.Checkpoint,
        stop: StopRequest,
        progress: Progress,
    ) -> None:
        self.run, self.settings, self.parts = run, settings, parts
        self.machine, self.state, self.stop, self.progress = machine, found.state, stop, progress
        self.folder = run.folder
        self.prior = parts.counts / parts.counts.sum()
        self.train_prior = implied_prior(settings.loss, settings.sampling, parts.counts)
        self.monitor = checked_monitor(settings.monitor, len(parts.counts))
        self.network = bare_network(run.config)
        self.network.load_state_dict(_under(found.tensors, "model/"))
        self.network.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {k: v.to(machine.device) for k, v in _under(found.tensors, "ema/").items()}
        self.saved_moments = _under(found.tensors, "optim/")
        self.saved_at = time.monotonic()
        self.rate_of_last_stage = 0.0
        if settings.ema and not self.average:
            self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def run_stages(self) -> None:
        """Every stage that is not done; then calibration and the run's last files."""
        stages = self.settings.stages
        inputs: Inputs | None = None
        while self.state.stage < len(stages):
            inputs = self._run_stage(self.state.stage, stages[self.state.stage])
            if self.state.stage < len(stages):
                inputs = None
        self._finish(inputs)

    def _run_stage(self, number: int, stage: Stage) -> Inputs:
        settings, state, network = self.settings, self.state, self.network
        if stage.start_from == "best" and not (state.epoch or state.step) and number:
            network.load_state_dict(read_tensors(self.folder / BEST))
        names = freeze(network, stage.trainable)
        groups = trainable_groups(network, stage.trainable)
        optimizer = make_optimizer(settings.optim, network, groups)
        load_optimizer_tensors(optimizer, self.saved_moments)
        self.saved_moments = {}
        scaler = torch.amp.GradScaler(
            self.machine.device.split(":")[0], enabled=self.machine.precision == "float16"
        )
        if state.scaler and scaler.is_enabled():
            scaler.load_state_dict(state.scaler)
        inputs = self._inputs(number, stage)
        parameters = dict(network.named_parameters())
        device = self.machine.device
        seen = implied_prior(
            settings.loss.model_copy(update={"class_weights": "none", "logit_adjustment": 0.0}),
            settings.sampling,
            self.parts.counts,
        )
        context = StepContext(
            settings,
            optimizer,
            tuple(parameters[n] for n in names),
            torch.from_numpy(self.parts.y[self.parts.train]).to(device),
            as_tensor(class_weights(settings.loss, self.parts.counts), device),
            as_tensor(np.log(seen), device),
            scaler,
        )
        labels = self.parts.y[self.parts.train]
        batch = min(stage.batch_size or settings.batch_size, len(labels))
        micro = batch if stage.cached_views else min(settings.micro_batch, batch)
        steps = len(labels) // batch  # the rest of an epoch's order waits for the next one
        peaks = group_rates(stage, len(groups), state.found_rates.get(stage.name))

        while state.epoch < stage.epochs and not self._out_of_patience(stage):
            order = epoch_order(
                settings.seed, number, state.epoch, labels, settings.sampling == "balanced"
            )
            inputs.begin_epoch(settings.seed, number, state.epoch, order)
            set_mode(network, stage.trainable, stage.frozen_batch_norm)
            started, first = time.monotonic(), state.step
            title = f"{stage.name} {state.epoch + 1}/{stage.epochs}"
            for step in self.progress(range(first, steps), title, steps - first):
                place = (number, state.epoch, step)
                if list(place) in state.skipped:
                    state.step = step + 1
                    continue
                done, total = state.epoch * steps + step, stage.epochs * steps
                factor = rate_factor(stage.schedule, done, total, stage.warmup)
                factor *= state.plateau_factor
                beta = momentum(stage.schedule, done, total, stage.warmup, settings.optim.momentum)
                set_rates(optimizer, peaks, factor, beta)
                slots = np.arange(step * batch, (step + 1) * batch)
                try:
                    loss = do_step(inputs, context, slots, order, micro, place)
                except NonFiniteLoss:
                    raise NonFiniteLoss(place) from None
                state.step, state.steps_done = step + 1, state.steps_done + 1
                state.loss_sum += loss
                state.loss_count += batch
                if self.average:
                    update_average(self.average, network, settings.ema or 0, state.steps_done)
                waited = time.monotonic() - self.saved_at
                if self.stop.requested or waited > settings.checkpoint_seconds:
                    self._save(optimizer, scaler)
            seconds = time.monotonic() - started
            self.rate_of_last_stage = (steps - first) * batch / max(seconds, 1e-9)
            self._end_epoch(
                stage, inputs, steps, peaks[-1] * _last_factor(stage, state, steps), seconds
            )
            if time.monotonic() - self.saved_at > 10 or self.stop.requested:
                self._save(optimizer, scaler)
        self._end_stage(stage)
        return inputs

    def _out_of_patience(self, stage: Stage) -> bool:
        return stage.patience is not None and self.state.epochs_since_best >= stage.patience

    def _inputs(self, number: int, stage: Stage) -> Inputs:
        """Images, or cached features where the body is frozen."""
        parts, settings, machine = self.parts, self.settings, self.machine
        shown = preprocessing(settings)
        pixels = stage_pixels(parts, settings, shown.size, self.progress)
        if not stage.cached_views:
            size = stage.size or shown.size
            small = stage_pixels(parts, settings, size, self.progress)
            how = preprocessing(settings, size)
            return ImageInputs(
                self.network, small, pixels, parts.train, parts.valid, stage, how, shown, machine
            )
        set_mode(self.network, "head", "eval")
        path = self.folder / FEATURES
        made = [
            feature_file(
                path / f"{number}-{name}.npy",
                self.network.eval(),
                pixels,
                rows,
                shown,
                machine,
                views,
                self.progress,
            )
            for name, rows, views in (
                ("train", parts.train, stage.cached_views),
                ("valid", parts.valid, 1),
            )
        ]
        return FeatureInputs(self.network, made[0], made[1], machine)

    def _end_epoch(
        self, stage: Stage, inputs: Inputs, steps: int, rate: float, seconds: float
    ) -> None:
        """Validation, history, best weights; the state then points at the next epoch."""
        state, parts = self.state, self.parts
        with self._averaged():
            logits = inputs.valid_logits(self.progress)
            metrics = watch(logits, parts.y[parts.valid], self.prior, self.train_prior)
            value = metrics[self.monitor]
            if is_better(self.monitor, value, state.best_value):
                state.best_value, state.best_epoch = value, state.epochs_done
                state.epochs_since_best = state.plateau_wait = 0
                about = {"epoch": state.epochs_done, "stage": stage.name, self.monitor: value}
                write_tensors(self.folder / BEST, self.network.state_dict(), about)
            else:
                state.epochs_since_best += 1
                state.plateau_wait += 1
        if stage.schedule == "plateau" and state.plateau_wait >= 5:
            state.plateau_factor, state.plateau_wait = state.plateau_factor / 10, 0
        train_loss = state.loss_sum / max(state.loss_count, 1)
        row = {
            "stage": stage.name,
            "epoch": state.epochs_done,
            "step": state.steps_done,
            "train_loss": round(train_loss, 6),
            **rounded(metrics),
            "lr": rate,
            "seconds": round(seconds, 2),
            "images_per_second": round(self.rate_of_last_stage, 1),
        }
        state.history.append(row)
        write_history(self.folder, state.history)
        shown = "NaN" if math.isnan(value) else f"{value:.4f}"
        self.progress.say(
            f"{stage.name} epoch {state.epoch + 1}: train loss {train_loss:.4f}, "
            f"valid loss {metrics['valid_loss']:.4f}, {self.monitor} {shown}"
        )
        state.epoch, state.step, state.epochs_done = state.epoch + 1, 0, state.epochs_done + 1
        state.loss_sum, state.loss_count = 0.0, 0

    def _averaged(self) -> _Swapped:
        return _Swapped(self.network, self.average)

    def _end_stage(self, stage: Stage) -> None:
        (self.folder / STAGES).mkdir(exist_ok=True)
        with self._averaged():
            write_tensors(
                self.folder / STAGES / f"{stage.name}.safetensors",
                self.network.state_dict(),
                {"stage": stage.name},
            )
        state = self.state
        state.stage, state.epoch, state.step = state.stage + 1, 0, 0
        state.epochs_since_best, state.plateau_factor, state.scaler = 0, 1.0, {}
        self._save(None, None)

    def _save(
        self, optimizer: torch.optim.Optimizer | None, scaler: torch.amp.GradScaler | None
    ) -> None:
        tensors = {f"model/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema/{k}": v for k, v in self.average.items()}
        if optimizer is not None:
            tensors |= {f"optim/{k}": v for k, v in optimizer_tensors(optimizer).items()}
        if scaler is not None and scaler.is_enabled():
            self.state.scaler = scaler.state_dict()
        fingerprint = self.machine.fingerprint()
        checkpoint.save(self.folder / CHECKPOINTS, replace(self.state), tensors, fingerprint)
        self.saved_at = time.monotonic()
        if self.stop.requested:
            raise Interrupted(f"stopped; go on with: lesionlab resume {self.folder}")

    def _finish(self, inputs: Inputs | None) -> None:
        """Last and best weights, the calibration of the best, its validation predictions."""
        if self.state.best_value is None:
            raise BadInput(
                f"{self.monitor} was never a number",
                where=str(self.folder),
                remedy="the training diverged: lower the rate, or choose another monitor",
            )
        with self._averaged():
            write_tensors(self.folder / LAST, self.network.state_dict(), {"kind": "last"})
        self.network.load_state_dict(read_tensors(self.folder / BEST))
        last = len(self.settings.stages) - 1
        inputs = inputs or self._inputs(last, self.settings.stages[last])
        logits = inputs.valid_logits(self.progress)
        parts = self.parts
        y, dataset = parts.y[parts.valid], parts.dataset
        groups = group_ids(dataset.table.iloc[parts.valid]).nunique()
        fitted = calibrate(logits, y, self.prior, self.train_prior, int(groups))
        predictions = predictions_of(dataset, parts.valid, logits, fitted)
        write_predictions(self.run.predictions_path("valid"), predictions)
        write_history(self.folder, self.state.history)
        summary = {
            "schema_version": 1,
            "best_epoch": self.state.best_epoch,
            "monitor": self.monitor,
            "best_value": self.state.best_value,
            "images_per_second": self.state.history[-1]["images_per_second"],
            "seconds": sum(float(row["seconds"]) for row in self.state.history),
            "skipped_batches": self.state.skipped,
            "notes": self.state.notes,
            "finished": now(),
        }
        files.write_json(self.folder / SUMMARY, summary)
        write_calibration(self.folder, dataset.info.classes, fitted)  # last: it says "finished"
        shutil.rmtree(self.folder / FEATURES, ignore_errors=True)


class _Swapped:
    """A context in which the network holds the averaged weights, where an average is kept."""

    def __init__(self, network: Classifier, average: dict[str, Tensor]) -> None:
        self.network, self.average = network, average

    def __enter__(self) -> None:
        if self.average:
            self.own = {k: v.clone() for k, v in self.network.state_dict().items()}
            self.network.load_state_dict(self.average)

    def __exit__(self, *_: object) -> None:
        if self.average:
            self.network.load_state_dict(self.own)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _last_factor(stage: Stage, state: State, steps: int) -> float:
    """The factor of the epoch's last step, for the history."""
    total = stage.epochs * steps
    done = min((state.epoch + 1) * steps, total) - 1
    return rate_factor(stage.schedule, done, total, stage.warmup) * state.plateau_factor
