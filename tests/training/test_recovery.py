"""Smaller micro-batches after memory ran out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training.checkpoint import State
from lesionlab.training.recovery import RecoveryState

Recipe = Callable[..., Settings]


@pytest.mark.parametrize(
    ("stage", "images", "was"),
    [(0, 50, 20), (1, 50, 8), (1, 6, 6)],  # cached features; a micro-batch; all there is
)
def test_what_went_through_the_network_is_halved(
    tiny: Recipe, stage: int, images: int, was: int
) -> None:
    settings, lessons = tiny(batch_size=20, micro_batch=8), RecoveryState()
    said = lessons.halve(settings, images, State(stage=stage), Path("run"))
    assert f"micro-batches of {was // 2} instead of {was}" in said
    assert lessons.micro_batches == {settings.stages[stage].name: was // 2}


def test_three_images_are_not_halved(tiny: Recipe) -> None:
    with pytest.raises(BadInput, match="even for micro-batches of 3"):
        RecoveryState().halve(tiny(), 3, State(stage=1), Path("run"))
