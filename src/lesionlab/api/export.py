"""`lesionlab.export`: a bundle from a run. Needs the extra `train`; the bundle does not."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.data.cache import open_pixels
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.deployment.cases import UNKNOWN, encode_cases
from lesionlab.deployment.publish import Network, Recipe, export_bundle
from lesionlab.deployment.schema import OperatingPoint, Training
from lesionlab.deployment.static_page import build_page
from lesionlab.errors import BadInput
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.predictions import Predictions, read_predictions
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.card import model_card
from lesionlab.run import OPERATING_POINTS, Run, read_run


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

    `data` is the run's dataset folder, where it has moved; `sign` a private key (PEM, Ed25519);
    `web` a new folder for the static page that answers inside a browser (needs npm). `int8`
    quantises the network, where at least 100 positives show that it costs at most 0.01 of AUC.

    Returns `{bundle, web, identity, bytes, outputs, parity, precision, int8, ood,
    operating_points, leaky, synthetic, seconds}`. Raises `BadInput`, and writes nothing, where
    the run is not finished, its data have changed, or the bundle's probabilities differ from the
    original's by more than 1e-4.
    """
    started = time.monotonic()
    opened, target = read_run(Path(run)), Path(to)
    for output in (target, *([] if web is None else [Path(web)])):
        files.refuse_existing(output)
    dataset = _dataset(opened, data)
    from lesionlab.training.predict import load_network, read_calibration
    from lesionlab.training.setup import preprocessing

    calibration = read_calibration(opened)
    predictions = _predictions(opened)
    recipe = Recipe(
        name=opened.folder.resolve().name,
        settings=opened.config.settings.shown,
        classes=dataset.info.classes,
        malignant=dataset.info.malignant,
        temperature=calibration.temperature,
        prior=_named(dataset, calibration.prior),
        train_prior=_named(dataset, calibration.train_prior),
        training=_training(opened, dataset),
        operating_points=_operating_points(opened, dataset, predictions, calibration.prior),
        facts=opened.config.facts,
        leaky=dataset.info.leaky,
        leak_reason=dataset.info.leak_reason,
        synthetic=dataset.info.synthetic,
    )
    how = preprocessing(opened.config.settings)
    pixels = open_pixels(dataset, how, progress=progress)
    progress.say("converting to ONNX")
    facts = opened.config.facts
    width = 0 if facts is None else encode_cases([UNKNOWN], facts).shape[1]
    network = _network(load_network(opened), how, width)
    reference = dict(zip(predictions.image_id, predictions.y_prob, strict=True))
    card = partial(model_card, metrics=_metrics(opened))
    written = export_bundle(
        recipe,
        network,
        dataset,
        pixels,
        target,
        card,
        reference=reference,
        sign_with=None if sign is None else Path(sign),
        with_int8=int8,
        progress=progress,
    )
    if web is not None:
        progress.say("building the page")
        build_page(written, Path(web))
    info = written.info
    return {
        "schema_version": 1,
        "bundle": str(target),
        "web": None if web is None else str(web),
        "identity": written.identity,
        "bytes": sum(r.bytes for r in info.files.values()),
        "outputs": list(info.outputs),
        "parity": info.parity.model_dump(),
        "precision": info.precision,
        "int8": info.int8,
        "ood": None if info.ood is None else info.ood.model_dump(),
        "operating_points": [p.model_dump(mode="json") for p in info.operating_points],
        "leaky": info.leaky,
        "synthetic": info.synthetic,
        "seconds": round(time.monotonic() - started, 2),
    }


def _dataset(run: Run, data: str | Path | None) -> Dataset:
    """The run's data, unchanged, in the order of `image_id`."""
    try:
        from lesionlab.training.setup import refuse_changed_data
    except ImportError as error:
        raise BadInput(
            f"export needs the extra 'train' ({error.name} is not installed)",
            remedy="install it with: pip install 'lesionlab[train]'",
        ) from None
    folder = Path(data) if data is not None else Path(run.config.dataset.folder)
    if data is None and not folder.is_dir():
        raise BadInput(
            "the dataset folder of the run was not found",
            where=str(folder),
            remedy="give it with --data DIR",
        )
    dataset = read_dataset(folder)
    refuse_changed_data(run.folder, run.config, dataset)
    table = dataset.table.sort_values("image_id", kind="stable").reset_index(drop=True)
    return Dataset(dataset.folder, table, dataset.info)


def _network(model: Any, how: Any, facts: int) -> Network:
    from lesionlab.deployment.export import to_onnx, torch_logits

    exported = to_onnx(model, how, facts)
    original = partial(torch_logits, model)
    return Network(exported.data, exported.outputs, exported.width, original)


def _predictions(run: Run) -> Predictions:
    path = run.predictions_path("valid")
    if not path.is_file():
        raise BadInput(
            "the run is not finished", where=str(run.folder), remedy="run: lesionlab resume"
        )
    return read_predictions(path)


def _named(dataset: Dataset, values: Any) -> dict[str, float]:
    return {c: float(v) for c, v in zip(dataset.info.classes, values, strict=True)}


def _training(run: Run, dataset: Dataset) -> Training:
    settings, table = run.config.settings, dataset.table
    trained = table[table["split"] == "train"]
    counts = trained["label"].value_counts()
    return Training(
        dataset=dataset.info.name,
        source=dataset.info.source,
        licence=dataset.info.licence,
        modality=dataset.info.modality,
        images=run.config.dataset.images,
        classes={c: int(counts.get(c, 0)) for c in dataset.info.classes},
        regions=bool(trained["roi_size"].notna().all()),
        model=settings.model.name,
        preset=settings.name,
        seed=settings.seed,
        fingerprint=run.config.dataset.fingerprint,
        weights=run.config.weights,
    )


def _operating_points(
    run: Run, dataset: Dataset, predictions: Predictions, prior: Any
) -> tuple[OperatingPoint, ...]:
    """The run's own, else one chosen here: sensitivity 0.95 for the malignant classes."""
    path = run.folder / OPERATING_POINTS
    if path.is_file():
        points = files.read_json(path)["points"]
        return tuple(OperatingPoint.model_validate(p) for p in points)
    malignant = dataset.info.malignant
    positives = np.isin(np.array(predictions.classes)[predictions.y_true], malignant)
    if not malignant or positives.all() or not positives.any():
        return ()
    return (_chosen(predictions, malignant, _named(dataset, prior)),)


def _chosen(
    predictions: Predictions, malignant: tuple[str, ...], prior: dict[str, float]
) -> OperatingPoint:
    for policy in ("sensitivity_bound", "sensitivity"):
        try:
            point = choose_operating_point(
                predictions, score=malignant, chosen_on="valid", policy=policy, prior=prior
            )
        except BadInput:  # too few groups for the bound: the point estimate, named as such
            continue
        return OperatingPoint.model_validate(point.to_json())
    raise BadInput("no operating point can be chosen", where="predictions-valid.csv")


def _metrics(run: Run) -> dict[str, Any]:
    """What was measured, by part, for the card."""
    parts = ("test", "valid")
    found = {part: run.metrics_path(part) for part in parts}
    return {part: files.read_json(path) for part, path in found.items() if path.is_file()}
