"""What tests count of networks."""

from __future__ import annotations

from torch import nn


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Parameters, those with gradients, and batch-norm statistics (which Keras counts too)."""
    statistics = (b for n, b in network.named_buffers() if not n.endswith("num_batches_tracked"))
    return {
        "total": sum(p.numel() for p in network.parameters()),
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "buffers": sum(b.numel() for b in statistics),
    }
