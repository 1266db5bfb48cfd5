"""The history elsewhere too: TensorBoard and MLflow, as options beside `history.csv`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lesionlab.config import Settings
from lesionlab.errors import BadInput

Row = Mapping[str, Any]
Tracker = Callable[[Row], None]
EXTRAS = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # tracker -> module and extra


def refuse_absent_trackers(settings: Settings) -> None:
    """`BadInput` that names the extra where a tracker is not installed."""
    for name in settings.tracking:
        if find_spec(EXTRAS[name]) is None:
            raise BadInput(
                f"'{name}' is not installed",
                where="tracking",
                remedy=f"install it: pip install 'lesionlab[{name}]'",
            )


def open_trackers(settings: Settings, folder: Path, first: bool) -> Tracker:
    """A function that takes each epoch's history row; only the first process tracks."""
    kinds = settings.tracking if first else ()
    trackers = [_tensorboard(folder) if k == "tensorboard" else _mlflow(folder) for k in kinds]

    def track(row: Row) -> None:
        for tracker in trackers:
            tracker(row)

    return track


def numbers(row: Row) -> dict[str, float]:
    """The finite numbers of a history row."""
    found = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
    return {k: v for k, v in found.items() if math.isfinite(v)}


def _tensorboard(folder: Path) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(row: Row) -> None:
        for name, value in numbers(row).items():
            writer.add_scalar(name, value, int(row["epoch"]))
        writer.flush()

    return track


def _mlflow(folder: Path) -> Tracker:
    """A run named after the folder; where it goes is the user's MLFLOW_TRACKING_URI."""
    import mlflow

    client = mlflow.MlflowClient()
    mark = folder / "mlflow.txt"
    if mark.is_file():
        run_id = mark.read_text().strip()
    else:
        experiment = client.get_experiment_by_name("lesionlab")
        number = experiment.experiment_id if experiment else client.create_experiment("lesionlab")
        run_id = client.create_run(number, run_name=folder.name).info.run_id
        mark.write_text(run_id)

    def track(row: Row) -> None:
        for name, value in numbers(row).items():
            client.log_metric(run_id, name, value, step=int(row["epoch"]))

    return track
