"""What is minimised, and the class prior that a network so trained implies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lesionlab.array_types import Floats
from lesionlab.config import LossSettings
from lesionlab.errors import BadInput


def class_weights(loss: LossSettings, counts: Floats) -> Floats:
    """(K,) weights of the classes, mean 1 over the images: balanced ones are n / (K n_k)."""
    if loss.class_weights == "balanced":
        weights: Floats = counts.sum() / (len(counts) * counts)
        return weights
    return np.ones(len(counts))


def implied_prior(loss: LossSettings, sampling: str, counts: Floats) -> Floats:
    """(K,) the class prior in force in training: after sampling, weights and logit adjustment.

    It is what `softmax(logits)` is a posterior under, and what is divided out, once.
    """
    natural = counts / counts.sum()
    seen = np.full(len(counts), 1 / len(counts)) if sampling == "balanced" else natural
    weighted = seen * class_weights(loss, counts)
    adjusted = weighted / seen**loss.logit_adjustment
    prior: Floats = adjusted / adjusted.sum()
    return prior


def refuse_unfit_loss(loss: LossSettings, classes: int) -> None:
    """`BadInput` for a loss that is not defined for so many classes."""
    needed = LOSSES[loss.name].classes
    if needed is not None and classes != needed:
        raise BadInput(
            f"'{loss.name}' needs {needed} classes, the data set has {classes}",
            where="loss.name",
            remedy="use cross_entropy",
        )


def loss_of(
    loss: LossSettings, logits: Tensor, target: Tensor, weights: Tensor, log_seen: Tensor
) -> Tensor:
    """Sum over the batch of each image's loss. `logits` (N, K) float32, `target` (N,) int64.

    `log_seen` (K,) is the log of the class shares that training sees (logit adjustment of
    Menon et al. 2021, arXiv:2007.07314). Raises `BadInput` as `refuse_unfit_loss`.
    """
    refuse_unfit_loss(loss, logits.shape[1])
    if loss.logit_adjustment:
        logits = logits + loss.logit_adjustment * log_seen
    return LOSSES[loss.name].total(logits, target, weights, loss)


def _cross_entropy(logits: Tensor, target: Tensor, weights: Tensor, loss: LossSettings) -> Tensor:
    each = functional.cross_entropy(
        logits, target, label_smoothing=loss.label_smoothing, reduction="none"
    )
    return (each * weights[target]).sum()


def _focal(logits: Tensor, target: Tensor, weights: Tensor, loss: LossSettings) -> Tensor:
    """Lin et al. 2017, arXiv:1708.02002."""
    log_p = functional.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
    return -(weights[target] * (1 - log_p.exp()) ** loss.focal_gamma * log_p).sum()


def _binary(logits: Tensor, target: Tensor, weights: Tensor, loss: LossSettings) -> Tensor:
    """One sigmoid unit on the difference of two logits: the same model as two softmax units."""
    smoothing = loss.label_smoothing
    wanted = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    margin = logits[:, 1] - logits[:, 0]
    each = functional.binary_cross_entropy_with_logits(margin, wanted, reduction="none")
    return (each * weights[target]).sum()


@dataclass(frozen=True)
class Loss:
    """A loss by its name in `LossSettings`: a new one is a line of `LOSSES` and one there.

    `total(logits (N, K), target (N,), weights (K,), settings)` is the weighted sum over the batch.
    """

    total: Callable[[Tensor, Tensor, Tensor, LossSettings], Tensor]
    classes: int | None = None  # how many it needs; None: any number


LOSSES = {
    "cross_entropy": Loss(_cross_entropy),
    "binary": Loss(_binary, classes=2),
    "focal": Loss(_focal),
}


def as_tensor(values: Floats, device: str) -> Tensor:
    """float32 on the device."""
    return torch.tensor(values, dtype=torch.float32, device=device)
