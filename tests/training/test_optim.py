"""Optimisers: groups, rates, and their state as named tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lesionlab.config import InputSettings, ModelSettings, OptimSettings
from lesionlab.models.classifier import Classifier, build
from lesionlab.models.freeze import trainable_groups
from lesionlab.training.optim import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_rates,
)

NAMES = ("adam", "adamw", "sgd", "rmsprop")


def network() -> Classifier:
    torch.manual_seed(0)
    model = ModelSettings(name="test_efficientnet", pretrained=False)
    made = build(model, InputSettings(size=32), 2)
    made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def optimizer_of(name: str, made: Classifier) -> torch.optim.Optimizer:
    how = OptimSettings.model_validate({"name": name})
    return make_optimizer(how, made, trainable_groups(made, "all"))


def step(made: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    (made(images) ** 2).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(("asked", "given"), [(None, 0.0), (0.5, 0.5)])
def test_rmsprop_has_the_momentum_that_is_asked_for(asked: float | None, given: float) -> None:
    how = OptimSettings(name="rmsprop", momentum=asked)
    made = network()
    optimizer = make_optimizer(how, made, trainable_groups(made, "head"))
    assert {part["momentum"] for part in optimizer.param_groups} == {given}
    assert OptimSettings(name="sgd").plain_momentum == 0.9


@pytest.mark.parametrize("name", NAMES)
def test_the_state_goes_through_names_and_back_with_the_same_bits(name: str) -> None:
    whole, stopped = network(), network()
    first, second = optimizer_of(name, whole), optimizer_of(name, stopped)
    for optimizer in (first, second):
        set_rates(optimizer, [1e-3] * 20, 1.0, 0.9)
    for seed in (1, 2):
        step(whole, first, seed)
    step(stopped, second, 1)
    kept = {k: v.contiguous().clone() for k, v in optimizer_tensors(second).items()}
    third = optimizer_of(name, stopped)
    load_optimizer_tensors(third, kept)
    set_rates(third, [1e-3] * 20, 1.0, 0.9)
    step(stopped, third, 2)
    for (key, a), b in zip(whole.state_dict().items(), stopped.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    made = network()
    for part in optimizer_of(name, made).param_groups:
        assert len({p.ndim > 1 for p in part["params"]}) == 1
        assert (part["weight_decay"] > 0) == (part["params"][0].ndim > 1)


def test_every_parameter_moves_once_with_its_groups_rate() -> None:
    made = network()
    optimizer = optimizer_of("adamw", made)
    blocks = [part["block"] for part in optimizer.param_groups]
    names = [n for part in optimizer.param_groups for n in part["names"]]
    assert sorted(names) == sorted(n for n, _ in made.named_parameters())
    assert blocks == sorted(blocks)
    peaks = [10.0**-k for k in range(max(blocks) + 1)]
    set_rates(optimizer, peaks, 0.5, 0.8)
    for part in optimizer.param_groups:
        assert part["lr"] == peaks[part["block"]] * 0.5
        assert part["betas"] == (0.8, 0.999)


def test_a_fresh_optimiser_has_no_state() -> None:
    optimizer = optimizer_of("adamw", network())
    load_optimizer_tensors(optimizer, {})
    assert optimizer_tensors(optimizer) == {}
