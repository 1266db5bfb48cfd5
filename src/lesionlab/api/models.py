"""`lesionlab.models`: the networks that have a name; `lesionlab.describe_model`: one in layers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from lesionlab import extras
from lesionlab.config import InputSettings, ModelSettings, parse
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from torch.nn import Module


def list_models(*, measure: bool = False, progress: Progress = SILENT) -> list[dict[str, Any]]:
    """The networks that have a name, in the order of the table.

    Each is `{name, timm_name, parameters, megabytes, size, input, weights_at_hand, weights,
    weights_licence, ms_per_image}`: `parameters` of the backbone, without a head; `megabytes` of
    its weights in float32; `input` the one that its weights were trained with; `weights_at_hand`
    "package", "cache", "hub" (to be downloaded) or "none". `ms_per_image` is null unless
    `measure`: the median forward pass in float32 at that size, here and now.
    """

    extras.need_torch("models")
    from lesionlab.models.zoo import ARCHITECTURES, OWN

    names = (*ARCHITECTURES, *OWN)
    shown = progress(names, "networks", len(names)) if measure else names
    return [{**_listed(n), "ms_per_image": _measured(n) if measure else None} for n in shown]


def _listed(name: str) -> dict[str, Any]:
    from lesionlab.models.weights import address_of, at_hand, hub_name
    from lesionlab.models.zoo import ARCHITECTURES, OWN, body_size, weights_licence

    own, parameters, shown = name in OWN, body_size(name), _native(name)
    found = None if own else at_hand(name)
    hub = None if own else hub_name(name) or address_of(name)
    return {
        "name": name,
        "timm_name": ARCHITECTURES[name].timm_name if name in ARCHITECTURES else None,
        "parameters": parameters,
        "megabytes": round(4 * parameters / 1e6, 1),
        "size": shown.size,
        "input": shown.model_dump(mode="json"),
        "weights_at_hand": ("none" if hub is None else "hub") if found is None else found.origin,
        "weights": hub if found is None else found.source,
        "weights_licence": weights_licence(name) if found is None else found.licence,
    }


def _native(name: str) -> InputSettings:
    """The input of a network's weights, or of a random start where it has none."""
    from lesionlab.models.weights import usual_input

    return usual_input(ModelSettings(name=name))


def _measured(name: str) -> float:
    """Median milliseconds an image of a forward pass, in float32."""
    from lesionlab.models.zoo import create_body

    size, channels = _native(name).size, _channels(name)
    return _timed(create_body(name, channels=channels, drop_path=0.0, size=size), channels, size)


def _timed(network: Module, channels: int, size: int) -> float:
    from lesionlab.training.device import milliseconds_an_image

    return milliseconds_an_image(network, (channels, size, size))


def _channels(name: str) -> Literal[1, 3]:
    return 1 if name == "mias_tutorial" else 3


def describe_model(
    name: str,
    *,
    size: int | None = None,
    head: str | None = None,
    trainable: str = "all",
    classes: int = 2,
    channels: int | None = None,
    output: str = "softmax",
    measure: bool = False,
) -> dict[str, Any]:
    """One network, layer by layer, with random weights.

    Returns `{name, size, head, parameters, trainable, statistics, ms_per_image, layers: [{name,
    kind, output, parameters, statistics, trainable}], groups: [{name, parameters, trainable}]}`.
    `size` and `head` default to the network's own. `ms_per_image` is null unless `measure`: the
    median forward pass in float32 of this network, head and all, here and now. Raises `BadInput`
    for what it cannot be built with.
    """

    extras.need_torch("models")
    from lesionlab.models.classifier import build
    from lesionlab.models.freeze import freeze, groups
    from lesionlab.models.layers import layer_table
    from lesionlab.models.zoo import OWN, usual_size

    size = size or usual_size(name)
    head = head or ("own" if name in OWN else "linear")
    channels = channels or _channels(name)
    asked = {"name": name, "head": head, "pretrained": False, "output": output}
    model = parse(ModelSettings, asked, "model")
    grey = {"mean": (0.5,), "std": (0.5,)} if channels == 1 else {}
    shown = parse(InputSettings, {"size": size, "channels": channels, **grey}, "input")
    network = build(model, shown, classes)
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
        "ms_per_image": _timed(network, channels, size) if measure else None,
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
