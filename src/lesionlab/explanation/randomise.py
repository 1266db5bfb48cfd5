"""A map must change when what the network has learned is destroyed.

Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018): parameters are randomised from
the head down to the stem, and labels are randomised. A method whose maps stay alike shows the
picture, not the network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.array_types import Float32, Floats, Ints
from lesionlab.data.randomness import torch_seed
from lesionlab.explanation.methods import ExplainedNetwork
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import groups

CONTROL = "norms"  # nothing shuffled, but the batch norms measured anew as in all other levels
EVERYTHING = "all"  # the level that decides
DRAWS = 3  # shuffles of everything, and permutations of the labels: one may be lucky
RIDGE = 1e-3  # of the refitted heads, as a share of the features' sum of squares


@dataclass(frozen=True)
class Level:
    """How far the randomisation went: the name of the lowest group, and what is shuffled."""

    name: str
    parameters: frozenset[str]


def levels(network: Classifier) -> tuple[Level, ...]:
    """The head alone; the upper half of the block groups; everything."""
    every = groups(network)
    depths = dict.fromkeys((1, math.ceil(len(every) / 2), len(every)))
    found = []
    for depth in depths:
        some = every[-depth:]
        names = frozenset(n for g in some for n in g.parameters)
        if depth == len(every):  # what belongs to no group (tokens, positions) goes too
            names |= {n for n, _ in network.named_parameters()}
        found.append(Level(EVERYTHING if depth == len(every) else some[0].name, names))
    return tuple(found)


def shuffled(network: Classifier, level: Level, seed: int, draw: int = 0) -> Classifier:
    """A copy in which each tensor of the level holds its own values in random order.

    So weights keep their sizes: what is destroyed is only what was learned.
    """
    result = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(torch_seed(seed, "shuffled weights", draw))
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if name in level.parameters:
                order = torch.randperm(parameter.numel(), generator=generator)
                mixed = parameter.flatten()[order.to(parameter.device)]
                parameter.copy_(mixed.reshape(parameter.shape))
    return result


@torch.no_grad()
def settle(network: Classifier, subject: ExplainedNetwork, rows: Ints) -> None:
    """Measure the batch norms' statistics anew: shuffled layers have other means."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    if not norms or len(rows) < 2:
        return
    momenta = [m.momentum for m in norms]
    network.eval()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain average over the batches
        module.train()
    for some in np.array_split(rows, -(-len(rows) // 32)):  # a lone image has no spread
        network(subject.images(subject.views(some)), subject.known(some))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    network.eval()


def randomised(
    subject: ExplainedNetwork, rows: Ints, seed: int = 0, draws: int = DRAWS
) -> Iterator[tuple[str, Classifier]]:
    """The network at each level of randomisation, its batch norms settled on `rows`.

    Where it has batch norms, `CONTROL` comes first: what settling alone changes is no loss of
    what was learned, so the other levels are compared with it. `EVERYTHING` comes `draws` times,
    the others once. One network is made at a time, so that memory does not grow with them.
    """
    normed = any(isinstance(m, _BatchNorm) for m in subject.network.modules())
    control = [Level(CONTROL, frozenset())] if normed else []
    for level in (*control, *levels(subject.network)):
        for draw in range(draws if level.name == EVERYTHING else 1):
            network = shuffled(subject.network, level, seed, draw)
            settle(network, subject, rows)
            yield level.name, network
            del network  # before the next one is made


class PlainHead(nn.Module):
    """A linear head that takes no notice of facts."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)

    def forward(self, embedded: Tensor, facts: Tensor | None = None) -> Tensor:
        logits: Tensor = self.linear(embedded)
        return logits


def refitted(
    network: Classifier, embedded: Float32, labels: Sequence[Ints], classes: int
) -> tuple[Classifier, ...]:
    """For each of `labels (n,)` the network with a head that is a ridge regression of it.

    `embedded` is (n, D). All share the network's body: only the heads are new.
    """
    x = embedded.astype(np.float64)
    mean = x.mean(0)
    x -= mean
    wanted = [np.eye(classes)[some] for some in labels]
    shares = [y.mean(0) for y in wanted]
    gram = x @ x.T
    gram[np.diag_indices_from(gram)] += RIDGE * len(x) * max(float((x**2).sum(1).mean()), 1e-12)
    solved = np.linalg.solve(gram, np.hstack([y - s for y, s in zip(wanted, shares, strict=True)]))
    weights = (x.T @ solved).T.reshape(len(labels), classes, -1)
    return tuple(
        _with_head(network, weight, share - weight @ mean)
        for weight, share in zip(weights, shares, strict=True)
    )


def _with_head(network: Classifier, weight: Floats, bias: Floats) -> Classifier:
    head = PlainHead(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
    reads_facts = any(hasattr(m, "unknown") for m in network.head.modules())
    made = head if reads_facts else nn.Sequential(head.linear)
    made.to(next(network.parameters()).device)
    result = Classifier(network.body, network.pooling, made, network.kind)
    return result.train(network.training)


def relabelled(
    network: Classifier,
    embedded: Float32,
    labels: Ints,
    classes: int,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[Classifier, ...]:
    """The network with its head refitted on the true labels, then on `draws` permutations of them.

    The body stays as it is, so this asks only whether the map follows what the head has learned.
    """
    wrong = [
        np.random.default_rng(torch_seed(seed, "permuted labels", draw)).permutation(labels)
        for draw in range(draws)
    ]
    return refitted(network, embedded, [labels, *wrong], classes)
