"""`lesionlab.models`: the networks that have a name; `lesionlab.describe_model`: one in layers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lesionlab.config import InputSettings, ModelSettings, parse


def list_models() -> list[dict[str, Any]]:
    """The named networks: `[{name, timm_name, parameters, size, weights_licence}]`.

    `parameters` are those of the body, without a head; any other timm classifier works too.
    """
    from lesionlab.api.train import need_torch

    need_torch()
    from lesionlab.models.zoo import ARCHITECTURES, OWN, body_size, usual_size, weights_licence

    return [
        {
            "name": name,
            "timm_name": ARCHITECTURES[name].timm_name if name in ARCHITECTURES else None,
            "parameters": body_size(name),
            "size": usual_size(name),
            "weights_licence": weights_licence(name),
        }
        for name in (*ARCHITECTURES, *OWN)
    ]


def describe_model(
    name: str,
    *,
    size: int | None = None,
    head: str | None = None,
    trainable: str = "all",
    classes: int = 2,
    channels: int | None = None,
    output: str = "softmax",
) -> dict[str, Any]:
    """One network, layer by layer, with random weights.

    Returns `{name, size, head, parameters, trainable, statistics, layers: [{name, kind, output,
    parameters, statistics, trainable}], groups: [{name, parameters, trainable}]}`. `size` and
    `head` default to the network's own. Raises `BadInput` for what it cannot be built with.
    """
    from lesionlab.api.train import need_torch

    need_torch()
    from lesionlab.models.classifier import build
    from lesionlab.models.freeze import freeze, groups
    from lesionlab.models.layers import layer_table
    from lesionlab.models.zoo import OWN, usual_size

    size = size or usual_size(name)
    head = head or ("own" if name in OWN else "linear")
    channels = channels or (1 if name == "mias_tutorial" else 3)
    asked = {"name": name, "head": head, "pretrained": False, "output": output}
    model = parse(ModelSettings, asked, "model")
    grey = {"mean": (0.5,), "std": (0.5,)} if channels == 1 else {}
    shown = parse(InputSettings, {"size": size, "channels": channels, **grey}, "input")
    network = build(model, shown, classes, pretrained=False)
    moving = set(freeze(network, trainable))
    layers = layer_table(network, shown)
    sizes = {n: p.numel() for n, p in network.named_parameters()}
    return {
        "schema_version": 1,
        "name": name,
        "size": size,
        "head": head,
        "parameters": sum(sizes.values()),
        "trainable": sum(sizes[n] for n in moving),
        "statistics": sum(layer.statistics for layer in layers),
        "layers": [asdict(layer) for layer in layers],
        "groups": [
            {
                "name": group.name,
                "parameters": sum(sizes[n] for n in group.parameters),
                "trainable": set(group.parameters) <= moving,
            }
            for group in groups(network)
        ],
    }
