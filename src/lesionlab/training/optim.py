"""Optimisers over the block groups, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lesionlab.config import OptimSettings
from lesionlab.models.freeze import Group


def make_optimizer(
    how: OptimSettings, network: nn.Module, groups: Sequence[Group]
) -> torch.optim.Optimizer:
    """The optimiser that `how` describes, with up to two parameter groups for each block group.

    One holds the weights, with weight decay; the other holds norms and biases (of at most one
    dimension), without. Each also stores `block`, the index of its block group, and `names`, the
    names of its parameters. The learning rate is 0 until `set_rates` sets it.
    """
    named = dict(network.named_parameters())
    parts: list[dict[str, Any]] = []
    for block, group in enumerate(groups):
        for decays in (True, False):
            names = [n for n in group.parameters if (named[n].ndim > 1) == decays]
            if names:
                decay = how.weight_decay if decays else 0.0
                parameters = [named[n] for n in names]
                parts.append(
                    {"params": parameters, "weight_decay": decay, "block": block, "names": names}
                )
    momentum = how.plain_momentum
    if how.name == "sgd":
        return torch.optim.SGD(parts, lr=0.0, momentum=momentum, fused=True)
    if how.name == "rmsprop":  # alpha: the default of Keras
        return torch.optim.RMSprop(parts, lr=0.0, alpha=0.9, momentum=momentum)
    kind = torch.optim.AdamW if how.name == "adamw" else torch.optim.Adam
    return kind(parts, lr=0.0, betas=(momentum, how.beta2), fused=True)


def set_rates(
    optimizer: torch.optim.Optimizer, peaks: Sequence[float], factor: float, momentum: float
) -> None:
    """Give each parameter group its block's rate, and the momentum of the step."""
    for part in optimizer.param_groups:
        part["lr"] = peaks[part["block"]] * factor
        if "betas" in part:
            part["betas"] = (momentum, part["betas"][1])
        elif part.get("momentum"):
            part["momentum"] = momentum


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`{parameter}/{key}` -> tensor, for every moment that exists."""
    tensors = {}
    for part in optimizer.param_groups:
        for name, parameter in zip(part["names"], part["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{name}/{key}"] = value
    return tensors


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put saved moments back where they were."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        name, key = path.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = value
    for part in optimizer.param_groups:
        for name, parameter in zip(part["names"], part["params"], strict=True):
            state = by_name.get(name, {})
            if state:
                optimizer.state[parameter] = {
                    # In the parameter's own memory format: fused optimisers walk both alike.
                    k: v.clone() if k == "step" else torch.empty_like(parameter).copy_(v)
                    for k, v in state.items()
                }
