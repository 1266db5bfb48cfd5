"""A training run, new or resumed, from the first step to the calibrated best network, on one page.

Everything random is a pure function of (seed, stage, epoch, step), everything else is in the
checkpoint, so a run that is killed anywhere and resumed ends with the same bits.
"""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from lesionlab import files, numerics
from lesionlab.array_types import Float32, Rows
from lesionlab.config import Settings, Stage
from lesionlab.data.randomness import epoch_order
from lesionlab.errors import BadInput, Interrupted
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import set_mode
from lesionlab.models.tensor_files import read_tensors, write_tensors
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import (
    BEST,
    CALIBRATION,
    CHECKPOINTS,
    LAST,
    STAGES,
    Run,
    locked,
    read_run,
    write_history,
)
from lesionlab.training import checkpoint
from lesionlab.training.begin import begin, plan, refuse_impossible
from lesionlab.training.checkpoint import Checkpoint, best_path
from lesionlab.training.device import Machine, choose_machine, is_out_of_memory
from lesionlab.training.distributed import is_lost_peer
from lesionlab.training.ema import Average, all_finite
from lesionlab.training.inference import bare_network
from lesionlab.training.losses import implied_prior
from lesionlab.training.monitor import checked_monitor, is_better, rounded, watch
from lesionlab.training.optim import load_optimizer_tensors, optimizer_tensors, set_rates
from lesionlab.training.prepared_stage import (
    FEATURES,
    PreparedStage,
    StageResources,
    prepare_stage,
    stage_inputs,
)
from lesionlab.training.recovery import RecoveryState
from lesionlab.training.results import write_results
from lesionlab.training.schedule import PLATEAU_EPOCHS, PLATEAU_FACTOR, momentum, rate_factor
from lesionlab.training.setup import Parts, open_parts, refuse_changed_data
from lesionlab.training.step import Inputs, NonFiniteStep, do_step
from lesionlab.training.stop import StopRequest, Watchful
from lesionlab.training.tracking import open_trackers

OnEpoch = Callable[[Mapping[str, object]], None]  # sees a row of the history; may raise to end it
QUIET = 1.0  # seconds; an epoch shorter than this gets no bar and no line of its own
SAVE_AFTER = 10.0  # seconds since the last checkpoint, at the end of an epoch


def train(
    dataset_folder: Path,
    settings: Settings,
    out: Path,
    *,
    weights: Path | str | None = None,
    start: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = SILENT,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Train by `settings` on a split data set, into a new run folder `out`.

    `weights` is a weights file for the backbone, a folder of such, or "auto", the default where
    `settings.model.pretrained` (`models.weights.find_weights`). `start` is a safetensors file of a
    whole network, such as another run's `stages/NAME.safetensors`. Raises `BadInput` before the
    first step for whatever can be known by then, and `Interrupted` when stopped by a signal.
    """
    machine = machine or choose_machine(precision=settings.precision)
    machine.use_threads()
    parts = open_parts(dataset_folder)
    refuse_impossible(settings, parts)
    if machine.ranks.world > len(parts.valid):
        raise BadInput(
            f"{machine.ranks.world} processes share {len(parts.valid)} validation images",
            where=str(dataset_folder),
            remedy="use fewer processes",
        )
    if machine.ranks.first:
        files.refuse_existing(out)
        try:
            begin(out, settings, parts, machine, weights, start, progress)
        except OSError as error:
            raise _unwritable(error, out) from None
    machine.ranks.wait()
    return resume(out, machine=machine, progress=progress, on_epoch=on_epoch)


def resume(
    folder: Path,
    *,
    dataset_folder: Path | None = None,
    machine: Machine | None = None,
    progress: Progress = SILENT,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Go on with a run from its newest whole checkpoint; a finished run is returned as it is.

    On the same machine the result is bit-identical to a run that was never stopped; where
    threads, processor, precision or versions differ, it says "not bit-exact" and why.
    `dataset_folder` says where the data are, if they have moved.
    """
    run = read_run(folder)
    if (folder / CALIBRATION).is_file():
        progress.say(f"{folder} is finished")
        return run
    machine = machine or choose_machine(run.config.device, run.config.precision, run.config.threads)
    machine.use_threads()
    progress = progress if machine.ranks.first else SILENT
    lock = locked(folder) if machine.ranks.first else nullcontext()
    with lock, StopRequest() as stop:
        if machine.ranks.first:
            checkpoint.sweep(folder)
        parts = open_parts(dataset_folder or Path(run.config.dataset.folder))
        refuse_changed_data(folder, run.config, parts.dataset)
        recovery = RecoveryState()
        while True:
            machine.ranks.wait()
            found = checkpoint.latest(folder / CHECKPOINTS, progress)
            recipe = run.config.settings.model_dump(mode="json")
            checkpoint.refuse_changed_settings(found, recipe, str(folder))
            _say_if_inexact(found, machine, progress)
            recovery.apply(found.state)
            try:
                Trainer(run, parts, machine, found, stop, progress, on_epoch).run_stages()
                return run
            except NonFiniteStep as error:
                progress.say(recovery.skip(error, folder))
            except OSError as error:
                raise _unwritable(error, folder) from None
            except (RuntimeError, MemoryError) as error:
                if machine.ranks.world > 1 and is_lost_peer(error):
                    raise _one_died(folder) from None
                if machine.ranks.world > 1 or not is_out_of_memory(error):
                    raise
                progress.say(
                    recovery.halve(run.config.settings, len(parts.train), found.state, folder)
                )


def _say_if_inexact(found: Checkpoint, machine: Machine, progress: Progress) -> None:
    differs = checkpoint.difference(found.fingerprint, machine.fingerprint())
    lines = [numerics.why_inexact()]
    if differs and found.state.steps_done:
        lines.append(f"not bit-exact with the uninterrupted run: {differs}")
    for line in filter(None, lines):
        progress.say(line)
        found.state.note(line)


def _one_died(folder: Path) -> BadInput:
    return BadInput(
        "another process of this run has died",
        where=str(folder),
        remedy="run the same command with `resume`; the last checkpoint is intact",
    )


def _unwritable(error: OSError, folder: Path) -> Exception:
    """A full or read-only disk in one line; any other error of the system as it is."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
        return error
    return BadInput(
        f"cannot be written ({error.strerror})",
        where=str(error.filename or folder),
        remedy="fix that, then resume; the last checkpoint is intact",
    )


class Trainer:
    """One attempt at a run, from a checkpoint on. `run_stages` is the story."""

    def __init__(
        self,
        run: Run,
        parts: Parts,
        machine: Machine,
        found: Checkpoint,
        stop: StopRequest,
        progress: Progress,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.run, self.settings, self.parts = run, run.config.settings, parts
        self.machine, self.state, self.stop = machine, found.state, stop
        self.folder, self.on_epoch = run.folder, on_epoch
        self.progress = progress
        self.how_to_go_on = f"stopped and saved; continue with: lesionlab resume {run.folder}"
        # Of several processes none leaves a loop alone: all stop together, at the next step.
        alone = machine.ranks.world == 1
        self.watchful = Watchful(progress, stop, self.how_to_go_on) if alone else progress
        self.prior = parts.counts / parts.counts.sum()
        self.train_prior = implied_prior(self.settings.loss, self.settings.sampling, parts.counts)
        self.monitor = checked_monitor(self.settings.monitor, len(parts.counts))
        self.network = self._network(found)
        self.resources = StageResources(
            run.folder,
            self.settings,
            parts,
            run.config.facts,
            self.network,
            machine,
            self.watchful,
        )
        self.average = Average(self.network, self.settings.ema, found.under("ema/"))
        self.saved_moments = found.under("optim/")
        self.saved_at = time.monotonic()
        self.place = (self.state.stage, self.state.epoch, self.state.step)  # of the last step
        self.track = open_trackers(
            self.settings, run.folder, machine.ranks.first, self.state.epochs_done
        )

    def _network(self, found: Checkpoint) -> Classifier:
        network = bare_network(self.run.config)
        network.load_state_dict(found.under("model/"))
        if not self.state.steps_done:
            for line in plan(self.settings, self.parts, network, self.machine):
                self.progress.say(line)
        network.to(self.machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def run_stages(self) -> None:
        """Every stage that is not done; then calibration and the run's last files."""
        stages, inputs = self.settings.stages, None
        while self.state.stage < len(stages):
            inputs = self._run_stage(self.state.stage, stages[self.state.stage])
        self._finish(inputs or stage_inputs(self.resources, len(stages) - 1, self.state))

    def _run_stage(self, number: int, stage: Stage) -> Inputs:
        prepared = self._prepare(number)
        state, seed = self.state, self.settings.seed
        labels, balanced = self.parts.y[self.parts.train], self.settings.sampling == "balanced"
        while state.epoch < stage.epochs and not self._out_of_patience(stage):
            order = epoch_order(seed, number, state.epoch, labels, balanced)
            prepared.inputs.begin_epoch(seed, number, state.epoch, order)
            set_mode(self.network, stage.trainable, stage.frozen_batch_norm)
            self._run_epoch(prepared, order)
            logits = self._validate(prepared)
            self._end_epoch(prepared, logits)
            if self._due(SAVE_AFTER) and state.epoch < stage.epochs:
                self._save(prepared)
        self._end_stage(stage)
        return prepared.inputs

    def _prepare(self, number: int) -> PreparedStage:
        """The stage's inputs and optimiser, with the moments of the checkpoint."""
        before = self.state.norms_reestimated
        prepared = prepare_stage(self.resources, number, self.state)
        if self.state.norms_reestimated and not before:
            self.average.take("body.")
        load_optimizer_tensors(prepared.context.optimizer, self.saved_moments)
        self.saved_moments = {}
        if self.state.scaler and prepared.context.scaler.is_enabled():
            prepared.context.scaler.load_state_dict(self.state.scaler)
        return prepared

    def _run_epoch(self, prepared: PreparedStage, order: Rows) -> None:
        """The steps of one epoch that are not done yet."""
        state, stage, batch = self.state, prepared.stage, prepared.batch
        first, started = state.step, time.monotonic()
        title = f"{stage.name} {state.epoch + 1}/{stage.epochs}"
        bar = SILENT if self._is_quick(stage) else self.progress
        for step in bar(range(first, prepared.steps), title, prepared.steps - first):
            place = (prepared.number, state.epoch, step)
            if list(place) not in state.skipped:
                self._set_rates(prepared, state.epoch * prepared.steps + step)
                slots = np.arange(step * batch, (step + 1) * batch)
                loss = do_step(
                    prepared.inputs, prepared.context, slots, order, prepared.micro, place
                )
                state.steps_done, self.place = state.steps_done + 1, place
                state.loss_sum += loss
                state.loss_count += batch
                self.average.update(state.steps_done, prepared.moving)
            state.step = step + 1
            if self._due(self.settings.checkpoint_seconds):
                state.seconds += time.monotonic() - started
                self._save(prepared)
                started = time.monotonic()
        state.seconds += time.monotonic() - started

    def _is_quick(self, stage: Stage) -> bool:
        """Whether epochs are too short to be shown one by one."""
        rows = [r for r in self.state.history if r["stage"] == stage.name]
        return bool(stage.cached_views) if not rows else float(rows[-1]["seconds"]) < QUIET

    def _set_rates(self, prepared: PreparedStage, done: int) -> None:
        stage, plain = prepared.stage, self.settings.optim.plain_momentum
        beta = momentum(stage.schedule, done, prepared.total, stage.warmup, plain)
        set_rates(
            prepared.context.optimizer, prepared.peaks, self._rate_factor(prepared, done), beta
        )

    def _rate_factor(self, prepared: PreparedStage, done: int) -> float:
        stage = prepared.stage
        factor = rate_factor(stage.schedule, done, prepared.total, stage.warmup)
        return factor * self.state.plateau_factor

    def _validate(self, prepared: PreparedStage) -> Float32:
        """(Nv, K) logits of the averaged network; a stop in between is saved before it."""
        if self.average.mend():
            self.state.note(f"the average held NaN after step {self.state.steps_done}: restarted")
        show = SILENT if self._is_quick(prepared.stage) else self.watchful
        try:
            with self.average.shown():
                return prepared.inputs.valid_logits(show)
        except Interrupted:
            self._save(prepared)
            raise

    def _end_epoch(self, prepared: PreparedStage, logits: Float32) -> None:
        """Metrics, best weights and history; the state then points at the next epoch."""
        state, stage = self.state, prepared.stage
        metrics = watch(logits, self.parts.y[self.parts.valid], self.prior, self.train_prior)
        value = metrics[self.monitor]
        if is_better(self.monitor, value, state.best_value):
            state.best_value, state.best_epoch = value, state.epochs_done
            state.epochs_since_best = state.plateau_wait = 0
            self._keep_best(stage, value)
        else:
            state.epochs_since_best += 1
            state.plateau_wait += 1
        speed = prepared.steps * prepared.batch / max(state.seconds, 1e-9)
        row = {
            "stage": stage.name,
            "epoch": state.epochs_done,
            "step": state.steps_done,
            "train_loss": round(state.loss_sum / max(state.loss_count, 1), 6),
            **rounded(metrics),
            "lr": prepared.peaks[-1]
            * self._rate_factor(prepared, (state.epoch + 1) * prepared.steps - 1),
            "seconds": round(state.seconds, 3),
            "images_per_second": round(speed, 1),
        }
        state.history.append(row)
        if self.machine.ranks.first:
            write_history(self.folder, state.history)
            self.track(row)
        self._say_epoch(stage, value)
        if stage.schedule == "plateau" and state.plateau_wait >= PLATEAU_EPOCHS:
            state.plateau_factor, state.plateau_wait = state.plateau_factor * PLATEAU_FACTOR, 0
        state.epoch, state.step, state.epochs_done = state.epoch + 1, 0, state.epochs_done + 1
        state.loss_sum, state.loss_count, state.seconds = 0.0, 0, 0.0
        if self.on_epoch is not None:
            self.on_epoch(row)

    def _say_epoch(self, stage: Stage, value: float) -> None:
        row, number = self.state.history[-1], self.state.epoch + 1
        if row["seconds"] < QUIET and number < stage.epochs:
            return
        shown = "not a number" if math.isnan(value) else f"{value:.4f}"
        loss = "not a number" if row["valid_loss"] is None else f"{row['valid_loss']:.4f}"
        self.progress.say(
            f"{stage.name} epoch {number} of {stage.epochs}: train loss {row['train_loss']:.4f}, "
            f"valid loss {loss}, {self.monitor} {shown}, {row['images_per_second']:.1f} images/s"
        )

    def _keep_best(self, stage: Stage, value: float) -> None:
        self.state.best_sha256 = ""  # of several processes only the first one knows it
        if not self.machine.ranks.first:
            return
        about = {"epoch": self.state.epochs_done, "stage": stage.name, self.monitor: value}
        path = best_path(self.folder / CHECKPOINTS, self.state.epochs_done)
        with self.average.shown():
            write_tensors(path, self.network.state_dict(), about)
        self.state.best_sha256 = files.sha256_file(path)

    def _out_of_patience(self, stage: Stage) -> bool:
        return stage.patience is not None and self.state.epochs_since_best >= stage.patience

    def _end_stage(self, stage: Stage) -> None:
        """Keep the stage's weights; the state then points at the next stage."""
        state, stages = self.state, self.settings.stages
        if self.machine.ranks.first:
            (self.folder / STAGES).mkdir(exist_ok=True)
            with self.average.shown():
                path = self.folder / STAGES / f"{stage.name}.safetensors"
                write_tensors(path, self.network.state_dict(), {"stage": stage.name})
        self.machine.ranks.wait()
        state.stage, state.epoch, state.step = state.stage + 1, 0, 0
        state.epochs_since_best = state.plateau_wait = 0
        state.plateau_factor, state.scaler = 1.0, {}
        following = stages[state.stage] if state.stage < len(stages) else None
        if following is not None and following.start_from == "best":
            self.network.load_state_dict(self._best_weights())
        if following is not None and (following.cached_views or following.start_from == "best"):
            self.average.restart()  # cached features are those of the network, not of the average
        self._save(None)

    def _best_weights(self) -> dict[str, torch.Tensor]:
        if self.state.best_epoch is None:
            raise BadInput(
                f"{self.monitor} was undefined in every epoch",
                where=str(self.folder),
                remedy="training diverged: lower the learning rate, or choose another monitor",
            )
        folder = self.folder / CHECKPOINTS
        if not checkpoint.best_is_whole(folder, self.state):
            raise BadInput(
                "the best weights are missing or damaged",
                where=str(best_path(folder, self.state.best_epoch)),
                remedy="resume from an older checkpoint, or start a new run",
            )
        return read_tensors(best_path(folder, self.state.best_epoch))

    def _due(self, seconds: float) -> bool:
        """Whether to save now: all processes answer alike, by the first one's clock."""
        late = self.machine.ranks.first and time.monotonic() - self.saved_at >= seconds
        stop, due = self.machine.ranks.total(float(self.stop.requested), float(late))
        return stop + due > 0

    def _stop_requested(self) -> bool:
        return self.machine.ranks.total(float(self.stop.requested))[0] > 0

    def _save(self, prepared: PreparedStage | None) -> None:
        """Write a checkpoint; then obey a stop that was requested."""
        tensors = {f"model/{k}": v for k, v in self.network.state_dict().items()}
        if not all_finite(tensors):
            raise NonFiniteStep("network", self.place)
        self.average.mend()
        tensors |= {f"ema/{k}": v for k, v in self.average.kept.items()}
        if prepared is not None:
            moments = optimizer_tensors(prepared.context.optimizer)
            tensors |= {f"optim/{k}": v for k, v in moments.items()}
            if prepared.context.scaler.is_enabled():
                self.state.scaler = prepared.context.scaler.state_dict()
        if self.machine.ranks.first:
            fingerprint, recipe = self.machine.fingerprint(), self.settings.model_dump(mode="json")
            folder = self.folder / CHECKPOINTS
            checkpoint.save(folder, self.state, tensors, fingerprint, recipe)
        self.saved_at = time.monotonic()
        if self._stop_requested():
            self.machine.ranks.wait()
            raise Interrupted(self.how_to_go_on)

    def _finish(self, inputs: Inputs) -> None:
        """Last and best weights, the calibration of the best, its validation predictions."""
        best = self._best_weights()
        if self.machine.ranks.first:
            with self.average.shown():
                write_tensors(self.folder / LAST, self.network.state_dict(), {"kind": "last"})
        self.network.load_state_dict(best)
        logits = inputs.valid_logits(self.watchful)
        if self.machine.ranks.first:
            write_tensors(self.folder / BEST, best, {"epoch": self.state.best_epoch})
            write_results(self.run, self.state, self.parts, self.monitor, logits)
            shutil.rmtree(self.folder / FEATURES, ignore_errors=True)
        self.machine.ranks.wait()
