"""The study of a method: what it counts, what it times, and what it says of odd methods."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from helpers import toys
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import methods
from lesionlab.explanation.study import MethodRow, Question, prepared, study
from lesionlab.models.classifier import Classifier

SIDE, N = 16, 30
HOW = Preprocessing(size=SIDE, channels=2, mean=(0.0, 0.0), std=(1.0, 1.0))
Tensor = torch.Tensor


def subject() -> methods.ExplainedNetwork:
    """The averaging toy on noise of two channels."""
    array = np.random.default_rng(0).integers(0, 255, (N, SIDE, SIDE, 2)).astype(np.uint8)
    return methods.ExplainedNetwork(toys.averaging().eval(), CachedPixels(array), HOW)


def question(**more: object) -> Question:
    known = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32), np.arange(40) % 2
    return Question(
        np.arange(N), np.arange(N) % 2, np.arange(N).astype(object), 2, known=known, **more
    )  # type: ignore[arg-type]


def studied(name: str, **more: object) -> MethodRow:
    return study(subject(), [name], question(**more))[-1]


class Masks:
    """The upper half of every picture, read at a price."""

    def __init__(self, read: object = None) -> None:
        self.read = read

    def take(self, rows: np.ndarray) -> np.ndarray:
        if callable(self.read):
            self.read()
        masks = np.zeros((len(rows), SIDE, SIDE), bool)
        masks[:, : SIDE // 2] = True
        return masks


def test_the_time_of_a_map_holds_neither_pixels_nor_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def pass_time(seconds: float = 100.0) -> None:
        clock[0] += seconds

    def slow(network: Classifier, images: Tensor, target: Tensor, facts: object = None) -> Tensor:
        pass_time(0.5)  # a batch
        return images[:, 0]

    class SlowPixels(CachedPixels):
        def take(self, rows: np.ndarray) -> np.ndarray:
            pass_time()
            return super().take(rows)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setitem(methods.METHODS, "slow", methods.Method(slow, lambda n: "", True, 1))
    read = dataclasses.replace(subject(), pixels=SlowPixels(subject().pixels.take(np.arange(N))))
    row = study(read, ["slow"], question(masks=Masks(pass_time), checks=12))[-1]
    assert row.milliseconds == pytest.approx(1000 * 2 * 0.5 / N)  # two batches


def blind(network: Classifier, images: Tensor, target: Tensor, facts: object = None) -> Tensor:
    """A map that reads the body's weights, but no head and no class."""
    with torch.no_grad():
        return (network.body(images) - 0.3)[:, 0].abs()


def test_a_method_that_is_not_class_specific_is_judged_by_weights_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for specific in (True, False):
        made = methods.Method(blind, lambda n: "", False, 1, class_specific=specific)
        monkeypatch.setitem(methods.METHODS, "blind", made)
        row = studied("blind")
        assert row.class_specific is specific
        assert row.sanity is not None
        if specific:
            assert row.sanity.labels is not None
            assert row.sanity.labels.value == pytest.approx(1)  # it cannot change
            assert row.sanity.verdict == "failed"
        else:
            assert row.sanity.labels is None
            assert list(row.sanity.draws) == ["all"]
            differs = max(abs(v) for v in row.sanity.draws["all"]) < 0.5
            assert row.sanity.verdict == ("passed" if differs else "failed")
    assert not methods.METHODS["attention_rollout"].class_specific
    assert all(m.class_specific for n, m in methods.METHODS.items() if n != "attention_rollout"
               and n != "blind")  # fmt: skip


def dark_for(limit: int) -> methods.Method:
    """A method without a map for class 0, or for the first images of each batch only."""

    def maps(network: Classifier, images: Tensor, target: Tensor, facts: object = None) -> Tensor:
        found = (images * network.head[-1].weight.detach()[target][:, :, None, None]).sum(1)
        found[:limit] = 0
        return found

    return methods.Method(maps, lambda n: "", True, 1)


def test_constant_maps_are_counted_and_too_many_are_no_map(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(methods.METHODS, "none", dark_for(16))
    monkeypatch.setitem(methods.METHODS, "some", dark_for(2))
    none, some = studied("none"), studied("some")
    assert none.sanity is not None
    assert some.sanity is not None
    assert (none.constant, none.maps, none.sanity.verdict) == (30, 30, "no_map")
    assert none.sanity.passed is False
    assert (some.constant, some.maps) == (4, 30)  # two of each of two batches
    assert some.sanity.verdict != "no_map"
    assert some.sanity.parameters["all"].n <= 26
    told = none.to_json()
    assert told["sanity"]["verdict"] == "no_map"
    assert told["sanity"]["parameters"]["all"]["value"] is None


def test_draws_reach_the_checks_and_the_masks() -> None:
    row = studied("cam", draws=2, checks=28, masks=Masks())
    assert row.sanity is not None
    assert {k: len(v) for k, v in row.sanity.draws.items()} == {"all": 2, "labels": 2}
    assert row.pointing_shuffled is not None
    assert row.pointing_shuffled.n == 28
    assert row.pointing_gain is not None
    assert row.pointing_gain.value is not None
    whole = studied("cam", draws=1, checks=28, masks=Masks())
    assert whole.sanity is not None
    assert row.sanity.draws["all"][0] == pytest.approx(whole.sanity.draws["all"][0])


def test_integrated_gradients_tell_whether_they_add_up() -> None:
    row = studied("integrated_gradients")
    assert (row.complete, row.steps) == (True, 24)
    assert row.completeness_gap is not None
    assert row.completeness_gap.value == pytest.approx(0, abs=1e-5)
    assert studied("cam").complete is None
    few = dataclasses.replace(subject(), steps=1)
    assert prepared(few, ["integrated_gradients"], question()).steps == 1  # linear: one is enough
    assert prepared(few, ["saliency"], question()) is few


def test_where_the_places_lie_is_measured_for_the_methods_that_enlarge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int, int]] = []

    def measured(network: object, size: tuple[int, int, int]) -> tuple[float, float]:
        asked.append(size)
        return (-0.5, 0.25)

    monkeypatch.setattr("lesionlab.explanation.study.place_offset", measured)
    assert prepared(subject(), ["cam", "saliency"], question()).offset == (-0.5, 0.25)
    assert asked == [(2, 16, 16)]
    assert prepared(subject(), ["saliency"], question()).offset == (0.0, 0.0)
