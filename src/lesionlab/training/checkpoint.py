"""Checkpoints: all state that is not a pure function of (seed, stage, epoch, step).

A checkpoint is `NNNNNNNN.safetensors` and, written last, `NNNNNNNN.json` with the hash of the
former: a crash in between leaves the older checkpoint in force. The best weights so far lie beside
it as `best-EEEE.safetensors`, by the epoch that a checkpoint names, until none names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.models.tensor_files import read_tensors, write_tensors
from lesionlab.progress import Progress
from lesionlab.run_folder import as_written_today

SCHEMA_VERSION = 1
KEPT = 2
# Settings that say nothing about the numbers: they may change while a run is interrupted.
FREE_SETTINGS = ("name", "description", "source", "expected", "checkpoint_seconds", "tracking")


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
    seconds: float = 0.0  # of this epoch so far
    best_value: float | None = None
    best_epoch: int | None = None  # 0-based over all stages
    best_sha256: str = ""  # of its weights' file; not recorded by older versions
    epochs_since_best: int = 0
    plateau_factor: float = 1.0
    plateau_wait: int = 0
    found_rates: dict[str, float] = field(default_factory=dict)  # by stage, of the finder
    micro_batches: dict[str, int] = field(default_factory=dict)  # by stage, where memory ran out
    norms_reestimated: bool = False  # of the backbone, before it first trained
    scaler: dict[str, float] = field(default_factory=dict)  # of float16
    features: dict[str, dict[str, int | str]] = field(
        default_factory=dict
    )  # by stage: whence they came
    skipped: list[list[int]] = field(default_factory=list)  # [stage, epoch, step] after a NaN
    notes: list[str] = field(default_factory=list)  # what happened on the way
    history: list[dict[str, Any]] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line, once."""
        if line not in self.notes:
            self.notes.append(line)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    state: State
    tensors: dict[str, Tensor]
    fingerprint: dict[str, Any]
    settings: dict[str, Any]
    name: str

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix`, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def best_path(folder: Path, epoch: int) -> Path:
    """Where the best weights of an epoch wait for the run's end."""
    return folder / f"best-{epoch:05d}.safetensors"


def best_is_whole(folder: Path, state: State) -> bool:
    """Whether the best weights that a state names are there and are those that were written."""
    if state.best_epoch is None or not state.best_sha256:
        return True
    path = best_path(folder, state.best_epoch)
    return path.is_file() and files.sha256_file(path) == state.best_sha256


def save(
    folder: Path,
    state: State,
    tensors: dict[str, Tensor],
    fingerprint: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Write a checkpoint whole or not at all, then drop all but the newest `KEPT`.

    Raises `OSError` where the disk is full or cannot be written: the older ones stay in force.
    """
    folder.mkdir(exist_ok=True)
    found = _manifests(folder)
    number = int(found[-1].stem) + 1 if found else 0
    path = folder / f"{number:08d}.safetensors"
    write_tensors(path, tensors, {"kind": "checkpoint"})
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "sha256": files.sha256_file(path),
        "fingerprint": fingerprint,
        "settings": settings,
        "state": asdict(state),
    }
    files.write_json(path.with_suffix(".json"), manifest)
    _prune(folder, state)


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _prune(folder: Path, state: State) -> None:
    for old in _manifests(folder)[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    named = {state.best_epoch}
    for manifest in _manifests(folder):
        try:
            named.add(files.read_json(manifest)["state"]["best_epoch"])
        except (BadInput, KeyError, TypeError):
            continue  # a damaged one will not be gone back to
    keep = {best_path(folder, epoch) for epoch in named if epoch is not None}
    for path in set(folder.glob("best-*.safetensors")) - keep:
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written in a run folder (which is locked)."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def latest(folder: Path, progress: Progress) -> Checkpoint:
    """The newest checkpoint that is whole; damaged ones are named and passed over."""
    for manifest in reversed(_manifests(folder)):
        try:
            return _read(manifest)
        except (BadInput, KeyError, TypeError) as error:
            progress.say(f"checkpoint {manifest.stem} is damaged ({error}): using the previous one")
    raise BadInput("no intact checkpoint", where=str(folder), remedy="start a new run")


def _read(manifest: Path) -> Checkpoint:
    content = files.read_json(manifest)
    path = manifest.with_suffix(".safetensors")
    if not path.is_file() or files.sha256_file(path) != content["sha256"]:
        raise BadInput("its weights do not match its hash")
    state = State(**content["state"])
    if not best_is_whole(manifest.parent, state):
        raise BadInput("the best weights so far do not match their hash")
    tensors = read_tensors(path)
    return Checkpoint(state, tensors, content["fingerprint"], content["settings"], manifest.stem)


def refuse_changed_settings(found: Checkpoint, settings: Mapping[str, Any], where: str) -> None:
    """`BadInput`, with the difference, where the recipe is not the one that the run began with."""
    differs = difference(_plain(as_written_today(found.settings)), _plain(settings))
    if differs:
        raise BadInput(
            f"the settings have changed since the run began: {differs}",
            where=where,
            remedy="restore them, or start a new run",
        )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return flat({k: v for k, v in settings.items() if k not in FREE_SETTINGS})


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested settings by dotted key.

    >>> flat({"a": {"b": 1}, "c": [2, 3]})
    {'a.b': 1, 'c.0': 2, 'c.1': 3}
    """
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {key: value}
    prefix = f"{key}." if key else ""
    return {k: v for name, inner in pairs for k, v in flat(inner, f"{prefix}{name}").items()}


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two fingerprints, in words; empty where nothing does.

    >>> difference({"threads": 2}, {"threads": 4, "timm": "1.0"})
    'threads was 2, is 4, timm was not recorded, is 1.0'
    """
    absent = "not recorded"
    keys = [k for k in {**then, **now} if then.get(k) != now.get(k)]
    return ", ".join(f"{k} was {then.get(k, absent)}, is {now.get(k, absent)}" for k in keys)
