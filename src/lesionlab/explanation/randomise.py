"""A map must change when what the network has learned is destroyed.

Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018): parameters are randomised from
the head down to the stem, and labels are randomised. A method whose maps stay alike shows the
picture, not the network.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.data.randomness import torch_seed
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation.methods import Float32, Ints, Subject, maps_of
from lesionlab.explanation.statistics import mean_measure, rank_correlation
from lesionlab.models.classifier import Classifier
from lesionlab.models.freeze import groups
from lesionlab.progress import SILENT, Progress

CONTROL = "norms"  # nothing shuffled, but the batch norms measured anew as in all other levels
ALIKE = 0.5  # mean rank correlation from which on maps are called alike
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
        found.append(Level("all" if depth == len(every) else some[0].name, names))
    return tuple(found)


def shuffled(network: Classifier, level: Level, seed: int) -> Classifier:
    """A copy in which each tensor of the level holds its own values in random order.

    So weights keep their sizes: what is destroyed is only what was learned.
    """
    result = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(torch_seed(seed, "shuffled weights"))
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if name in level.parameters:
                order = torch.randperm(parameter.numel(), generator=generator)
                mixed = parameter.flatten()[order.to(parameter.device)]
                parameter.copy_(mixed.reshape(parameter.shape))
    return result


@torch.no_grad()
def settle(network: Classifier, subject: Subject, rows: Ints) -> None:
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


def randomised(subject: Subject, rows: Ints, seed: int = 0) -> dict[str, Classifier]:
    """The network at each level of randomisation, its batch norms settled on `rows`.

    Where it has batch norms, `CONTROL` comes first: what settling alone changes is no loss of
    what was learned, so the other levels are compared with it.
    """
    found = {}
    normed = any(isinstance(m, _BatchNorm) for m in subject.network.modules())
    control = [Level(CONTROL, frozenset())] if normed else []
    for level in (*control, *levels(subject.network)):
        network = shuffled(subject.network, level, seed)
        settle(network, subject, rows)
        found[level.name] = network
    return found


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


def refitted(network: Classifier, embedded: Float32, labels: Ints, classes: int) -> Classifier:
    """A copy whose head is a ridge regression of `labels (n,)` on `embedded (n, D)`."""
    x = embedded.astype(np.float64)
    mean = x.mean(0)
    x = x - mean
    y = np.eye(classes)[labels]
    share = y.mean(0)
    gram = x @ x.T
    gram[np.diag_indices_from(gram)] += RIDGE * len(x) * max(float((x**2).sum(1).mean()), 1e-12)
    weight = (x.T @ np.linalg.solve(gram, y - share)).T
    bias = share - weight @ mean
    result = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    head = PlainHead(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
    result.head = nn.Sequential(head.linear).to(device) if _plain(network) else head.to(device)
    return result


def _plain(network: Classifier) -> bool:
    return not any(hasattr(m, "unknown") for m in network.head.modules())


def relabelled(
    network: Classifier, embedded: Float32, labels: Ints, classes: int, seed: int = 0
) -> tuple[Classifier, Classifier]:
    """The network with its head refitted on the true labels, and on the same labels permuted.

    The body stays as it is, so this asks only whether the map follows what the head has learned.
    """
    generator = np.random.default_rng(torch_seed(seed, "permuted labels"))
    wrong = generator.permutation(labels)
    true = refitted(network, embedded, labels, classes)
    return true, refitted(network, embedded, wrong, classes)


@dataclass(frozen=True)
class Sanity:
    """How alike a method's maps stay: by level of shuffled parameters, and for permuted labels.

    `passed` is False where a check fails, None where there is too little to say.
    """

    parameters: dict[str, Measure]
    labels: Measure | None
    passed: bool | None


def judged(parameters: dict[str, Measure], labels: Measure | None) -> Sanity:
    """Passed where maps of the wholly shuffled network, and of permuted labels, are not alike.

    Not alike means: the 95 % interval of the mean rank correlation lies between -`ALIKE` and
    `ALIKE` (a map that only turns its sign shows the picture too). With too few groups for an
    interval nothing is said.
    """
    decisive = [m for m in (parameters.get("all"), labels) if m is not None]
    if any(m.high is None for m in decisive) or not decisive:
        return Sanity(parameters, labels, None)
    return Sanity(parameters, labels, all(_differs(m) for m in decisive))


def _differs(m: Measure) -> bool:
    return m.low is not None and m.high is not None and m.low > -ALIKE and m.high < ALIKE


def similarity(
    subject: Subject,
    name: str,
    maps: Float32,
    others: dict[str, Classifier],
    rows: Ints,
    target: Ints,
    groups: npt.NDArray[np.object_],
    progress: Progress = SILENT,
) -> tuple[dict[str, Measure], dict[str, Float32]]:
    """Mean rank correlation of maps with those of each other network, and the others' maps.

    `CONTROL` is compared with `maps`, every other level with `CONTROL` where there is one.
    """
    found: dict[str, Measure] = {}
    kept: dict[str, Float32] = {}
    for level, network in others.items():
        kept[level] = maps_of(
            subject, name, rows, target, network=network, progress=progress,
            title=f"{name}, shuffled {level}",
        )  # fmt: skip
        base = maps if level == CONTROL else kept.get(CONTROL, maps)
        found[level] = mean_measure(rank_correlation(base, kept[level]), groups)
    return found, kept
