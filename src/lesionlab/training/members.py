"""`ensemble.json`: which runs an ensemble is made of, and the network of one that averages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lesionlab import files
from lesionlab.config import Strict, parse
from lesionlab.errors import BadInput
from lesionlab.models.mean import MeanNetwork, Member
from lesionlab.run_folder import BEST, ENSEMBLE, Run, read_run

EPSILON = 1e-12  # the smallest probability whose logarithm is taken


class MemberRun(Strict):
    """One run, and the weights that it had."""

    folder: str
    sha256: str


class MemberRecord(Strict):
    """A run, or the fold runs of one seed of a repeat, whose probabilities are averaged first."""

    name: str
    kind: Literal["run", "repeat", "handmade"]
    runs: tuple[MemberRun, ...] = ()


class EnsembleRecord(Strict):
    """How an ensemble answers."""

    schema_version: int = 1
    method: Literal["mean", "rank", "stack"]
    views: int = Field(1, ge=1, le=8)
    members: tuple[MemberRecord, ...] = Field(min_length=1)
    seed: int = 0  # of the repeats
    facts: tuple[str, ...] = ()  # that the stack reads
    out_of_fold: bool = False  # its "valid" predictions are those of the folds


def is_ensemble(folder: Path) -> bool:
    """Whether a run folder is an ensemble."""
    return (folder / ENSEMBLE).is_file()


def read_record(folder: Path) -> EnsembleRecord:
    """The record of an ensemble."""
    raw: dict[str, Any] = files.read_json(folder / ENSEMBLE)
    return parse(EnsembleRecord, raw, str(folder / ENSEMBLE))


def member_runs(record: EnsembleRecord) -> list[Run]:
    """All runs of an ensemble; `BadInput` where one is gone or was trained again."""
    found = []
    for member in (run for m in record.members for run in m.runs):
        run = read_run(Path(member.folder))
        if files.sha256_file(run.folder / BEST) != member.sha256:
            raise BadInput(
                "its weights have changed since the ensemble was made",
                where=str(run.folder),
                remedy="make the ensemble again",
            )
        found.append(run)
    return found


def mean_network(folder: Path, load: Callable[[Run], Member]) -> MeanNetwork:
    """The one network of an averaging ensemble; `BadInput` where there is none."""
    record = read_record(folder)
    reason = _no_network(record)
    if reason:
        raise BadInput(
            f"{reason}: it cannot be exported as one network",
            where=str(folder),
            remedy="export an ensemble of runs with --method mean",
        )
    runs = member_runs(record)
    _refuse_unlike(runs, folder)
    return MeanNetwork([load(run) for run in runs], record.views).eval()


def _no_network(record: EnsembleRecord) -> str:
    if record.method == "rank":
        return "ranks are relative to the validation images"
    if record.method == "stack":
        return "a stack ends in boosted trees"
    if any(m.kind == "handmade" for m in record.members):
        return "handcrafted features are not a network"
    if record.out_of_fold:
        return "fold runs have seen every image that could calibrate a bundle"
    return ""


def _refuse_unlike(runs: list[Run], folder: Path) -> None:
    first = runs[0].config
    for run in runs[1:]:
        if run.config.settings.input != first.settings.input:
            raise BadInput(
                f"'{run.folder.name}' and '{runs[0].folder.name}' prepare images differently",
                where=str(folder),
                remedy="export members with the same input settings (size, fit, interpolation, "
                "crop, mean and std)",
            )
        if run.config.facts != first.facts:
            raise BadInput(
                f"'{run.folder.name}' and '{runs[0].folder.name}' use different clinical metadata",
                where=str(folder),
            )
