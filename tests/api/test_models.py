"""`lesionlab models`: what one network says of itself, and how long it takes an image."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytest.importorskip("torch", reason="networks need the extra 'train'")

from lesionlab.cli.main import run

SHOWN = ["models", "test_resnet", "--size", "64", "--channels", "1", "--classes", "3"]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that were timed; a forward pass of each is made once."""
    shapes: list[tuple[int, ...]] = []

    def once(network: Any, shape: tuple[int, int, int]) -> float:
        import torch

        shapes.append(tuple(network.eval()(torch.zeros(2, *shape)).shape))
        shapes.append(shape)
        return 12.34

    monkeypatch.setattr("lesionlab.training.device.milliseconds_an_image", once)
    return shapes


def test_one_network_is_measured_as_it_is_shown(
    timed: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SHOWN, "--measure"]) == 0
    assert timed == [(2, 3), (1, 64, 64)]
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("12.3 ms an image: a forward pass in float32 at 64 px")
    assert run([*SHOWN, "--measure", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ms_per_image"] == 12.34


def test_nothing_is_measured_unasked(
    timed: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(SHOWN) == 0
    assert "ms an image" not in capsys.readouterr().out
    assert run([*SHOWN, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ms_per_image"] is None
    assert timed == []


def test_a_measurement_is_a_number_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "mias_tutorial", "--measure"]) == 0
    found = re.search(r"^([\d.]+) ms an image", capsys.readouterr().out, re.MULTILINE)
    assert found is not None
    assert float(found[1]) > 0
