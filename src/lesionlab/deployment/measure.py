"""What is measured of a model before it is published: parity, sets, distances, int8's cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Float32, Rows
from lesionlab.data.cache import Pixels
from lesionlab.data.clinical_metadata import encode
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.data.manifest import Dataset
from lesionlab.data.randomness import philox
from lesionlab.deployment import int8, ood
from lesionlab.deployment.bundle import Bundle
from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.deployment.schema import BundledConformal, OutOfDistribution, Parity
from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.calibration import fit_temperature
from lesionlab.evaluation.conformal import fit_conformal
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.policies import DEFAULT_ALPHA
from lesionlab.evaluation.predictions import Predictions
from lesionlab.progress import Progress
from lesionlab.run_folder import FactsCoding

BATCH = 16
TOLERANCE = 1e-4

Original = Callable[..., Float32]  # (N, C, H, W) normalised, (N, F) facts if any -> (N, K) logits


@dataclass(frozen=True)
class Images:
    """A data set with its pixels, row by row, and whom to tell how far it is."""

    dataset: Dataset
    pixels: Pixels
    progress: Progress
    facts: FactsCoding | None = None  # of a network that reads age, sex or site

    def sample(self, part: str, most: int) -> Rows:
        """At most `most` row numbers of a part, drawn without regard to class, always the same."""
        rows = np.flatnonzero(self.dataset.table["split"].to_numpy() == part).astype(np.int64)
        if len(rows) == 0:
            self.dataset.part(part)  # raises, in its words
        return philox(0, "bundle", len(rows)).permutation(rows)[:most]

    def batches(self, rows: Rows, what: str) -> Iterator[tuple[Any, Float32 | None]]:
        """(n, size, size, C) uint8 and (n, F) facts if any, `BATCH` rows at a time."""
        parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        coded = None if self.facts is None else encode(self.dataset.table, self.facts)
        for part in self.progress(parts, what):
            yield self.pixels.take(part), None if coded is None else coded[part]

    def outputs(self, predictor: Predictor, rows: Rows, what: str) -> Outputs:
        """What the network says of these rows, without maps."""
        results = [predictor.predict(p, facts=f) for p, f in self.batches(rows, what)]
        return Outputs(
            np.concatenate([r.logits for r in results]),
            np.concatenate([r.prob for r in results]),
            np.concatenate([r.embedding for r in results]),
        )

    def predictions(self, rows: Rows, prob: Float32) -> Predictions:
        """The predictions artefact of these rows."""
        table = self.dataset.table.iloc[rows]
        ids = [table[c].to_numpy(dtype=object) for c in ("image_id", "patient_id", "lesion_id")]
        labels = self.dataset.label_indices(table)
        classes = self.dataset.info.classes
        return Predictions(ids[0], ids[1], ids[2], classes, labels, prob.astype(np.float64))


def check_parity(
    images: Images, predictor: Predictor, original: Original, rows: Rows, prob: Float32
) -> Parity:
    """Compare with the original on the same pixels; `BadInput` beyond the tolerance."""
    how: Preprocessing = predictor.how
    logits = [
        original(normalise(pixels, how), *([] if facts is None else [facts]))
        for pixels, facts in images.batches(rows, "the original, for comparison")
    ]
    difference = np.abs(predictor.probabilities(np.concatenate(logits)) - prob)
    largest = float(difference.max())
    if not largest <= TOLERANCE:
        raise BadInput(
            f"the ONNX model's probabilities differ from the original's by up to {largest:.3g} "
            f"on {counted(len(rows), 'validation image')} (at most {TOLERANCE:g}); nothing "
            "was written",
            where=predictor.info.name,
            remedy="report the model's name: its conversion to ONNX is wrong",
        )
    return Parity(
        images=len(rows),
        part="valid",
        max_probability_difference=largest,
        mean_probability_difference=float(difference.mean()),
        tolerance=TOLERANCE,
    )


def distance_to_run(
    images: Images, rows: Rows, prob: Float32, reference: Mapping[str, npt.NDArray[np.float64]]
) -> float | None:
    """Largest difference to the run's own probabilities, by image_id; None where none is known."""
    names = images.dataset.table["image_id"].to_numpy()[rows]
    pairs = [(p, reference[n]) for n, p in zip(names, prob, strict=True) if n in reference]
    return max((float(np.abs(p - r).max()) for p, r in pairs), default=None)


def calibrate_sets(predictions: Predictions, part: str) -> BundledConformal:
    """Prediction sets of the deployed model itself, on a part it was not trained on."""
    rule = fit_conformal(predictions, calibrated_on=part, alpha=DEFAULT_ALPHA, rare="include")
    return BundledConformal(**vars(rule), calibrated_on=part)


def fit_distances(
    images: Images, train: Rows, train_embedding: Float32, embedding: Float32, part: str
) -> tuple[dict[str, npt.NDArray[Any]], OutOfDistribution]:
    """The arrays of the bundle: embedding bank and out-of-distribution statistics."""
    labels = images.dataset.label_indices(images.dataset.table.iloc[train])
    detector = ood.fit_detector(train_embedding, labels)
    statistics = ood.fit_thresholds(detector, embedding, part)
    arrays = {
        "bank.npy": train_embedding.astype(np.float16),
        "bank_labels.npy": labels.astype(np.int16),
        "ood_mean.npy": detector.mean,
        "ood_basis.npy": detector.basis,
    }
    return arrays, statistics


def to_int8(
    images: Images, draft: Bundle, train: Rows, valid: Rows, float_outputs: Outputs
) -> tuple[Bundle, Outputs]:
    """The cheaper of per-channel and per-tensor int8, with temperature and thresholds refitted.

    Raises `BadInput`, with the figures, where the loss of AUC may exceed 0.01.
    """
    before, how = images.predictions(valid, float_outputs.prob), draft.preprocessing
    candidates = []
    for per_channel in (True, False):
        name = "per channel" if per_channel else "per tensor"

        def calibration() -> Iterator[dict[str, Float32]]:
            rows = train[: int8.CALIBRATION_IMAGES]
            for pixels, facts in images.batches(rows, "calibrating int8"):
                given = {"images": normalise(pixels, how)}
                yield given if facts is None else {**given, "facts": facts}

        small = replace(draft, model=int8.quantise(draft.model, calibration, per_channel))
        int8_outputs = images.outputs(Predictor(small), valid, f"int8 {name}")
        cost = int8.cost(before, int8_outputs.prob.astype(np.float64), draft.info.malignant)
        candidates.append((cost.auc_int8, per_channel, cost, small, int8_outputs))
    _, per_channel, cost, small, int8_outputs = max(candidates, key=lambda t: t[0])
    int8.refuse_costly(cost)
    return _refitted(
        images, small, valid, int8_outputs, {**asdict(cost), "per_channel": per_channel}
    )


def _refitted(
    images: Images, small: Bundle, valid: Rows, outputs: Outputs, cost: Mapping[str, Any]
) -> tuple[Bundle, Outputs]:
    info, labels = small.info, images.predictions(valid, outputs.prob).y_true
    shift = small.log_prior_ratio().astype(np.float64)
    fitted = fit_temperature(outputs.logits.astype(np.float64), labels, shift)
    update = {"temperature": fitted.temperature, "calibration_notes": fitted.notes}
    warm = replace(small, info=info.model_copy(update=update))
    prob = Predictor(warm).probabilities(outputs.logits)
    after = images.predictions(valid, prob)
    points = tuple(
        choose_operating_point(
            after,
            score=p.score,
            chosen_on="valid",
            policy=p.policy,
            target=p.target,
            prior=p.prior,
        )
        for p in info.operating_points
    )
    about = {
        **cost,
        "calibration_images": int8.CALIBRATION_IMAGES,
        "weight_bits": 7,
        "without_vnni": "no product sum saturates (7-bit weights), but kernels may round apart",
    }
    changes = {"operating_points": points, "precision": "int8", "int8": about}
    ready = replace(warm, info=warm.info.model_copy(update=changes))
    return ready, replace(outputs, prob=prob)
