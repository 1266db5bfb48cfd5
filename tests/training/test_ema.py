"""The average of the weights: its warm decay, its places, and what mends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from lesionlab.config import Settings
from lesionlab.models.tensor_files import read_tensors
from lesionlab.training.device import Machine
from lesionlab.training.ema import Average, all_finite
from lesionlab.training.train import train

Recipe = Callable[..., Settings]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_the_average_follows_by_its_warm_decay() -> None:
    network = small()
    start = network[0].weight.detach().clone()  # type: ignore[index]
    average = Average(network, 0.9)
    with torch.no_grad():
        network[0].weight.add_(1)  # type: ignore[index]
        network[1].num_batches_tracked.add_(3)  # type: ignore[index]
    average.update(1)
    share = 1 - 2 / 11
    assert torch.allclose(average.kept["0.weight"], start + share)
    assert int(average.kept["1.num_batches_tracked"]) == 3
    for step in range(2, 500):
        average.update(step)
    assert torch.allclose(average.kept["0.weight"], network[0].weight, atol=1e-5)  # type: ignore[index]


def test_the_average_is_shown_and_put_away_even_after_an_error() -> None:
    network = small()
    average = Average(network, 0.5)
    average.kept["0.weight"].zero_()
    own = network[0].weight.detach().clone()  # type: ignore[index]

    def fails() -> None:
        with average.shown():
            assert not network[0].weight.any()  # type: ignore[index]
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.equal(network[0].weight, own)  # type: ignore[index]


def test_without_a_decay_there_is_no_average() -> None:
    network = small()
    average = Average(network, None)
    average.update(1)
    with average.shown():
        assert not average.kept


@pytest.mark.parametrize(("where", "mended"), [("average", True), ("both", False), ("none", False)])
def test_only_an_average_that_is_broken_alone_is_mended(where: str, mended: bool) -> None:
    network = small()
    average = Average(network, 0.9)
    if where in ("average", "both"):
        average.kept["0.bias"][0] = math.nan
    if where == "both":
        with torch.no_grad():
            network[0].bias[0] = math.inf  # type: ignore[index]
    assert average.mend() == mended
    assert bool(average.kept["0.bias"].isfinite().all()) == (where != "both")


def test_the_average_follows_the_statistics_of_a_head_on_cached_features(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    model = {"name": "test_efficientnet", "pretrained": False, "head": "concat_pool"}
    stage = {"name": "head", "trainable": "head", "epochs": 2, "cached_views": 2}
    settings = tiny(model=model, stages=[stage])
    run = train(data, settings, tmp_path / "run", machine=machine)
    found = read_tensors(run.folder / "last.safetensors")
    steps = pd.read_csv(run.folder / "history.csv")["step"].max()
    assert int(found["head.0.num_batches_tracked"]) == steps
    assert found["head.0.running_mean"].any()
    assert (found["head.0.running_var"] != 1).all()


def test_a_step_of_some_names_leaves_the_others() -> None:
    network = small()
    average = Average(network, 0.9)
    before = {k: v.clone() for k, v in average.kept.items()}
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(1)
    average.update(0, ("0.bias", "1.num_batches_tracked"))
    moved = {k for k, v in average.kept.items() if not torch.equal(v, before[k])}
    assert moved == {"0.bias", "1.num_batches_tracked"}
    assert torch.allclose(average.kept["0.bias"], before["0.bias"] + 0.9)  # keeps 1 / 10 at first


def test_the_decay_never_exceeds_its_setting() -> None:
    network = small()
    average = Average(network, 0.5)
    average.kept["0.weight"].zero_()
    average.update(10**6)
    assert torch.allclose(average.kept["0.weight"], network[0].weight / 2)  # type: ignore[operator, arg-type]


def test_it_goes_on_from_what_was_saved_and_shares_no_memory_with_it() -> None:
    network = small()
    saved = {k: v.clone() + 2 for k, v in network.state_dict().items()}
    average = Average(network, 0.9, saved)
    assert all(torch.equal(v, saved[k]) for k, v in average.kept.items())
    average.update(5)
    assert torch.equal(saved["0.bias"], network.state_dict()["0.bias"] + 2)


def test_parts_and_all_begin_again_from_the_network() -> None:
    network = small()
    average = Average(network, 0.9)
    for value in average.kept.values():
        value.fill_(7)
    average.take("1.")
    own = network.state_dict()
    assert {k for k, v in average.kept.items() if torch.equal(v, own[k])} == {
        k for k in own if k.startswith("1.")
    }
    average.restart()
    assert all(torch.equal(v, own[k]) for k, v in average.kept.items())


def test_the_network_in_a_context_holds_every_value_of_the_average() -> None:
    network = small()
    average = Average(network, 0.9)
    own = {k: v.clone() for k, v in network.state_dict().items()}
    for value in average.kept.values():
        value.fill_(7)
    with average.shown():
        assert all((v == 7).all() for v in network.state_dict().values())
    assert all(torch.equal(v, own[k]) for k, v in network.state_dict().items())
    assert all((v == 7).all() for v in average.kept.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_no_number_is_found(bad: float) -> None:
    tensors = {"count": torch.tensor([3]), "weight": torch.zeros(2, 2)}
    assert all_finite(tensors)
    assert all_finite({})
    tensors["weight"][1, 1] = bad
    assert not all_finite(tensors)
