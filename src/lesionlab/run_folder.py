"""The run artefact: a folder with its lock, configuration, history and provenance."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from lesionlab import __version__, files, platforms
from lesionlab.config import Settings, Strict, parse
from lesionlab.errors import BadInput

SCHEMA_VERSION = 1
CONFIG = "config.json"
HISTORY = "history.csv"
CALIBRATION = "calibration.json"
OPERATING_POINTS = "operating_points.json"
BEST = "best.safetensors"
STAGES = "stages"  # a folder: the weights at the end of each
LAST = "last.safetensors"
ENSEMBLE = "ensemble.json"  # of a run folder whose weights are those of its members
SUMMARY = "summary.json"  # how the training went
CHECKPOINTS = "checkpoints"
LOCK = ".lock"


class DatasetReference(Strict):
    """Which data a run was trained on, and how to see that they have changed since."""

    folder: str
    name: str
    source: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    fingerprint: str  # SHA-256 over image ids, contents, labels, groups, parts and regions
    images: dict[str, int]  # by part
    leaky: bool = False
    leak_reason: str = ""
    synthetic: bool = False
    licence: str = "unknown"


class FactsCoding(Strict):
    """How age, sex and site of a case become numbers: fitted on the training part, once."""

    columns: tuple[str, ...]
    age_mean: float = 0.0  # years
    age_sd: float = 1.0
    sites: tuple[str, ...] = ()  # the training part's words, sorted


def _with_early_input(value: Any) -> Any:
    """Version 0.1.0 had one way to resize, and so did not record which."""
    if isinstance(value, Mapping) and isinstance(value.get("input"), Mapping):
        early = {"interpolation": "bilinear", "crop": 1.0}
        return {**value, "input": {**early, **value["input"]}}
    return value


StoredSettings = Annotated[Settings, BeforeValidator(_with_early_input)]


class RunConfig(Strict):
    """`config.json`: everything that was decided before the first step."""

    schema_version: int = SCHEMA_VERSION
    settings: StoredSettings
    dataset: DatasetReference
    weights: dict[str, str] = Field(
        default_factory=dict
    )  # file name, SHA-256, or the library's name for them
    facts: FactsCoding | None = None  # of a network that reads age, sex or site
    device: str = "cpu"
    precision: str = "float32"
    threads: int = 1
    environment: dict[str, str] = Field(default_factory=dict)
    created: str = ""


def as_written_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe with the settings that are younger than it at their defaults.

    So a run or plan of an older version compares equal to the same recipe of today. What is no
    recipe of today is returned as it is.
    """
    try:
        return Settings.model_validate(_with_early_input(settings)).model_dump(mode="json")
    except ValidationError:
        return dict(settings)


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    folder: Path
    config: RunConfig

    def predictions_path(self, split: str) -> Path:
        """Where the predictions of a part lie."""
        return self.folder / f"predictions-{split}.csv"

    def metrics_path(self, split: str) -> Path:
        """Where the metrics of a part lie."""
        return self.folder / f"metrics-{split}.json"


def read_run(folder: Path) -> Run:
    """Open a run folder; `BadInput` where it is none."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise BadInput(
            f"not a run folder (no {CONFIG})",
            where=str(folder),
            remedy="make one with: lesionlab train",
        )
    raw = files.read_versioned(folder / CONFIG, SCHEMA_VERSION)
    return Run(folder, parse(RunConfig, raw, str(folder / CONFIG)))


def refuse_unfinished(run: Run) -> None:
    """`BadInput` for a run without what its end writes: calibration and validation predictions."""
    if (run.folder / CALIBRATION).is_file() and run.predictions_path("valid").is_file():
        return
    raise BadInput(
        "the run is not finished",
        where=str(run.folder),
        remedy=f"run: lesionlab resume {run.folder}",
    )


def model_sha256(folder: Path) -> str | None:
    """Which weights a run answers with: their SHA-256, or that of all its members'."""
    if (folder / BEST).is_file():
        return files.sha256_file(folder / BEST)
    if not (folder / ENSEMBLE).is_file():
        return None
    members = files.read_json(folder / ENSEMBLE)["members"]
    hashes = "".join(run["sha256"] for member in members for run in member["runs"])
    return hashlib.sha256(hashes.encode()).hexdigest()


def write_config(folder: Path, config: RunConfig) -> None:
    """Write `config.json`."""
    files.write_json(folder / CONFIG, config.model_dump(mode="json"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for one process; `BadInput` where another one has it.

    The lock is the system's, so a killed process leaves none behind.
    """
    try:
        opened = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot be written ({error.strerror})",
            where=str(folder),
            remedy="check its permissions",
        ) from None
    with opened as stream:
        if not platforms.try_lock(stream):
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise BadInput(
                f"another process ({holder}) is writing to this run",
                where=str(folder),
                remedy="wait for it or stop it",
            )
        stream.truncate(0)
        stream.write(f"pid {os.getpid()}")
        stream.flush()
        yield


def write_history(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `history.csv` whole: one row an epoch, columns in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(folder / HISTORY, buffer.getvalue())


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of `history.csv`; numbers as float, empty cells as None."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def _number(text: str) -> Any:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def environment(packages: Sequence[str]) -> dict[str, str]:
    """Versions and machine, for provenance: no host name, no user, no path."""
    versions = {name: metadata.version(name) for name in packages}
    return {
        "lesionlab": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "byteorder": sys.byteorder,
        **versions,
    }


def now() -> str:
    """The time in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
