"""A bundle is measured before it is published: parity with the original, then its statistics."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from lesionlab import __version__, files
from lesionlab.config import InputSettings
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.data.manifest import Dataset
from lesionlab.data.randomness import philox
from lesionlab.deployment import bundle as bundles
from lesionlab.deployment import ood
from lesionlab.deployment.bundle import Bundle
from lesionlab.deployment.predictor import Outputs, Predictor, test_picture
from lesionlab.deployment.schema import (
    BundleInfo,
    Conformal,
    OperatingPoint,
    OutOfDistribution,
    Parity,
    Training,
)
from lesionlab.deployment.signing import sign
from lesionlab.errors import BadInput
from lesionlab.evaluation.conformal import ALPHA, fit_conformal
from lesionlab.evaluation.predictions import Predictions
from lesionlab.progress import SILENT, Progress

BATCH = 16
PARITY_IMAGES = 256  # compared with the original; at least 200 where they exist
HELD_OUT_IMAGES = 5000  # for conformal sets and out-of-distribution thresholds, at most
BANK_IMAGES = 2000
TOLERANCE = 1e-4

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
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
    leaky: bool = False
    leak_reason: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Network:
    """The ONNX file to be published, and the original that it must agree with."""

    data: bytes
    outputs: tuple[str, ...]
    width: int
    original: Callable[[Float32], Float32]  # (N, C, H, W) normalised -> (N, K) logits


def export_bundle(
    recipe: Recipe,
    network: Network,
    dataset: Dataset,
    pixels: Pixels,
    to: Path,
    card: Card,
    *,
    reference: Mapping[str, npt.NDArray[np.float64]] | None = None,
    sign_with: Path | None = None,
    progress: Progress = SILENT,
) -> Bundle:
    """Write the bundle of `network` to `to` (folder or .zip) and return it as read back.

    `pixels` are the rows of `dataset.table` as `prepare` gives them; `reference` holds the run's
    own probabilities by image_id, for the record. Raises `BadInput`, and writes nothing, where
    the bundle's probabilities differ from the original's by more than 1e-4.
    """
    files.refuse_existing(to)
    draft = _draft(recipe, network)
    predictor = Predictor(draft)
    valid = _sample(dataset, "valid", HELD_OUT_IMAGES)
    train = _sample(dataset, "train", BANK_IMAGES)
    seen = _embed(predictor, pixels, valid, progress, "validation images")
    first = valid[:PARITY_IMAGES]
    parity = _parity(network, predictor, pixels, first, seen.prob[: len(first)], progress)
    known = _embed(predictor, pixels, train, progress, "training images")
    part, rows, fresh = "valid", valid, seen
    if (dataset.table["split"] == "calib").any():
        part, rows = "calib", _sample(dataset, "calib", HELD_OUT_IMAGES)
        fresh = _embed(predictor, pixels, rows, progress, "calibration images")
    arrays, statistics = _statistics(dataset, train, known.embedding, fresh.embedding, part)
    content = {bundles.MODEL: network.data}
    content |= {name: bundles.array_bytes(array) for name, array in arrays.items()}
    logits = predictor.predict(test_picture(predictor.how)[None]).logits[0]
    measured = {
        "parity": parity.model_copy(
            update={"max_difference_to_run": _to_run(dataset, valid, seen.prob, reference)}
        ),
        "ood": statistics,
        "conformal": (_conformal(dataset, rows, fresh, part),),
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
    """Write files, card and `bundle.json` with all hashes; read them back and self-test."""
    everything = {**content, bundles.CARD: card(info).encode("utf-8")}
    info = info.model_copy(update={"files": bundles.record(everything)})
    everything[bundles.INFO] = bundles.info_bytes(info)
    if sign_with is not None:
        identity = hashlib.sha256(everything[bundles.INFO]).hexdigest()
        everything[bundles.SIGNATURE] = sign(identity, sign_with)
    bundles.write_bundle(to, everything)
    written = bundles.read_bundle(to)
    Predictor(written).self_test()
    return written


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
        outputs=cast(Any, network.outputs),
        embedding_size=network.width,
        operating_points=recipe.operating_points,
        training=recipe.training,
        parity=unmeasured,
        self_test=(0.0,) * len(recipe.classes),
        leaky=recipe.leaky,
        leak_reason=recipe.leak_reason,
        synthetic=recipe.synthetic,
        files={},
    )
    return Bundle(Path(recipe.name), info, network.data, {}, "", "")


def _sample(dataset: Dataset, part: str, most: int) -> Rows:
    """At most `most` row numbers of a part, drawn without regard to class, always the same."""
    rows = np.flatnonzero(dataset.table["split"].to_numpy() == part).astype(np.int64)
    if len(rows) == 0:
        dataset.part(part)  # raises, in its words
    return philox(0, "bundle", len(rows)).permutation(rows)[:most]


def _embed(
    predictor: Predictor, pixels: Pixels, rows: Rows, progress: Progress, what: str
) -> Outputs:
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    found = [predictor.predict(pixels.take(b)) for b in progress(batches, what)]
    return Outputs(
        np.concatenate([f.logits for f in found]),
        np.concatenate([f.prob for f in found]),
        np.concatenate([f.embedding for f in found]),
    )


def _parity(
    network: Network,
    predictor: Predictor,
    pixels: Pixels,
    rows: Rows,
    prob: Float32,
    progress: Progress,
) -> Parity:
    """Compare with the original on the same pixels; `BadInput` beyond the tolerance."""
    how: Preprocessing = predictor.how
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    logits = [
        network.original(normalise(pixels.take(b), how))
        for b in progress(batches, "the original, for comparison")
    ]
    difference = np.abs(predictor.probabilities(np.concatenate(logits)) - prob)
    largest = float(difference.max())
    if not largest <= TOLERANCE:
        raise BadInput(
            f"the ONNX model's probabilities differ from the original's by up to {largest:.3g} "
            f"on {len(rows)} validation images (at most {TOLERANCE:g}); nothing was written",
            where=predictor.info.name,
            remedy="report the model's name: the conversion is at fault",
        )
    return Parity(
        images=len(rows),
        part="valid",
        max_probability_difference=largest,
        mean_probability_difference=float(difference.mean()),
        tolerance=TOLERANCE,
    )


def _to_run(
    dataset: Dataset,
    rows: Rows,
    prob: Float32,
    reference: Mapping[str, npt.NDArray[np.float64]] | None,
) -> float | None:
    names = dataset.table["image_id"].to_numpy()[rows]
    known = reference or {}
    found = [(p, known[n]) for n, p in zip(names, prob, strict=True) if n in known]
    return max((float(np.abs(p - r).max()) for p, r in found), default=None)


def _conformal(dataset: Dataset, rows: Rows, outputs: Outputs, part: str) -> Conformal:
    """Prediction sets of the deployed model itself, calibrated on a part it was not trained on."""
    table = dataset.table.iloc[rows]
    ids = [table[c].to_numpy(dtype=object) for c in ("image_id", "patient_id", "lesion_id")]
    prob = outputs.prob.astype(np.float64)
    labels = dataset.label_indices(table)
    predictions = Predictions(ids[0], ids[1], ids[2], dataset.info.classes, labels, prob)
    rule = fit_conformal(predictions, calibrated_on=part, alpha=ALPHA, rare="include")
    return Conformal.model_validate({**rule.to_json(), "calibrated_on": part})


def _statistics(
    dataset: Dataset, train: Rows, known: Float32, seen: Float32, part: str
) -> tuple[dict[str, npt.NDArray[Any]], OutOfDistribution]:
    """The arrays of the bundle: embedding bank and out-of-distribution statistics."""
    labels = dataset.label_indices(dataset.table.iloc[train])
    detector = ood.fit_detector(known, labels)
    statistics = ood.fit_thresholds(detector, seen, part)
    arrays = {
        "bank.npy": known.astype(np.float16),
        "bank_labels.npy": labels.astype(np.int16),
        "ood_mean.npy": detector.mean,
        "ood_basis.npy": detector.basis,
    }
    return arrays, statistics
