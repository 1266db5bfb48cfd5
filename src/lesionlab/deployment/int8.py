"""`--int8`: eight-bit weights and activations, only where their cost is known and small.

Static quantisation (QDQ, standard operators), calibrated on training images. Weights keep to
7 bits: on processors without VNNI the eight-bit product sums saturate at 16 bits, and with 7 bits
they cannot (255 * 64 * 2 < 32768). Kernels may still round apart between layers: between AVX-512
VNNI and WebAssembly, which has no VNNI, see docs/deployment-figures.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab import extras
from lesionlab.array_types import Float32, Floats
from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.bootstrap import bootstrap, group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.ranking import rank, ranked_counts, roc_auc

CALIBRATION_IMAGES = 256
MIN_POSITIVES = 100
MAX_AUC_LOSS = 0.01
RESAMPLES = 2000


@dataclass(frozen=True)
class Cost:
    """What quantisation costs: AUC before and after, and an upper bound of the loss.

    `upper` is the one-sided 95 % bound of AUC(float32) - AUC(int8), groups resampled.
    """

    positives: int
    auc_float32: float
    auc_int8: float
    upper: float
    max_probability_difference: float


class _Images:
    """What onnxruntime's calibration reads from."""

    def __init__(self, batches: Iterator[dict[str, Float32]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Float32] | None:
        return next(self._batches, None)


def quantise(
    data: bytes, batches: Callable[[], Iterator[dict[str, Float32]]], per_channel: bool
) -> bytes:
    """The int8 version of an ONNX model; `batches()` yields its inputs by name."""
    extras.need("train", "quantisation", "--int8")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as room:
        plain, ready, small = (Path(room) / f"{n}.onnx" for n in ("plain", "ready", "small"))
        plain.write_bytes(data)
        quant_pre_process(plain, ready)
        quantize_static(
            ready,
            small,
            _Images(batches()),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            reduce_range=True,
        )
        return small.read_bytes()


def cost(before: Predictions, after: Floats, malignant: Sequence[str]) -> Cost:
    """Compare int8 probabilities `after` (N, K) with float32's on the same labelled images.

    Raises `BadInput` where there is no malignant class to judge by.
    """
    rows = [before.classes.index(c) for c in malignant]
    positive = np.isin(before.y_true, rows)
    if not rows or positive.all() or not positive.any():
        raise BadInput(
            "int8 is judged by malignant against benign, and one of them is missing",
            remedy="leave out --int8",
        )
    codes, groups = group_codes(before.groups)
    ranks = [
        rank(positive, score_of(prob, before.classes, malignant), codes)
        for prob in (before.y_prob, after)
    ]

    def areas(counts: Floats) -> dict[str, Floats]:
        first, second = (roc_auc(ranked_counts(r, counts.T)) for r in ranks)
        return {"first": first, "second": second, "loss": first - second}

    point = areas(np.ones((1, groups)))
    losses = bootstrap(areas, groups, resamples=RESAMPLES, cells_per_replicate=len(positive))[
        "loss"
    ]
    return Cost(
        int(positive.sum()),
        float(point["first"][0]),
        float(point["second"][0]),
        float(np.nanquantile(losses, 0.95)),
        float(np.abs(before.y_prob - after).max()),
    )


def refuse_costly(cost: Cost) -> None:
    """Raise `BadInput`, with the figures, where int8 is not worth its cost or cannot be judged."""
    figures = (
        f"AUC {cost.auc_float32:.4f} in float32, {cost.auc_int8:.4f} in int8, loss at most "
        f"{cost.upper:.4f} (one-sided 95 % bound), {counted(cost.positives, 'positive')}"
    )
    if cost.positives < MIN_POSITIVES:
        raise BadInput(
            f"int8 needs {MIN_POSITIVES} positive validation images to be judged: {figures}",
            remedy="leave out --int8",
        )
    if not cost.upper <= MAX_AUC_LOSS:
        raise BadInput(
            f"int8 costs too much (a loss of at most {MAX_AUC_LOSS} is allowed): {figures}",
            remedy="leave out --int8",
        )
