"""The history elsewhere too: TensorBoard and MLflow, as options beside `history.csv`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesionlab import extras
from lesionlab.config import Settings
from lesionlab.errors import BadInput

Row = Mapping[str, Any]
Tracker = Callable[[Row], None]


def refuse_absent_trackers(settings: Settings) -> None:
    """`BadInput` that names the extra where a tracker is not installed."""
    for name in settings.tracking:
        extras.need(name, "tracking", f"tracking = {name}")


def open_trackers(settings: Settings, folder: Path, first: bool, epochs_done: int = 0) -> Tracker:
    """A function that takes each epoch's history row; only the first process tracks.

    After a kill the epochs from `epochs_done` on are trained again; they are tracked once.
    """
    kinds = settings.tracking if first else ()
    trackers = [
        _tensorboard(folder, epochs_done) if k == "tensorboard" else _mlflow(folder) for k in kinds
    ]

    def track(row: Row) -> None:
        for tracker in trackers:
            tracker(row)

    return track


def numbers(row: Row) -> dict[str, float]:
    """The finite numbers of a history row."""
    found = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
    return {k: v for k, v in found.items() if math.isfinite(v)}


def _tensorboard(folder: Path, epochs_done: int) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done)

    def track(row: Row) -> None:
        for name, value in numbers(row).items():
            writer.add_scalar(name, value, int(row["epoch"]))
        writer.flush()

    return track


def _mlflow(folder: Path) -> Tracker:
    """A run named after the folder; where it goes is the user's MLFLOW_TRACKING_URI."""
    import mlflow

    with _reached():
        client = mlflow.MlflowClient()
        run_id = _mlflow_run(client, folder)
        last = client.get_run(run_id).data.metrics.get("epoch", -1)

    def track(row: Row) -> None:
        step, now = int(row["epoch"]), time.time_ns() // 10**6
        if step <= last:
            return
        with _reached():
            points = [mlflow.entities.Metric(k, v, now, step) for k, v in numbers(row).items()]
            client.log_batch(run_id, metrics=points)

    return track


def _mlflow_run(client: Any, folder: Path) -> str:
    """The id of the folder's run, which `mlflow.txt` keeps."""
    mark = folder / "mlflow.txt"
    if mark.is_file():
        return mark.read_text(encoding="utf-8").strip()
    experiment = client.get_experiment_by_name("lesionlab")
    number = experiment.experiment_id if experiment else client.create_experiment("lesionlab")
    run_id = str(client.create_run(number, run_name=folder.name).info.run_id)
    mark.write_text(run_id, encoding="utf-8")
    return run_id


@contextmanager
def _reached() -> Iterator[None]:
    """What MLflow says when it cannot be reached, or does not know the run, in one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise BadInput(
            f"MLflow does not answer ({reason[:160]})",
            where="tracking",
            remedy="fix MLFLOW_TRACKING_URI, then resume; the last checkpoint is intact",
        ) from None
