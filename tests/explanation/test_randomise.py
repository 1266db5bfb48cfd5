"""How a network is randomised: level by level, draw by draw, and its head alone."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from helpers import toys
from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import methods, randomise, sanity
from lesionlab.models.classifier import Classifier, build


def small_network() -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings(name="test_resnet", pretrained=False)
    return build(settings, InputSettings(size=64), 3).eval()


def test_levels_run_from_the_head_to_everything() -> None:
    network = small_network()
    found = randomise.levels(network)
    assert found[0].name == "head"
    assert found[-1].name == "all"
    assert found[0].parameters < found[1].parameters < found[-1].parameters
    assert found[-1].parameters == {n for n, _ in network.named_parameters()}


def test_shuffling_keeps_the_values_and_touches_nothing_else() -> None:
    network = small_network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    head = randomise.levels(network)[0]
    mixed = randomise.shuffled(network, head, 0)
    for name, value in mixed.named_parameters():
        if name in head.parameters:
            assert torch.equal(value.flatten().sort()[0], before[name].flatten().sort()[0])
        else:
            assert torch.equal(value, before[name])
    assert not torch.equal(mixed.head[1].weight, before["head.1.weight"])
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    again = randomise.shuffled(network, head, 0)
    assert torch.equal(mixed.head[1].weight, again.head[1].weight)
    for other in (randomise.shuffled(network, head, 1), randomise.shuffled(network, head, 0, 1)):
        assert not torch.equal(mixed.head[1].weight, other.head[1].weight)


def test_settled_norms_hold_the_statistics_of_the_images() -> None:
    network = small_network()
    array = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3)).astype(np.uint8)
    subject = methods.ExplainedNetwork(network, CachedPixels(array), Preprocessing(size=64))
    seen = []
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    hook = norm.register_forward_hook(lambda m, i, o: seen.append(i[0].mean((0, 2, 3))))
    randomise.settle(network, subject, np.arange(32))
    hook.remove()
    assert torch.allclose(norm.running_mean, seen[0], atol=1e-4)  # type: ignore[arg-type]
    assert not network.training
    assert norm.momentum == 0.1


def test_refitted_heads_solve_what_can_be_solved_and_share_the_body() -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    embedded = (np.eye(3)[labels] + 0.05 * draw.normal(size=(60, 3))).astype(np.float32)
    toy = toys.averaging(torch.zeros(2, 3), torch.zeros(2)).eval()
    true, *wrong = randomise.relabelled(toy, embedded, labels, 3, draws=4)
    found = [n.classify(torch.from_numpy(embedded)).argmax(1).numpy() for n in (true, *wrong)]
    assert (found[0] == labels).all()
    assert len(wrong) == 4
    assert all((f == labels).mean() < 0.7 for f in found[1:])
    assert len({f.tobytes() for f in found}) == 5  # each permutation is another one
    assert all(n.body is toy.body and n.head is not toy.head for n in (true, *wrong))
    assert "cam" in methods.applicable(true)
    again = randomise.relabelled(toy, embedded, labels, 3, draws=2)
    assert torch.equal(again[2].head[0].weight, wrong[1].head[0].weight)


def test_several_heads_are_those_that_are_fitted_alone() -> None:
    draw = np.random.default_rng(1)
    embedded = draw.normal(size=(30, 5)).astype(np.float32)
    labels = [draw.integers(0, 3, 30) for _ in range(2)]
    toy = toys.averaging(torch.zeros(2, 5), torch.zeros(2))
    both = randomise.refitted(toy, embedded, labels, 3)
    for network, some in zip(both, labels, strict=True):
        (alone,) = randomise.refitted(toy, embedded, [some], 3)
        assert torch.allclose(network.head[0].weight, alone.head[0].weight, atol=1e-6)
        assert torch.allclose(network.head[0].bias, alone.head[0].bias, atol=1e-6)


def test_norms_settle_on_33_images_and_stay_as_they_are_for_one() -> None:
    network = small_network()
    array = np.random.default_rng(0).integers(0, 255, (33, 64, 64, 3)).astype(np.uint8)
    subject = methods.ExplainedNetwork(network, CachedPixels(array), Preprocessing(size=64))
    sizes: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    randomise.settle(network, subject, np.arange(33))
    randomise.settle(network, subject, np.arange(1))
    hook.remove()
    assert sizes == [17, 16]


@pytest.mark.slow
def test_everything_is_drawn_several_times_and_one_network_lives_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, alive = small_network(), []
    array = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3)).astype(np.uint8)
    subject = methods.ExplainedNetwork(network, CachedPixels(array), Preprocessing(size=64))
    made: list[weakref.ref[Classifier]] = []
    shuffle = randomise.shuffled

    def counted(*given: object) -> Classifier:
        gc.collect()
        alive.append(sum(ref() is not None for ref in made))
        result = shuffle(*given)  # type: ignore[arg-type]
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(randomise, "shuffled", counted)
    rows, target = np.arange(4), np.zeros(4, np.int64)
    others = randomise.randomised(subject, rows, draws=3)
    maps = methods.maps_of(subject, "cam", rows, target)
    found = sanity.similarity(subject, "cam", maps, others, rows, target)
    levels = [level.name for level in randomise.levels(network)]
    assert {k: len(v) for k, v in found.items()} == {
        randomise.CONTROL: 1, levels[0]: 1, levels[1]: 1, "all": 3
    }  # fmt: skip
    assert alive == [0] * 6
    draws = found["all"]
    assert not np.allclose(draws[0], draws[1])
