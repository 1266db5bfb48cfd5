"""What is minimised, and the class prior that a network so trained implies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lesionlab.config import LossSettings
from lesionlab.errors import BadInput

Floats = npt.NDArray[np.float64]


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


def loss_of(
    loss: LossSettings, logits: Tensor, target: Tensor, weights: Tensor, log_seen: Tensor
) -> Tensor:
    """Sum over the batch of each image's loss. `logits` (N, K) float32, `target` (N,) int64.

    `log_seen` (K,) is the log of the class shares that training sees (logit adjustment of
    Menon et al. 2021, arXiv:2007.07314).
    """
    if loss.logit_adjustment:
        logits = logits + loss.logit_adjustment * log_seen
    if loss.name == "focal":
        return _focal(logits, target, weights, loss.focal_gamma)
    if loss.name == "binary":
        return _binary(logits, target, weights, loss.label_smoothing)
    each = functional.cross_entropy(
        logits, target, label_smoothing=loss.label_smoothing, reduction="none"
    )
    return (each * weights[target]).sum()


def _focal(logits: Tensor, target: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Lin et al. 2017, arXiv:1708.02002."""
    log_p = functional.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
    return -(weights[target] * (1 - log_p.exp()) ** gamma * log_p).sum()


def _binary(logits: Tensor, target: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """One sigmoid unit on the difference of two logits: the same model as two softmax units."""
    if logits.shape[1] != 2:
        raise BadInput("'binary' needs two classes", where="loss.name", remedy="use cross_entropy")
    wanted = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    margin = logits[:, 1] - logits[:, 0]
    each = functional.binary_cross_entropy_with_logits(margin, wanted, reduction="none")
    return (each * weights[target]).sum()


def as_tensor(values: Floats, device: str) -> Tensor:
    """float32 on the device."""
    return torch.tensor(values, dtype=torch.float32, device=device)
