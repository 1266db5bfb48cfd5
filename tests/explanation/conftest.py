"""Nothing here without torch and Captum; the picture that the toy networks look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

pytest.importorskip("captum", reason="maps need the extra 'train'")


@pytest.fixture
def image() -> Tensor:
    """Two channels of noise, for the networks of `helpers.toys`."""
    import torch

    from helpers import toys

    generator = torch.Generator().manual_seed(1)
    return torch.rand((1, 2, toys.SIDE, toys.SIDE), generator=generator)
