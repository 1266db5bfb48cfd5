"""Block groups from stem to head, and what of them moves: alike over all architectures."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.models.classifier import Classifier


@dataclass(frozen=True)
class Group:
    """One block group: its name and its parameters' names."""

    name: str
    parameters: tuple[str, ...]


def groups(network: Classifier) -> tuple[Group, ...]:
    """Block groups from stem to head, by timm's own map of each architecture.

    A group of norms alone (the last norm of a transformer) belongs to the block before it.
    """
    shapes = dict(network.named_parameters())
    result: list[Group] = []
    for name, names in _body_groups(network.body):
        parameters = tuple(f"body.{n}" for n in names)
        if result and all(shapes[n].ndim < 2 for n in parameters):
            result[-1] = Group(result[-1].name, result[-1].parameters + parameters)
        else:
            result.append(Group(name, parameters))
    head = tuple(f"head.{n}" for n, _ in network.head.named_parameters())
    return (*result, Group("head", head))


def _body_groups(body: nn.Module) -> list[tuple[str, list[str]]]:
    """(name, parameters) of each group, from stem to head."""
    matcher = getattr(body, "group_matcher", None)
    if matcher is not None:
        found: OrderedDict[object, list[str]]
        found = OrderedDict(group_parameters(body, matcher(coarse=True), reverse=False))
        return [(_group_name(names), names) for names in found.values()]
    children = [
        (name, [f"{name}.{p}" for p, _ in child.named_parameters()])
        for name, child in body.named_children()
    ]
    return [(name, names) for name, names in children if names]


def _group_name(names: list[str]) -> str:
    """What all names of a group begin with ("blocks.3"), else the first one's first word."""
    split = [name.split(".") for name in names]
    shared = [words[0] for words in zip(*split, strict=False) if len(set(words)) == 1]
    return ".".join(shared[:2]) if shared and len(names) > 1 else split[0][0]


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
