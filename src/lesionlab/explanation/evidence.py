"""What is explained: how much a network speaks for one class against the mean of the others.

A constant added to all logits changes no probability, so it must not show in a map. The page of
a served model draws the same quantity (`deployment.heatmap.evidence`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lesionlab.models.classifier import Classifier

Score = Callable[..., Tensor]  # (images, target, facts or None) -> (N,)


def evidence(logits: Tensor, target: Tensor) -> Tensor:
    """(N, K) logits, (N,) classes -> (N,): the target's logit less the mean of the others.

    >>> evidence(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0])).tolist()
    [2.5]
    """
    chosen = logits.gather(1, target[:, None])[:, 0]
    return chosen - (logits.sum(1) - chosen) / (logits.shape[1] - 1)


def scorer(network: Classifier) -> Score:
    """The network as a function of (images, target, facts) to (N,) evidence."""

    def score(images: Tensor, target: Tensor, facts: Tensor | None = None) -> Tensor:
        return evidence(network(images, facts), target)

    return score


@contextmanager
def held_still(network: nn.Module) -> Iterator[None]:
    """Eval mode, and no gradients for parameters: only what a map asks for is differentiated."""
    was_training = network.training
    moving = [p for p in network.parameters() if p.requires_grad]
    network.eval()
    network.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)
        network.train(was_training)
