"""`lesionlab.export`: a bundle from a run. Needs the extra `train`; the bundle does not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.deployment.publish import export_bundle
from lesionlab.deployment.static_page import build_page
from lesionlab.evaluation.locked_points import stored_points
from lesionlab.evaluation.operating_point import OperatingPoint, default_operating_point
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.card import model_card
from lesionlab.run_folder import read_run

if TYPE_CHECKING:
    from lesionlab.deployment.from_run import FinishedRun


def export(
    run: str | Path,
    to: str | Path,
    *,
    data: str | Path | None = None,
    sign: str | Path | None = None,
    web: str | Path | None = None,
    int8: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write the bundle of a finished run to a folder, or to one file where `to` ends in .zip.

    `data` is the run's dataset folder, needed only if it has moved. `sign` is a private key (PEM,
    Ed25519). `web` is a new folder for a static page that predicts in the browser (needs npm).
    `int8` quantises the network.

    Returns `{bundle, web, identity, bytes, outputs, parity, precision, int8, ood,
    operating_points, no_operating_point, leaky, synthetic, seconds}`; `no_operating_point` gives
    the reason if the bundle has no operating point.

    Raises `BadInput`, and writes no bundle, if the run is not finished, its data have changed, or
    the bundle's probabilities differ from the original's by more than 1e-4. With `int8` also if
    there are fewer than 100 positive validation images, or if the loss of AUC may exceed 0.01.
    """
    started = time.monotonic()
    opened, target = read_run(Path(run)), Path(to)
    for output in (target, *([] if web is None else [Path(web)])):
        files.refuse_existing(output)
    extras.need_torch("export")
    from lesionlab.deployment import from_run

    source = from_run.open_finished(opened, None if data is None else Path(data))
    recipe = from_run.recipe_of(source, *_operating_points(source))
    measured_on = from_run.export_data(source, progress)
    progress.say("converting to ONNX")
    bundle = export_bundle(
        recipe,
        from_run.network_of(opened),
        measured_on,
        target,
        partial(model_card, metrics=from_run.stored_metrics(opened)),
        sign_with=None if sign is None else Path(sign),
        with_int8=int8,
        progress=progress,
    )
    if web is not None:
        progress.say("building the page")
        build_page(bundle, Path(web))
    info = bundle.info
    return {
        "schema_version": 1,
        "bundle": str(target),
        "web": None if web is None else str(web),
        "identity": bundle.identity,
        "bytes": sum(r.bytes for r in info.files.values()),
        "outputs": list(info.outputs),
        "parity": info.parity.model_dump(),
        "precision": info.precision,
        "int8": info.int8,
        "ood": None if info.ood is None else info.ood.model_dump(),
        "operating_points": [p.to_json() for p in info.operating_points],
        "no_operating_point": info.no_operating_point,
        "leaky": info.leaky,
        "synthetic": info.synthetic,
        "seconds": round(time.monotonic() - started, 2),
    }


def _operating_points(source: FinishedRun) -> tuple[Sequence[OperatingPoint], str]:
    """What the report says: the run's own points, else the default one, else none, and why."""
    points = stored_points(source.run.folder)
    if points is not None:
        return points, ""
    point, withheld = default_operating_point(
        source.predictions,
        score=source.dataset.info.malignant,
        chosen_on="valid",
        prior=source.by_class(source.calibration.prior),
    )
    return [] if point is None else [point], withheld
