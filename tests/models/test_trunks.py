"""The tutorials' trunks, counted: Keras counts batch-norm statistics as parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.models.zoo import create_body


def counted(name: str) -> dict[str, int]:
    with torch.device("meta"):
        body: nn.Module = create_body(name, channels=3, drop_path=0.0, size=299)
    norms = [m for m in body.modules() if isinstance(m, _BatchNorm)]
    return {
        "parameters": sum(p.numel() for p in body.parameters()),
        "statistics": sum(2 * m.num_features for m in norms),
        "scales": sum(m.num_features for m in norms),
    }


def test_xception_is_the_tutorials_to_the_parameter() -> None:
    trunk = counted("xception")
    assert trunk["statistics"] == 54_528
    assert trunk["parameters"] + trunk["statistics"] == 20_861_480


def test_inception_v3_differs_by_the_scales_of_its_batch_norms() -> None:
    """Keras builds Inception v3 with `scale=False`: its batch norms have no gamma."""
    trunk = counted("inception_v3")
    assert trunk["scales"] == 17_216
    assert trunk["parameters"] + trunk["statistics"] - trunk["scales"] == 21_802_784


@pytest.mark.parametrize(("name", "count"), [("resnet34", 21_284_672), ("mobilenetv2", 2_223_872)])
def test_common_trunks(name: str, count: int) -> None:
    assert counted(name)["parameters"] == count
