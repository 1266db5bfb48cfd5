"""Batch-norm statistics change; what the network computes does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lesionlab.config import InputSettings, ModelSettings, Settings
from lesionlab.models.classifier import build
from lesionlab.run_folder import read_run
from lesionlab.training import train as engine
from lesionlab.training.batch_norm import reestimate
from lesionlab.training.device import Machine
from lesionlab.training.train import resume, train


def images(n: int = 24) -> Tensor:
    """Far from the statistics that a network starts with: darker, and of little contrast."""
    draw = torch.Generator().manual_seed(3)
    return 0.3 * torch.randn((n, 3, 64, 64), generator=draw) - 1.5


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_resnet", "tf_efficientnet_lite0", "mobilenetv2_100"]
)
def test_the_logits_stay_and_the_statistics_are_those_of_the_images(name: str) -> None:
    torch.manual_seed(0)
    network = build(ModelSettings(name=name), InputSettings(size=64), 3).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    x = images()
    with torch.no_grad():
        before = network(x)
        changed = reestimate(network, iter(x.split(8)), network.feature_map)
        after = network(x)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert changed == len(norms)
    assert float((before - after).abs().max()) < 1e-4
    first = norms[0]
    seen: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(x)
    hook.remove()
    torch.testing.assert_close(first.running_mean, seen[0].mean((0, 2, 3)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(first.running_var, seen[0].var((0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert first.running_mean is not None
    assert float(first.running_mean.abs().max()) > 0.01, "nothing was re-estimated"


def test_a_dead_channel_and_a_norm_without_scale_stay_as_they_are() -> None:
    norm, plain = nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False)
    network = nn.Sequential(norm, plain).eval()
    x = torch.randn(4, 2, 5, 5)
    x[:, 1] = 7.0
    assert reestimate(network, iter([x]), network) == 1
    assert norm.running_mean is not None
    assert float(norm.running_mean[1]) == 0
    assert float(norm.weight.detach()[1]) == 1
    assert plain.running_mean is not None
    assert plain.running_mean.tolist() == [0, 0]


def test_modes_are_given_back() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    network[0].eval()
    reestimate(network, iter([torch.randn(4, 2, 5, 5)]), network)
    assert [m.training for m in network.modules()] == [True, False, True]


def test_it_is_done_once_before_the_backbone_trains(
    data: Path,
    tiny: Callable[..., Settings],
    machine: Machine,
    outcome: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """And a run that dies in that stage and goes on ends with the same bits."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = tiny(reestimate_batch_norm=True)
    train(data, recipe, whole, machine=machine)
    left, real = iter(range(100)), engine.do_step

    def dying(*args: Any) -> float:
        if next(left) in (8, 11):
            raise KeyError("killed")
        return real(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(KeyError):
            train(data, recipe, broken, machine=machine)
        with pytest.raises(KeyError):
            resume(broken, machine=machine)
        resume(broken, machine=machine)
    assert outcome(whole) == outcome(broken)
    notes = outcome(whole)["summary"]["notes"]
    assert [n for n in notes if "batch norms re-estimated" in n] == notes
    assert read_run(whole).config.settings.reestimate_batch_norm
