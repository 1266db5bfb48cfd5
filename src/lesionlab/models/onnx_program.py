"""A torch module as an ONNX program: the one call of the exporter, for bundles and for speed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

OPSET = 20


def to_program(
    module: nn.Module,
    given: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    free_batch: bool = True,
) -> onnx.ModelProto:
    """The module in eval mode, its inputs named as in `given` (samples), its outputs as listed.

    With `free_batch` the first axis of every input may have any length from 1. No external data.
    """
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module.eval(),
            tuple(given.values()),
            input_names=list(given),
            output_names=list(outputs),
            dynamic_shapes={name: {0: batch} for name in given} if free_batch else None,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return program.model_proto
