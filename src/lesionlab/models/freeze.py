"""Block groups from stem to head, and what of them moves: alike over all architectures."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.models.classifier import Classifier

OWN_HEADS = ("head", "pre_logits")  # what timm's bodies call layers before a classifier


@dataclass(frozen=True)
class Group:
    """One block group: its name and its parameters' names."""

    name: str
    parameters: tuple[str, ...]


def groups(network: Classifier) -> tuple[Group, ...]:
    """Block groups from stem to head, by timm's own map of each architecture.

    A group of norms alone (the last norm of a transformer) belongs to the block before it, and so
    does what a body keeps of the head that it came with. No two groups have one name.
    """
    shapes = dict(network.named_parameters())
    result: list[Group] = []
    for name, names in _body_groups(network.body):
        parameters = tuple(f"body.{n}" for n in names)
        if result and (name in OWN_HEADS or all(shapes[n].ndim < 2 for n in parameters)):
            result[-1] = Group(result[-1].name, result[-1].parameters + parameters)
        else:
            result.append(Group(name, parameters))
    head = tuple(f"head.{n}" for n, _ in network.head.named_parameters())
    return (*_distinct(result), Group("head", head))


def _distinct(found: Sequence[Group]) -> list[Group]:
    """The same groups; a name that comes again gets a number."""
    seen: Counter[str] = Counter()
    named = []
    for group in found:
        seen[group.name] += 1
        again = f" ({seen[group.name]})" if seen[group.name] > 1 else ""
        named.append(Group(group.name + again, group.parameters))
    return named


def _body_groups(body: nn.Module) -> list[tuple[str, list[str]]]:
    """(name, parameters) of each group, from stem to head; without a map of timm's, the children.

    Some of timm's networks have the function and refuse to answer (RDNet).
    """
    matcher = getattr(body, "group_matcher", None)
    if matcher is not None:
        found: OrderedDict[object, list[str]]
        with suppress(AssertionError, NotImplementedError):
            found = OrderedDict(group_parameters(body, matcher(coarse=True), reverse=False))
            return [(_group_name(names), names) for names in found.values()]
    children = [
        (name, [f"{name}.{p}" for p, _ in child.named_parameters()])
        for name, child in body.named_children()
    ]
    return [(name, names) for name, names in children if names]


def _group_name(names: list[str]) -> str:
    """What the first name and all of its kin begin with ("blocks.3"), in at most two words.

    Kin begin with the same word: the last norm that timm adds to the last block is none.
    """
    split = [name.split(".") for name in names]
    kin = [words for words in split if words[0] == split[0][0]]
    if len(kin) == 1:
        return split[0][0]
    same = takewhile(lambda words: len(set(words)) == 1, zip(*kin, strict=False))
    return ".".join([words[0] for words in same][:2])


def trainable_groups(network: Classifier, which: str, norms: bool = False) -> tuple[Group, ...]:
    """The groups that "head", "last_block" or "all" trains, from stem to head.

    With `norms` the batch norms of the other groups move too (fastai's way with a frozen body).
    """
    every = groups(network)
    keep = {"head": 1, "last_block": 2, "all": len(every)}[which]
    if not norms:
        return every[-keep:]
    inside = {
        f"{name}.{p}"
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm)
        for p, _ in module.named_parameters(recurse=False)
    }
    frozen = [Group(g.name, tuple(n for n in g.parameters if n in inside)) for g in every[:-keep]]
    return (*(g for g in frozen if g.parameters), *every[-keep:])


def freeze(network: Classifier, which: str, norms: bool = False) -> tuple[str, ...]:
    """Let only the groups of `which` have gradients; returns their parameters' names in order."""
    names = tuple(n for g in trainable_groups(network, which, norms) for n in g.parameters)
    moving = set(names)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in moving)
    return names


def set_mode(network: Classifier, which: str, frozen_batch_norm: str) -> None:
    """Train mode, but frozen batch norms keep their statistics (unless asked otherwise)."""
    network.train()
    if frozen_batch_norm == "train":
        return
    for module in network.body.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()
    if which == "head":
        network.body.eval()
