"""Checkpoints: all state that is not a pure function of (seed, stage, epoch, step).

A checkpoint is `step-NNNNNNNN.safetensors` and, written last, `step-NNNNNNNN.json` with the hash
of the former: a crash in between leaves the older checkpoint in force.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.models.weights import read_tensors, write_tensors
from lesionlab.progress import Progress

SCHEMA_VERSION = 1
KEPT = 2


@dataclass
class State:
    """Where a run stands: the next step to be done, and what was gathered on the way."""

    stage: int = 0
    epoch: int = 0  # within the stage
    step: int = 0  # optimizer steps within the epoch
    steps_done: int = 0
    epochs_done: int = 0
    loss_sum: float = 0.0  # over the images of this epoch so far
    loss_count: int = 0
    best_value: float | None = None
    best_epoch: int | None = None  # 0-based over all stages
    epochs_since_best: int = 0
    plateau_factor: float = 1.0
    plateau_wait: int = 0
    found_rates: dict[str, float] = field(default_factory=dict)  # by stage, of the finder
    scaler: dict[str, float] = field(default_factory=dict)  # of float16
    skipped: list[list[int]] = field(default_factory=list)  # [stage, epoch, step] after a NaN
    notes: list[str] = field(default_factory=list)  # what happened on the way
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    state: State
    tensors: dict[str, Tensor]
    fingerprint: dict[str, Any]
    name: str


def save(
    folder: Path, state: State, tensors: dict[str, Tensor], fingerprint: dict[str, Any]
) -> None:
    """Write a checkpoint whole or not at all, then drop all but the newest `KEPT`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{state.steps_done:08d}.safetensors"
    try:
        write_tensors(path, tensors, {"kind": "checkpoint"})
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "sha256": files.sha256_file(path),
            "fingerprint": fingerprint,
            "state": asdict(state),
        }
        files.write_json(path.with_suffix(".json"), manifest)
    except OSError as error:
        raise BadInput(
            f"the checkpoint cannot be written ({error.strerror or error})",
            where=str(folder),
            remedy="free some space and resume: older checkpoints are whole",
        ) from None
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def latest(folder: Path, progress: Progress) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are named and passed over."""
    for manifest in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            return _read(manifest)
        except (BadInput, KeyError, TypeError) as error:
            progress.say(f"checkpoint {manifest.stem} is damaged ({error}): using the one before")
    return None


def _read(manifest: Path) -> Checkpoint:
    content = files.read_json(manifest)
    path = manifest.with_suffix(".safetensors")
    if not path.is_file() or files.sha256_file(path) != content["sha256"]:
        raise BadInput("its weights do not match its hash")
    state = State(**content["state"])
    return Checkpoint(state, read_tensors(path), content["fingerprint"], manifest.stem)


def difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between two fingerprints, in words; empty where nothing does.

    >>> difference({"threads": 2}, {"threads": 4})
    'threads was 2, is 4'
    """
    keys = [k for k in {**then, **now} if then.get(k) != now.get(k)]
    return ", ".join(f"{k} was {then.get(k)}, is {now.get(k)}" for k in keys)
