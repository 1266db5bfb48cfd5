"""The methods by name, and maps of any number of images in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lesionlab.array_types import Float32, Ints, UInt8
from lesionlab.data.augment import to_input
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing
from lesionlab.errors import BadInput, nearest
from lesionlab.explanation.attribution import (
    STEPS,
    integrated_gradients,
    occlusion,
    saliency,
    smoothgrad,
)
from lesionlab.explanation.cam import attention_rollout, cam, gradcam, pooled_linear
from lesionlab.explanation.offset import NONE, Offset
from lesionlab.explanation.targets import family, has_target
from lesionlab.models.classifier import Classifier, FusedHead
from lesionlab.progress import SILENT, Progress

BATCH = 16  # images a call


class Maps(Protocol):
    """(N, C, H, W) images, (N,) classes -> (N, H, W) float32 maps."""

    def __call__(
        self, network: Classifier, images: Tensor, target: Tensor, facts: Tensor | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Method:
    """One way to a map. `refusal(network)` says why it does not apply, or is "".

    A method that is not `class_specific` gives one map for all classes and reads no head: permuted
    labels cannot change it, so it is judged by shuffled weights only.
    """

    maps: Maps
    refusal: Callable[[Classifier], str]
    signed: bool  # negative speaks against the class; else only the size is known
    cost: int  # forward passes that one image costs, roughly
    class_specific: bool = True


def _always(network: Classifier) -> str:
    return ""


def _needs_layer(network: Classifier) -> str:
    known = has_target(network)
    return "" if known else f"no target layer is known for networks of class {family(network)}"


def _needs_average(network: Classifier) -> str:
    if isinstance(network.head, FusedHead):
        return "the head also reads facts of the case"
    averaged = _needs_layer(network) == "" and pooled_linear(network) is not None
    return "" if averaged else "the head is not an average followed by one linear layer"


def _needs_attention(network: Classifier) -> str:
    known = family(network) == "VisionTransformer" and has_target(network)
    return "" if known else "the network is not a vision transformer with global attention"


METHODS: dict[str, Method] = {
    "cam": Method(cam, _needs_average, signed=True, cost=1),
    "gradcam": Method(gradcam, _needs_layer, signed=True, cost=1),
    "attention_rollout": Method(
        attention_rollout, _needs_attention, signed=False, cost=1, class_specific=False
    ),
    "saliency": Method(saliency, _always, signed=False, cost=3),
    "smoothgrad": Method(smoothgrad, _always, signed=False, cost=24),
    "integrated_gradients": Method(integrated_gradients, _always, signed=True, cost=72),
    "occlusion": Method(occlusion, _always, signed=True, cost=50),
}


def method(name: str, network: Classifier) -> Method:
    """A method that applies to this network; `BadInput` with the reason where it does not."""
    if name not in METHODS:
        raise BadInput(f"no method '{name}'", where="--method", remedy=nearest(name, METHODS))
    reason = METHODS[name].refusal(network)
    if reason:
        raise BadInput(
            f"{name} does not apply to this run: {reason}",
            where="--method",
            remedy=f"these do: {', '.join(applicable(network))}",
        )
    return METHODS[name]


def applicable(network: Classifier) -> tuple[str, ...]:
    """The methods that apply to a network, in the table's order."""
    return tuple(name for name, m in METHODS.items() if not m.refusal(network))


@dataclass(frozen=True)
class ExplainedNetwork:
    """A network with the images that it is asked about: rows of a table of pixels.

    `facts` is (rows of the table, F) for a network that reads them, else None. `steps` are those
    of integrated gradients (`completeness.with_enough_steps`), `offset` where the places of CAM
    and Grad-CAM lie (`offset.place_offset`).
    """

    network: Classifier
    pixels: Pixels
    how: Preprocessing
    device: str = "cpu"
    facts: Float32 | None = None
    steps: int = STEPS
    offset: Offset = NONE

    def views(self, rows: Ints) -> UInt8:
        """(n, size, size, C) uint8: what the network sees."""
        return self.pixels.take(rows)

    def images(self, views: UInt8) -> Tensor:
        """Normalised input, (n, C, size, size) float32."""
        return to_input(torch.from_numpy(np.ascontiguousarray(views)).to(self.device), self.how)

    def known(self, rows: Ints) -> Tensor | None:
        """The facts of the given rows."""
        return None if self.facts is None else torch.from_numpy(self.facts[rows]).to(self.device)


def maps_of(
    subject: ExplainedNetwork,
    name: str,
    rows: Ints,
    target: Ints,
    *,
    change: Callable[[UInt8], UInt8] | None = None,
    progress: Progress = SILENT,
    title: str = "",
    seconds: list[float] | None = None,
) -> Float32:
    """(n, H, W) float32 maps of `rows` for the classes `target`, a batch at a time.

    `change` alters the views first. Only the result
    grows with the number of images: 0.2 MB each at 224 pixels. `seconds` gets the time of each
    batch's maps alone, without the reading of its pixels.
    """
    network = subject.network
    make = _maker(subject, method(name, network))
    parts = []
    for i in progress(range(0, len(rows), BATCH), title or name, -(-len(rows) // BATCH)):
        some = rows[i : i + BATCH]
        views = subject.views(some)
        images = subject.images(views if change is None else change(views))
        classes = torch.from_numpy(target[i : i + BATCH]).to(subject.device)
        facts, start = subject.known(some), time.perf_counter()
        found = make(network, images, classes, facts)
        parts.append(found.cpu().numpy().astype(np.float32, copy=False))
        if seconds is not None:
            seconds.append(time.perf_counter() - start)
    return np.concatenate(parts) if parts else np.zeros((0, 0, 0), np.float32)


def _maker(subject: ExplainedNetwork, chosen: Method) -> Maps:
    if chosen.maps is integrated_gradients:
        return partial(integrated_gradients, steps=subject.steps)
    if chosen.maps is cam or chosen.maps is gradcam:
        return partial(chosen.maps, offset=subject.offset)
    return chosen.maps


def positive(found: Float32) -> Float32:
    """The part of a map that speaks for the class."""
    return np.maximum(found, np.float32(0))


def chosen_methods(asked: Sequence[str], network: Classifier) -> tuple[str, ...]:
    """The methods asked for, checked, or all that apply."""
    if not asked:
        return applicable(network)
    for name in asked:
        method(name, network)
    return tuple(dict.fromkeys(asked))
