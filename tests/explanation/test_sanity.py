"""The verdict: it passes maps that follow the network, fails others, and knows when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.evaluation.intervals import Measure
from lesionlab.explanation import methods, randomise
from lesionlab.explanation.sanity import Alike, alike, judged, similarity
from lesionlab.models.classifier import Classifier, build


def small_subject(n: int) -> tuple[methods.ExplainedNetwork, np.ndarray, np.ndarray, np.ndarray]:
    """An untrained network with batch norms and noise; rows, classes and groups."""
    torch.manual_seed(0)
    settings = ModelSettings(name="test_resnet", pretrained=False)
    network = build(settings, InputSettings(size=64), 3).eval()
    array = np.random.default_rng(0).integers(0, 255, (n, 64, 64, 3)).astype(np.uint8)
    subject = methods.ExplainedNetwork(network, CachedPixels(array), Preprocessing(size=64))
    return subject, np.arange(n), np.zeros(n, np.int64), np.arange(n).astype(object)


def edges_only(
    network: Classifier, images: torch.Tensor, target: torch.Tensor, facts: object = None
) -> torch.Tensor:
    """A method that never asks the network."""
    return (images[:, 0, 1:, 1:] - images[:, 0, :-1, :-1]).abs()


def test_randomisation_fails_a_method_that_shows_only_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject, rows, target, groups = small_subject(48)
    edge = methods.Method(edges_only, lambda n: "", signed=False, cost=1)
    monkeypatch.setitem(methods.METHODS, "edges", edge)
    for name, verdict in (("edges", "failed"), ("cam", "passed")):
        maps = methods.maps_of(subject, name, rows, target)
        others = randomise.randomised(subject, rows)
        found = similarity(subject, name, maps, others, rows, target)
        levels = {level: alike(values, groups) for level, values in found.items()}
        assert judged(levels, None).verdict == verdict
        assert len(judged(levels, None).draws["all"]) == randomise.DRAWS


def test_shuffling_nothing_changes_no_more_than_the_norms_measured_anew() -> None:
    subject, rows, target, _ = small_subject(12)
    first = next(randomise.randomised(subject, rows))
    assert first[0] == randomise.CONTROL
    maps = methods.maps_of(subject, "cam", rows, target)
    seen: list[str] = []
    found = similarity(
        subject, "cam", maps, [first, ("again", first[1])], rows, target,
        see=lambda level, base, theirs: seen.append(f"{level} {np.allclose(base, theirs)}"),
    )  # fmt: skip
    assert found["again"][0] == pytest.approx(np.ones(12))
    assert found[randomise.CONTROL][0].mean() < 0.999
    assert seen == ["norms False", "again True"]


def said(value: float, high: float | None, *draws: float) -> Alike:
    """A mean with a symmetric interval, and the means of its draws."""
    low = None if high is None else 2 * value - high
    return Alike(Measure(value, low, high, 30, ""), draws or (value,))


def test_judgement() -> None:
    low, high = said(0.1, 0.3), said(0.4, 0.6)
    assert judged({"all": low}, low).verdict == "passed"
    assert judged({"all": high}, low).verdict == "failed"
    assert judged({"all": low}, high).verdict == "failed"
    assert judged({"head": high, "all": low}, None).passed is True
    unsure = said(0.1, None)
    assert judged({"all": unsure}, low).verdict == "unknown"
    assert judged({"all": unsure}, low).passed is None
    assert judged({"all": unsure}, high).verdict == "failed"  # whatever the other one would say
    assert judged({"all": said(-0.9, -0.85)}, None).verdict == "failed"  # only the sign turned


def test_one_draw_beyond_the_limit_fails_whatever_the_mean() -> None:
    assert judged({"all": said(0.1, 0.3, 0.4, -0.3, 0.2)}, None).verdict == "passed"
    assert judged({"all": said(0.1, 0.3, 0.6, -0.4, 0.1)}, None).verdict == "failed"
    assert judged({"all": said(0.1, 0.3, -0.6, 0.4, 0.4)}, None).verdict == "failed"
    turning = said(0.0, 0.1, 0.9, -0.9)  # the same map, or its negative: the mean hides it
    assert judged({"all": turning}, None).verdict == "failed"
    assert judged({"all": said(0.1, 0.3)}, turning).verdict == "failed"
    absent = said(0.1, 0.3, 0.1, float("nan"))  # a shuffled network that gave no map
    assert judged({"all": absent}, None).verdict == "passed"


def test_maps_that_are_constant_are_no_maps() -> None:
    low = {"all": said(0.1, 0.3)}
    assert judged(low, None, constant=1.0).verdict == "no_map"
    assert judged(low, None, constant=0.51).passed is False
    assert judged(low, None, constant=0.5).verdict == "passed"


def test_draws_are_averaged_image_by_image() -> None:
    nan = float("nan")
    draws = [np.array([0.2, 0.4, nan] + [0.0] * 12), np.array([0.4, nan, nan] + [0.0] * 12)]
    found = alike(draws, np.arange(15).astype(object))
    assert found.mean.value == pytest.approx((0.3 + 0.4) / 14)
    assert found.mean.n == 14
    assert found.draws == pytest.approx((0.6 / 14, 0.4 / 13))
    none = alike([np.full(3, nan)] * 2, np.arange(3).astype(object))
    assert none.mean.value is None
    assert np.isnan(none.draws).all()
    assert judged({"all": none}, None).verdict == "unknown"


def test_the_json_holds_every_draw() -> None:
    told = judged({"head": said(0.9, 0.95), "all": said(0.1, 0.3, 0.0, 0.2)}, said(0.1, 0.2))
    assert told.to_json()["draws"] == {"all": (0.0, 0.2), "labels": (0.1,)}
    assert told.to_json()["passed"] is True
