"""From a trained network to one ONNX file. Needs torch, as `from_run.py` does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from lesionlab.array_types import Float32
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.deployment.predictor import test_picture
from lesionlab.explanation.offset import NONE, Offset, place_offset
from lesionlab.explanation.targets import has_target
from lesionlab.models.classifier import Classifier, last_linear
from lesionlab.models.onnx_program import to_program


@dataclass(frozen=True)
class Exported:
    """`data` is the ONNX file; `outputs` names what it answers; the embedding is (N, `width`).

    `cam_offset`: where the places of its map lie (`explanation.offset`).
    """

    data: bytes
    outputs: tuple[str, ...]
    width: int
    cam_offset: Offset = NONE


class Deployed(nn.Module):
    """A classifier with several answers: logits, embedding and, where the head allows it, a map.

    A head that averages the feature map and then is linear can be read place by place: the
    class activation map (Zhou et al., CVPR 2016) is its weights applied before the average.
    """

    def __init__(self, model: Classifier, with_cam: bool) -> None:
        super().__init__()
        self.model = model
        self.with_cam = with_cam

    def forward(self, images: Tensor, facts: Tensor | None = None) -> tuple[Tensor, ...]:
        features = self.model.feature_map(images)
        pooled = self.model.pool(features)
        logits = self.model.classify(pooled, facts)
        # A flattened map is no embedding: it is tens of thousands wide and knows places.
        embedding = features.mean((2, 3)) if self.model.kind == "flatten_dense" else pooled
        if not self.with_cam:
            return logits, embedding
        weight = last_linear(self.model.head).weight
        return logits, embedding, nn.functional.conv2d(features, weight[:, :, None, None])


def has_cam(model: Classifier, images: Tensor) -> bool:
    """Whether the logits are the average of a class activation map plus the head's bias."""
    with torch.no_grad():
        features = model.feature_map(images)
        layers = [m for m in model.head.modules() if isinstance(m, nn.Linear)]
        if features.ndim != 4 or len(layers) != 1 or layers[0].in_features != features.shape[1]:
            return False
        logits, _, cam = Deployed(model, True)(images)
        bias = layers[0].bias if layers[0].bias is not None else 0
        return bool(torch.allclose(cam.mean((2, 3)) + bias, logits, rtol=1e-3, atol=1e-3))


def to_onnx(model: Classifier, how: Preprocessing, facts: int = 0) -> Exported:
    """One ONNX file with a free batch size: no external data, no paths of this machine.

    Input "images": (N, C, size, size) float32, normalised; where the network reads them also
    "facts": (N, `facts`) float32. Outputs "logits" (N, K), "embedding"
    (N, D) and, where the head averages and is linear, "cam" (N, K, h, w).
    """
    model = model.eval()
    sample = torch.from_numpy(normalise(np.stack([test_picture(how)] * 2), how))
    with_cam = has_cam(model, sample)
    outputs = ("logits", "embedding", "cam")[: 3 if with_cam else 2]
    given: dict[str, Tensor] = {"images": sample}
    if facts:
        given["facts"] = torch.zeros(len(sample), facts)
    proto = to_program(Deployed(model, with_cam), given, outputs)
    width = proto.graph.output[1].type.tensor_type.shape.dim[1].dim_value
    known = with_cam and has_target(model)
    offset = place_offset(model, (how.channels, how.size, how.size)) if known else NONE
    return Exported(_without_traces(proto), outputs, width, offset)


def _without_traces(proto: onnx.ModelProto) -> bytes:
    """Drop what the exporter notes for debugging: source lines and paths of this machine."""
    graph = proto.graph
    parts = (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output)
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    return bytes(proto.SerializeToString())


def torch_logits(model: Classifier, images: Float32, facts: Float32 | None = None) -> Float32:
    """(N, C, H, W) float32 -> (N, K) float32: what the original network says, on the CPU."""
    coded = None if facts is None else torch.from_numpy(facts)
    with torch.inference_mode():
        logits = model(torch.from_numpy(images).to(memory_format=torch.channels_last), coded)
        return np.asarray(logits.float().numpy(), np.float32)
