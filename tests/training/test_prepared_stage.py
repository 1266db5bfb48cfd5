"""A stage made ready: its inputs, what moves, its rates and losses; images made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.datasets import lettered_parts
from lesionlab.array_types import Rows
from lesionlab.config import Settings
from lesionlab.data.augment import to_input
from lesionlab.models.classifier import build
from lesionlab.models.freeze import trainable_groups
from lesionlab.run_folder import FactsCoding
from lesionlab.training import prepared_stage as module
from lesionlab.training.checkpoint import State
from lesionlab.training.device import Machine
from lesionlab.training.lr_finder import RateCurve
from lesionlab.training.prepared_stage import (
    StageResources,
    batches,
    prepare_stage,
    rate_curve,
    step_context,
)
from lesionlab.training.setup import Parts, preprocessing
from lesionlab.training.step import FeatureInputs, ImageInputs

Recipe = Callable[..., Settings]
HEAD = {"name": "head", "trainable": "head", "epochs": 2}
CACHED = {**HEAD, "cached_views": 2}
ALL = {"name": "all", "epochs": 3}
CONCAT = {"name": "test_efficientnet", "pretrained": False, "head": "concat_pool"}


@dataclass(frozen=True)
class Noise:
    """Pixels of row k, made when they are asked for."""

    size: int

    def __len__(self) -> int:
        return 10**6

    def take(self, rows: Rows) -> Any:
        shape = (self.size, self.size, 3)
        made = [np.random.default_rng(int(k)).integers(0, 256, shape, np.uint8) for k in rows]
        return np.stack(made)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes at which pixels were opened."""
    sizes: list[int] = []

    def pixels(parts: Parts, settings: Settings, size: int, *_: Any) -> Noise:
        sizes.append(size)
        return Noise(size)

    monkeypatch.setattr(module, "stage_pixels", pixels)
    return sizes


Make = Callable[..., StageResources]


@pytest.fixture
def make(opened: list[int], tiny: Recipe, machine: Machine, tmp_path: Path, lines: Any) -> Make:
    """`make(stages, splits=..., **changes)`: what the stages of a run need."""

    def resources(*stages: Any, splits: str = "ttttttvvx", **changes: Any) -> StageResources:
        settings = tiny(stages=list(stages), **changes)
        parts = lettered_parts(tmp_path / "data", splits)
        torch.manual_seed(0)
        network = build(settings.model, settings.shown, 2)
        return StageResources(tmp_path / "run", settings, parts, None, network, machine, lines)

    return resources


def moving(resources: StageResources) -> set[str]:
    return {n for n, p in resources.network.named_parameters() if p.requires_grad}


# --- numbers of a stage


def test_steps_are_whole_batches(make: Make) -> None:
    ready = prepare_stage(make(ALL, batch_size=4, micro_batch=2), 0, State())
    assert (ready.batch, ready.micro, ready.steps, ready.total) == (4, 2, 1, 3)
    assert ready.number == 0
    assert prepare_stage(make(ALL, batch_size=3), 0, State()).total == 6


def test_a_stage_s_own_batch_no_more_than_the_images_and_what_memory_allows(make: Make) -> None:
    resources = make({**ALL, "batch_size": 64}, micro_batch=5)
    stage = resources.settings.stages[0]
    assert batches(resources, stage, State()) == (6, 5)
    assert batches(resources, stage, State(micro_batches={"all": 2})) == (6, 2)
    assert batches(resources, stage, State(micro_batches={"other": 2})) == (6, 5)


def test_labels_and_facts_are_those_of_their_rows(make: Make) -> None:
    resources = make(ALL, splits="vtttvt")
    assert resources.parts.train.tolist() == [1, 2, 3, 5]
    assert resources.labels.tolist() == [0, 0, 1, 0]  # b, c, d (mel), f
    assert resources.facts is None
    coding = FactsCoding(columns=("age",), age_mean=40.0, age_sd=1.0)
    facts = replace(resources, coding=coding).facts
    assert facts is not None
    assert facts[:, 0].tolist() == pytest.approx([0, 1, 2, 3, 4, 5])  # of the whole table


# --- what moves


@pytest.mark.parametrize("stage", [HEAD, CACHED])
def test_of_a_frozen_body_the_head_alone_moves(make: Make, stage: dict[str, Any]) -> None:
    resources = make(stage)
    ready = prepare_stage(resources, 0, State())
    assert moving(resources) == {f"head.{n}" for n, _ in resources.network.head.named_parameters()}
    optimised = [p for g in ready.context.optimizer.param_groups for p in g["params"]]
    assert {id(p) for p in optimised} == {
        id(p) for p in resources.network.parameters() if p.requires_grad
    }
    assert {id(p) for p in ready.context.moving} == {id(p) for p in optimised}


def test_a_later_stage_moves_what_an_earlier_one_froze(make: Make) -> None:
    resources = make(HEAD, ALL)
    prepare_stage(resources, 0, State())
    prepare_stage(resources, 1, State())
    assert moving(resources) == {n for n, _ in resources.network.named_parameters()}


def test_an_average_follows_all_or_of_features_the_head_with_its_statistics(make: Make) -> None:
    assert prepare_stage(make(HEAD), 0, State()).moving is None
    resources = make(CACHED, model=CONCAT)
    names = prepare_stage(resources, 0, State()).moving
    assert names is not None
    assert set(names) == {f"head.{n}" for n in resources.network.head.state_dict()}
    assert any("running_mean" in name for name in names)


# --- rates


def test_rates_are_spread_over_the_groups_that_move(make: Make) -> None:
    resources = make({**ALL, "max_lr": [1e-5, 1e-3]}, {**HEAD, "max_lr": 0.5})
    peaks = prepare_stage(resources, 0, State()).peaks
    groups = trainable_groups(resources.network, "all")
    assert len(peaks) == len(groups) > 2
    np.testing.assert_allclose(peaks, np.geomspace(1e-5, 1e-3, len(groups)))
    assert prepare_stage(resources, 1, State()).peaks == [0.5]


def test_auto_finds_its_rate_once_and_resumes_with_it(
    make: Make, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def find(*given: Any) -> RateCurve:
        asked.append(given)
        none = np.ones(1)
        return RateCurve(none, none, {"valley": 2e-3, "minimum_10": None})

    monkeypatch.setattr(module, "find_rate", find)
    resources, state = make({**HEAD, "max_lr": "auto"}, batch_size=3, micro_batch=2), State()
    ready = prepare_stage(resources, 0, state)
    assert ready.peaks == [2e-3]
    assert state.found_rates == {"head": 2e-3}
    assert lines.said == ["head: rate 2.00e-03 found"]
    ((inputs, context, labels, *numbers, _),) = asked
    assert (labels.tolist(), numbers) == (resources.labels.tolist(), [0, 3, 2])
    assert inputs is ready.inputs
    assert context is not ready.context  # its optimiser is used up by the test
    assert prepare_stage(resources, 0, state).peaks == [2e-3]
    assert len(asked) == 1


def test_a_range_test_alone_moves_what_its_stage_moves(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = make(ALL, {**HEAD, "frozen_batch_norm": "eval"})
    seen: list[tuple[bool, bool]] = []

    def find(*_: Any) -> None:
        seen.append((resources.network.body.training, resources.network.head.training))

    monkeypatch.setattr(module, "find_rate", find)
    inputs = module.stage_inputs(resources, 1, State())
    rate_curve(resources, 1, inputs, 4, 2)
    assert seen == [(False, True)]
    assert moving(resources) == {f"head.{n}" for n, _ in resources.network.head.named_parameters()}


# --- losses


@pytest.mark.parametrize(
    ("changes", "seen", "weights"),
    [
        ({}, [4 / 6, 2 / 6], [1, 1]),
        ({"sampling": "balanced"}, [0.5, 0.5], [1, 1]),
        ({"loss": {"class_weights": "balanced"}}, [4 / 6, 2 / 6], [6 / 8, 6 / 4]),
        ({"loss": {"logit_adjustment": 1.0}}, [4 / 6, 2 / 6], [1, 1]),
    ],
)
def test_the_loss_knows_the_classes_that_training_sees(
    make: Make, changes: dict[str, Any], seen: list[float], weights: list[float]
) -> None:
    """4 nv and 2 mel; weights by class are N / (K n)."""
    resources = make(ALL, **changes)
    context = step_context(resources, resources.settings.stages[0], ())
    np.testing.assert_allclose(context.log_seen.numpy(), np.log(seen), atol=1e-6)
    np.testing.assert_allclose(context.weights.numpy(), weights, atol=1e-6)
    assert context.targets.tolist() == [1, 0, 0, 1, 0, 0]
    assert not context.scaler.is_enabled()


# --- inputs


def test_images_at_the_stage_s_size_are_judged_at_the_run_s(make: Make, opened: list[int]) -> None:
    resources = make({**ALL, "size": 48}, ALL | {"name": "full"})
    small = prepare_stage(resources, 0, State()).inputs
    assert isinstance(small, ImageInputs)
    assert (small.pixels, small.valid_pixels) == (Noise(48), Noise(32))
    assert (small.how, small.valid_how) == (
        preprocessing(resources.settings, 48),
        preprocessing(resources.settings),
    )
    assert (small.train.tolist(), small.valid.tolist()) == (list(range(6)), [6, 7])
    opened.clear()
    full = prepare_stage(resources, 1, State()).inputs
    assert isinstance(full, ImageInputs)
    assert full.pixels is full.valid_pixels
    assert opened == [32]


def test_features_are_computed_once_and_then_come_from_the_cache(
    make: Make, opened: list[int], lines: Any
) -> None:
    resources, state = make(CACHED), State()
    inputs = prepare_stage(resources, 0, state).inputs
    assert isinstance(inputs, FeatureInputs)
    assert state.features["head"] == {"from_cache": 0, "computed": 2 * 6 + 2, "engine": "torch"}
    assert opened == [32]
    with torch.no_grad():
        pixels = Noise(32).take(resources.parts.valid)
        how = preprocessing(resources.settings)
        wanted = resources.network.eval().embed(to_input(torch.from_numpy(pixels), how))
    np.testing.assert_allclose(inputs.whole(), wanted.numpy(), atol=1e-5)
    lines.said.clear()
    opened.clear()
    again = State()
    prepare_stage(resources, 0, again)
    assert again.features["head"]["from_cache"] == 14
    assert again.features["head"]["computed"] == 0
    assert lines.said == ["head: all frozen features come from the cache"]
    assert opened == []  # not a pixel is needed
    prepare_stage(resources, 0, state)
    assert state.features["head"]["computed"] == 14  # what the run did stays on record


@pytest.mark.parametrize(
    ("before", "shared"),
    [
        ([], True),
        ([{**HEAD, "name": "first"}], True),
        ([{**ALL, "name": "first"}], False),
        ([{**HEAD, "name": "first", "frozen_batch_norm": "train"}], False),
    ],
)
def test_only_a_body_that_never_moved_shares_its_features(
    make: Make, before: list[Any], shared: bool
) -> None:
    resources = make(*before, CACHED)
    prepare_stage(resources, len(before), State())
    of_data = resources.parts.dataset.folder / "cache" / "features"
    of_run = resources.folder / "features"
    kept = [folder for folder in (of_data, of_run) if list(folder.rglob("*.npy"))]
    assert kept == [of_data if shared else of_run]


# --- batch norms


def first_norm(resources: StageResources) -> Any:
    return next(m for m in resources.network.body.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_norms_get_the_statistics_of_all_training_images_once(make: Make, lines: Any) -> None:
    """More images than one batch of them; the validation images are not among them."""
    resources = make(HEAD, ALL, splits="t" * 37 + "vv", reestimate_batch_norm=True)
    state = State()
    prepare_stage(resources, 0, state)
    assert not state.norms_reestimated  # the head alone trains
    norm, seen = first_norm(resources), []
    handle = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    images = to_input(
        torch.from_numpy(Noise(32).take(np.arange(37))), preprocessing(resources.settings)
    )
    with torch.no_grad():
        before = resources.network.eval()(images)
    handle.remove()
    prepare_stage(resources, 1, state)
    assert state.norms_reestimated
    np.testing.assert_allclose(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(resources.network.eval()(images), before, atol=1e-4)
    (line,) = state.notes
    assert line.endswith("batch norms re-estimated on 37 images")
    assert lines.said == [line]
    norm.running_mean.zero_()
    prepare_stage(resources, 1, state)  # a later attempt: what was trained since stays
    assert not norm.running_mean.any()


def test_norms_stay_where_nobody_asked(make: Make) -> None:
    resources = make(ALL)
    before = first_norm(resources).running_mean.clone()
    prepare_stage(resources, 0, State())
    assert torch.equal(first_norm(resources).running_mean, before)
