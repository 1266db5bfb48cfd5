"""A bundle is published whole, measured and read back, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from lesionlab import __version__, files
from lesionlab.config import InputSettings
from lesionlab.data.cache import Pixels
from lesionlab.data.manifest import Dataset
from lesionlab.deployment import bundle as bundles
from lesionlab.deployment.bundle import Bundle
from lesionlab.deployment.measure import (
    TOLERANCE,
    Images,
    Original,
    calibrate_sets,
    check_parity,
    distance_to_run,
    fit_distances,
    to_int8,
)
from lesionlab.deployment.predictor import Predictor, test_picture
from lesionlab.deployment.schema import BundleInfo, Parity, Training
from lesionlab.deployment.signing import sign
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import FactsCoding

PARITY_IMAGES = 256  # compared with the original; at least 200 where they exist
HELD_OUT_IMAGES = 5000  # for conformal sets and out-of-distribution thresholds, at most
BANK_IMAGES = 2000

Card = Callable[[BundleInfo], str]


@dataclass(frozen=True)
class Recipe:
    """What a run says about its model, beside the weights."""

    name: str
    settings: InputSettings
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    temperature: float
    prior: dict[str, float]
    train_prior: dict[str, float]
    training: Training
    operating_points: tuple[OperatingPoint, ...] = ()
    no_operating_point: str = ""  # why there is none
    calibration_notes: tuple[str, ...] = ()
    facts: FactsCoding | None = None
    leaky: bool = False
    leak_reason: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Network:
    """The ONNX file to be published, and the original that it must agree with."""

    data: bytes
    outputs: tuple[str, ...]
    width: int
    original: Original
    cam_offset: tuple[float, float] = (0.0, 0.0)  # `explanation.offset.place_offset`


@dataclass(frozen=True)
class ExportData:
    """The images that a bundle is measured on.

    `pixels` are the rows of `dataset.table` as `prepare` gives them; `reference` holds the run's
    own probabilities (K,) by image_id, for the record.
    """

    dataset: Dataset
    pixels: Pixels
    reference: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def export_bundle(
    recipe: Recipe,
    network: Network,
    data: ExportData,
    to: Path,
    card: Card,
    *,
    sign_with: Path | None = None,
    with_int8: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Write the bundle of `network` to `to` (folder or .zip) and return it as read back.

    Raises `BadInput`, and writes nothing, where the bundle's probabilities differ from the
    original's by more than 1e-4, or where `with_int8` costs too much (`int8.refuse_costly`).
    """
    files.refuse_existing(to)
    images = Images(data.dataset, data.pixels, progress, recipe.facts)
    draft = _draft(recipe, network)
    valid = images.sample("valid", HELD_OUT_IMAGES)
    train = images.sample("train", BANK_IMAGES)
    predictor = Predictor(draft)
    valid_outputs = images.outputs(predictor, valid, "validation images")
    first = valid[:PARITY_IMAGES]
    parity = check_parity(
        images, predictor, network.original, first, valid_outputs.prob[: len(first)]
    )
    run_difference = distance_to_run(images, valid, valid_outputs.prob, data.reference)
    if with_int8:
        draft, valid_outputs = to_int8(images, draft, train, valid, valid_outputs)
        predictor = Predictor(draft)
    train_outputs = images.outputs(predictor, train, "training images")
    part, rows, held_out = "valid", valid, valid_outputs
    if (data.dataset.table["split"] == "calib").any():
        part, rows = "calib", images.sample("calib", HELD_OUT_IMAGES)
        held_out = images.outputs(predictor, rows, "calibration images")
    arrays, statistics = fit_distances(
        images, train, train_outputs.embedding, held_out.embedding, part
    )
    content = {bundles.MODEL: draft.model}
    content |= {name: bundles.array_bytes(array) for name, array in arrays.items()}
    logits = predictor.predict(test_picture(predictor.how)[None]).logits[0]
    measured = {
        "parity": parity.model_copy(update={"max_difference_to_run": run_difference}),
        "ood": statistics,
        "conformal": (calibrate_sets(images.predictions(rows, held_out.prob), part),),
        "self_test": tuple(float(v) for v in logits),
    }
    return publish(to, draft.info.model_copy(update=measured), content, card, sign_with)


def publish(
    to: Path,
    info: BundleInfo,
    content: Mapping[str, bytes],
    card: Card,
    sign_with: Path | None = None,
) -> Bundle:
    """Write files, card and `bundle.json` with all hashes, once they pass the self-test."""
    everything = {**content, bundles.CARD: card(info).encode("utf-8")}
    info = info.model_copy(update={"files": bundles.record(everything)})
    everything[bundles.INFO] = bundles.info_bytes(info)
    if sign_with is not None:
        identity = bundles.identity_of(everything[bundles.INFO])
        everything[bundles.SIGNATURE] = sign(identity, sign_with)
    Predictor(bundles.bundle_of(everything, to)).self_test()
    bundles.write_bundle(to, everything)
    return bundles.read_bundle(to)


def _draft(recipe: Recipe, network: Network) -> Bundle:
    """The bundle in memory, before anything has been measured."""
    unmeasured = Parity(
        images=0,
        part="valid",
        max_probability_difference=0.0,
        mean_probability_difference=0.0,
        tolerance=TOLERANCE,
    )
    info = BundleInfo(
        name=recipe.name,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        lesionlab_version=__version__,
        classes=recipe.classes,
        malignant=recipe.malignant,
        preprocessing=recipe.settings,
        temperature=recipe.temperature,
        prior=recipe.prior,
        train_prior=recipe.train_prior,
        facts=recipe.facts,
        outputs=cast(Any, network.outputs),
        cam_offset=network.cam_offset,
        embedding_size=network.width,
        operating_points=recipe.operating_points,
        no_operating_point=recipe.no_operating_point,
        calibration_notes=recipe.calibration_notes,
        training=recipe.training,
        parity=unmeasured,
        self_test=(0.0,) * len(recipe.classes),
        leaky=recipe.leaky,
        leak_reason=recipe.leak_reason,
        synthetic=recipe.synthetic,
        files={},
    )
    return Bundle(Path(recipe.name), info, network.data, {}, "", "")
