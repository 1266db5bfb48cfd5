"""Weights of a toy network, as different people would save them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import onnx
import timm
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from lesionlab.models.zoo import create_body


def network(classes: int = 1000) -> nn.Module:
    torch.manual_seed(1)
    made: nn.Module = timm.create_model("test_resnet", pretrained=False, num_classes=classes)
    return made.eval()


def state() -> dict[str, Tensor]:
    return {k: v.contiguous().clone() for k, v in network().state_dict().items()}


def body() -> nn.Module:
    torch.manual_seed(9)
    return create_body("test_resnet", channels=3, drop_path=0.0, size=64).eval()


def same_as_the_file(loaded: nn.Module) -> bool:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        theirs = network().forward_features(x)  # type: ignore[operator]
        return torch.equal(loaded.forward_features(x), theirs)  # type: ignore[operator]


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + k: v for k, v in state().items()}


def renamed() -> OrderedDict[str, Tensor]:
    """Another author's names in timm's order; what a name ends in stays."""
    pairs = enumerate(state().items())
    return OrderedDict((f"layer{i}.{k.rpartition('.')[2]}", v) for i, (k, v) in pairs)


def seven() -> dict[str, Tensor]:
    return {**state(), "fc.weight": torch.zeros(7, 96), "fc.bias": torch.zeros(7)}


def as_onnx(path: Path, tensors: dict[str, Tensor]) -> None:
    initialisers = [numpy_helper.from_array(v.numpy(), k) for k, v in tensors.items()]
    graph = helper.make_graph([], "graph", [], [], initialisers)
    onnx.save(helper.make_model(graph), str(path))
