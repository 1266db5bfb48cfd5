"""How far an image lies from the training images, in the network's own embedding.

Two distances, because each misses what the other sees: Mahalanobis with a shrunk covariance
(Ledoit and Wolf 2004; Lee et al., NeurIPS 2018) and the distance to the k-th nearest training
image on the unit sphere (Sun et al., ICML 2022). Their thresholds come from validation images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Float32
from lesionlab.deployment.schema import OutOfDistribution

DIRECTIONS = 128  # kept exactly; the rest of the space shares one variance
NEIGHBOURS = 10
LEVEL = 0.99  # share of validation images below each threshold


@dataclass(frozen=True)
class Detector:
    """Statistics of the training embeddings: `mean` (D,), `basis` (r, D), `bank` (n, D) unit rows.

    Row i of `basis` is a direction divided by its standard deviation; `residual_scale` is
    1 / standard deviation outside them.
    """

    mean: Float32
    basis: Float32
    residual_scale: float
    bank: Float32
    labels: npt.NDArray[np.int64]
    k: int

    def mahalanobis(self, embedding: Float32) -> Float32:
        """(N, D) -> (N,) distance from the mean, in standard deviations."""
        centred = embedding.astype(np.float32) - self.mean
        along = centred @ self.basis.T
        variance = 1.0 / np.maximum((self.basis**2).sum(axis=1), 1e-30)
        rest = np.maximum((centred**2).sum(axis=1) - (along**2 * variance).sum(axis=1), 0)
        total = (along**2).sum(axis=1) + rest * self.residual_scale**2
        return np.asarray(np.sqrt(total), np.float32)

    def neighbours(self, embedding: Float32) -> tuple[Float32, npt.NDArray[np.int64]]:
        """(N, D) -> distances (N, k), ascending, and rows of the bank (N, k)."""
        cosine = unit_rows(embedding) @ self.bank.T
        rows = np.argsort(-cosine, axis=1, kind="stable")[:, : self.k]
        nearest = np.take_along_axis(cosine, rows, axis=1)
        return np.sqrt(np.maximum(2 - 2 * nearest, 0)).astype(np.float32), rows

    def knn(self, embedding: Float32) -> Float32:
        """(N, D) -> (N,) distance to the k-th nearest training image, in [0, 2]."""
        return np.asarray(self.neighbours(embedding)[0][:, -1], np.float32)


def unit_rows(embedding: npt.NDArray[Any]) -> Float32:
    """Rows scaled to length 1; a zero row stays zero."""
    rows = embedding.astype(np.float32)
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)


def fit_detector(embedding: Float32, labels: npt.NDArray[np.int64]) -> Detector:
    """Statistics of (n, D) training embeddings; n >= 3."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, size = embedding.shape
    data = embedding.astype(np.float64)
    mean = data.mean(axis=0)
    centred = data - mean
    alpha = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    target = float((singular**2).sum() / n / size)
    floor = 1e-12 * max(target, 1e-12)
    shrunk = (1 - alpha) * singular**2 / n + alpha * target + floor
    kept = min(DIRECTIONS, len(shrunk))
    # Outside the kept directions: what their eigenvalues, shrunk, are on average.
    left = size - kept
    mass = shrunk[kept:].sum() + (size - len(shrunk)) * (alpha * target + floor)
    residual = mass / left if left else 1.0
    basis = rows[:kept] / np.sqrt(shrunk[:kept, None])
    return Detector(
        mean.astype(np.float32),
        basis.astype(np.float32),
        1.0 / math.sqrt(residual) if left else 0.0,
        unit_rows(embedding.astype(np.float16)),
        labels,
        min(NEIGHBOURS, n),
    )


def upper_quantile(values: npt.NDArray[Any], level: float) -> float:
    """The value that a new exchangeable one stays below with probability >= `level`.

    The largest one where there are too few for that.

    >>> upper_quantile(np.arange(1.0, 200.0), 0.99)
    198.0
    """
    ordered = np.sort(values)
    rank = math.ceil(level * (len(ordered) + 1))
    return float(ordered[min(rank, len(ordered)) - 1])


def fit_thresholds(detector: Detector, embedding: Float32, part: str) -> OutOfDistribution:
    """Both thresholds at `LEVEL` of the (n, D) embeddings of a part that was not trained on."""
    far, alone = detector.mahalanobis(embedding), detector.knn(embedding)
    far_limit, alone_limit = upper_quantile(far, LEVEL), upper_quantile(alone, LEVEL)
    flagged = (far > far_limit) | (alone > alone_limit)
    return OutOfDistribution(
        mahalanobis_threshold=far_limit,
        knn_threshold=alone_limit,
        k=detector.k,
        residual_scale=detector.residual_scale,
        fitted_on=part,
        n=len(embedding),
        expected_rate=float(flagged.mean()),
    )


def detector_of(arrays: Mapping[str, npt.NDArray[Any]], statistics: OutOfDistribution) -> Detector:
    """The detector that a bundle's arrays describe."""
    return Detector(
        arrays["ood_mean.npy"].astype(np.float32),
        arrays["ood_basis.npy"].astype(np.float32),
        statistics.residual_scale,
        unit_rows(arrays["bank.npy"]),
        arrays["bank_labels.npy"].astype(np.int64),
        min(statistics.k, len(arrays["bank.npy"])),
    )
