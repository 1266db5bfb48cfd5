"""The layer table of a network: what each layer gives and what of it moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings
from lesionlab.models.classifier import Classifier


@dataclass(frozen=True)
class Layer:
    """One row. `output` is the shape for one image, empty where a layer only holds parameters.

    `parameters` are those of this layer alone, `statistics` its running means and variances
    (which Keras counts as parameters that do not move).
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    statistics: int
    trainable: bool


def layer_table(network: Classifier, shown: InputSettings) -> tuple[Layer, ...]:
    """The layers in the order in which one image meets them; parameters sum to the network's.

    Layers without parameters that change nothing but the shape are in it; `Identity` is not.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_hook(_recorder(shapes, name))
        for name, module in network.named_modules()
        if _has_row(module)
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, shown.channels, shown.size, shown.size))
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    modules = dict(network.named_modules())
    silent = [n for n, m in modules.items() if n not in shapes and _own(m)]
    return tuple(_row(name, modules[name], shapes.get(name, ())) for name in [*silent, *shapes])


def _has_row(module: nn.Module) -> bool:
    is_leaf = not any(True for _ in module.children())
    return is_leaf and not isinstance(module, nn.Identity)


def _own(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _recorder(shapes: dict[str, tuple[int, ...]], name: str) -> Any:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes.setdefault(name, tuple(output.shape[1:]))

    return record


def _row(name: str, module: nn.Module, output: tuple[int, ...]) -> Layer:
    own = _own(module)
    statistics = sum(
        b.numel()
        for n, b in module.named_buffers(recurse=False)
        if n in ("running_mean", "running_var")
    )
    moves = any(p.requires_grad for p in own)
    kind = type(module).__name__
    return Layer(name, kind, output, sum(p.numel() for p in own), statistics, moves)
