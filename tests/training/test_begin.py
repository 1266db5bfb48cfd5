"""Before the first step: what is refused, what a network starts from, the run folder, the plan."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.datasets import begun_run, dataset, lettered_parts, row
from lesionlab.config import InputSettings, Settings
from lesionlab.errors import BadInput
from lesionlab.models.classifier import last_linear
from lesionlab.models.tensor_files import write_tensors
from lesionlab.models.weights import Weights, random_start
from lesionlab.progress import SILENT
from lesionlab.run_folder import FactsCoding, read_run
from lesionlab.training import begin as module
from lesionlab.training import checkpoint
from lesionlab.training.begin import (
    begin,
    decide_input,
    disk_need,
    initial_network,
    memory_need,
    plan,
    refuse_impossible,
    refuse_lone_images,
    refuse_seen,
    refuse_single_values,
    refuse_sizes,
    starts_from,
)
from lesionlab.training.device import Machine
from lesionlab.training.setup import Parts, snapshot, write_snapshot

Recipe = Callable[..., Settings]
RANDOM = random_start("test_efficientnet")
HEAD = {"name": "head", "trainable": "head", "epochs": 2}
ALL = {"name": "all", "epochs": 1}
CONCAT = {"name": "test_efficientnet", "pretrained": False, "head": "concat_pool"}
METADATA = {"name": "test_efficientnet", "pretrained": False, "metadata": ["age", "site"]}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return lettered_parts(tmp_path / "hand")


def network_of(settings: Settings, parts: Parts, start: Path | None = None) -> Any:
    return initial_network(settings, parts, None, RANDOM, start)[0]


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"monitor": "auc"}, r"monitor: unknown monitor 'auc'"),
        ({"stages": [{**ALL, "start_from": "best"}]}, r"stages\.0\.start_from: the first stage"),
        ({"model": METADATA | {"metadata": ["diagnosis"]}}, "'diagnosis' must not be an input"),
        ({"model": METADATA | {"metadata": ["site"]}}, "'site' must not be an input"),
        ({"model": METADATA | {"metadata": ["ages"]}}, "did you mean 'age'"),
        ({"model": CONCAT, "micro_batch": 1}, "'concat_pool' has batch norms: stage head needs"),
    ],
)
def test_settings_that_this_data_set_cannot_be_trained_by(
    tmp_path: Path, tiny: Recipe, changes: dict[str, Any], words: str
) -> None:
    parts = lettered_parts(tmp_path, forbidden_inputs=("site",))
    stages = [HEAD, ALL]
    with pytest.raises(BadInput, match=words):
        refuse_impossible(tiny(**{"stages": stages, **changes}), parts)
    refuse_impossible(tiny(stages=stages, model=METADATA | {"metadata": ["age"]}), parts)


def test_a_loss_of_two_classes_for_three(tmp_path: Path, tiny: Recipe) -> None:
    parts = lettered_parts(tmp_path)
    info = parts.dataset.info.model_copy(update={"classes": ("nv", "mel", "bcc")})
    parts = replace(parts, dataset=replace(parts.dataset, info=info))
    with pytest.raises(BadInput, match="'binary' needs 2 classes, the data set has 3"):
        refuse_impossible(tiny(loss={"name": "binary"}), parts)


@pytest.mark.parametrize(
    ("batch", "micro", "images", "key"),
    [
        (8, 4, 100, ""),
        (8, 8, 100, ""),
        (9, 4, 100, ""),  # the lone ninth image joins the last four
        (64, 16, 33, ""),  # a step of all 33: 16 and 17
        (2, 1, 100, ""),  # both go together
        (3, 1, 100, "micro_batch"),
        (8, 1, 100, "micro_batch"),
        (1, 1, 100, "batch_size"),
        (8, 4, 1, "batch_size"),  # no more images than one
    ],
)
def test_a_micro_batch_of_one_image_is_refused_and_nothing_else(
    tiny: Recipe, batch: int, micro: int, images: int, key: str
) -> None:
    settings = tiny(model=CONCAT, stages=[HEAD], batch_size=batch, micro_batch=micro)
    if not key:
        refuse_lone_images(settings, images)
        return
    with pytest.raises(BadInput, match=rf"^{key}: .*stage head needs .*--set {key}=2, or more$"):
        refuse_lone_images(settings, images)
    refuse_lone_images(tiny(stages=[HEAD], batch_size=batch, micro_batch=micro), images)  # no norm


def test_the_stage_that_sees_one_image_is_named(tiny: Recipe) -> None:
    settings = tiny(model=CONCAT, stages=[HEAD, {**ALL, "batch_size": 1}])
    with pytest.raises(BadInput, match=r"^stages\.1\.batch_size: .*stage all needs"):
        refuse_lone_images(settings, 100)
    cached = tiny(model=CONCAT, stages=[{**HEAD, "cached_views": 1}], micro_batch=1)
    refuse_lone_images(cached, 100)  # features need no small micro-batches


def test_norms_of_a_single_value_are_found_by_trying(parts: Parts, tiny: Recipe) -> None:
    """At 32 px the last map is one cell, at 64 px four."""
    settings = tiny(stages=[ALL], micro_batch=1)
    network = network_of(settings, parts)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(BadInput, match="the last maps of 32 px images have a single cell: stage"):
        refuse_single_values(network, settings, 6)
    refuse_single_values(network, tiny(stages=[{**ALL, "size": 64}], micro_batch=1), 6)
    refuse_single_values(network, tiny(stages=[HEAD], micro_batch=1), 6)  # its norms are frozen
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_stage_size_that_the_network_cannot_take(parts: Parts, tiny: Recipe) -> None:
    flat = tiny(model=CONCAT | {"head": "flatten_dense"}, stages=[HEAD, ALL])
    network = network_of(flat, parts)
    larger = flat.model_copy(update={"stages": tiny(stages=[HEAD, {**ALL, "size": 64}]).stages})
    with pytest.raises(BadInput, match=r"^stages\.1\.size: .*cannot take 64 x 64 images") as error:
        refuse_sizes(network, larger)
    assert "\n" not in str(error.value)
    refuse_sizes(network_of(tiny(), parts), tiny(stages=[HEAD, {**ALL, "size": 64}]))


# --- what it starts from


def test_the_start_follows_from_the_seed_alone(parts: Parts, tiny: Recipe) -> None:
    def weights(seed: int) -> dict[str, Any]:
        torch.rand(3)  # whatever was drawn before
        state: dict[str, Any] = network_of(tiny(seed=seed), parts).state_dict()
        return state

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize(
    ("changes", "prior"),
    [
        ({}, [4 / 6, 2 / 6]),
        ({"sampling": "balanced"}, [0.5, 0.5]),
        ({"loss": {"class_weights": "balanced"}}, [0.5, 0.5]),
    ],
)
def test_the_bias_starts_at_the_prior_that_training_sees(
    parts: Parts, tiny: Recipe, changes: dict[str, Any], prior: list[float]
) -> None:
    bias = last_linear(network_of(tiny(**changes), parts).head).bias.detach().numpy()
    np.testing.assert_allclose(bias, np.log(prior), atol=1e-6)
    none = last_linear(network_of(tiny(prior_bias=False, **changes), parts).head).bias
    assert torch.equal(none, torch.zeros(2))


def run_of(folder: Path, settings: Settings, parts: Parts, **changes: Any) -> Path:
    """The weights of a run that began with these settings, and its snapshot."""
    begun_run(folder, settings, parts.dataset, **changes)
    write_snapshot(folder, parts.dataset)
    write_tensors(folder / "best.safetensors", network_of(settings, parts).state_dict(), {})
    return folder / "best.safetensors"


def test_weights_of_a_run_are_loaded_whole_and_named(
    parts: Parts, tiny: Recipe, tmp_path: Path
) -> None:
    began = {"source": "some package", "licence": "MIT", "body": "w.pth"}
    start = run_of(tmp_path / "first", tiny(seed=7), parts, weights=began)
    network, named, said = initial_network(tiny(seed=8), parts, None, RANDOM, start)
    wanted = network_of(tiny(seed=7), parts).state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in network.state_dict().items())
    assert named == {
        "all": "best.safetensors",
        "sha256": named["sha256"],
        "source": "some package",
        "licence": "MIT",
        "run": "first",
        "data": read_run(tmp_path / "first").config.dataset.fingerprint,
    }
    assert said == []
    alone = Path(shutil.copy(start, tmp_path / "alone.safetensors"))
    _, named, _ = initial_network(tiny(), parts, None, RANDOM, alone)
    assert set(named) == {"all", "sha256"}


def test_weights_of_another_network_are_one_line(
    parts: Parts, tiny: Recipe, tmp_path: Path
) -> None:
    start = run_of(tmp_path / "first", tiny(), parts)
    with pytest.raises(BadInput, match=r"does not fit this network .*same network, head") as error:
        initial_network(tiny(model=CONCAT), parts, None, RANDOM, start)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("theirs", "here", "refused"),
    [
        (
            FactsCoding(columns=("age",)),
            FactsCoding(columns=("age",), age_mean=9.0),
            False,
        ),  # then its weights
        (FactsCoding(columns=("age",)), FactsCoding(columns=("sex",)), True),
        (
            FactsCoding(columns=("site",), sites=("back", "face")),
            FactsCoding(columns=("site",), sites=("back",)),
            True,
        ),
        (None, FactsCoding(columns=("age",)), False),  # the network itself will not fit
        (FactsCoding(columns=("age",)), None, False),
    ],
)
def test_facts_of_another_meaning_are_refused(
    parts: Parts,
    tiny: Recipe,
    tmp_path: Path,
    theirs: FactsCoding | None,
    here: FactsCoding | None,
    refused: bool,
) -> None:
    start = run_of(tmp_path / "first", tiny(), parts, facts=theirs)
    if here is None:  # a plain network and plain weights: nothing of the facts is asked
        initial_network(tiny(), parts, None, RANDOM, start)
        return
    match = "uses other clinical metadata" if refused else "does not fit this network"
    with pytest.raises(BadInput, match=match):
        initial_network(tiny(model=METADATA), parts, here, RANDOM, start)


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [
        ("ttttvvx", "ttttvvx", ""),  # the same split
        ("ttttvvx", "tttvtvx", "d"),  # trained on what is now validation
        ("ttttvvx", "ttttvxv", "f"),  # stopped by what is now test
        ("ttttvvx", "tttxvvt", "d"),  # trained on what is now test
        ("ttxxvvx", "ttttvvx", ""),  # what it was tested on may train
        ("ttttvvt", "ttttttv", "g"),
    ],
)
@pytest.mark.parametrize("same_name", [True, False])
def test_what_judges_here_must_not_have_trained_there(
    tmp_path: Path, tiny: Recipe, before: str, now: str, seen: str, same_name: bool
) -> None:
    """By content: no two images share a group here."""

    def alone(splits: str, name: str) -> Parts:
        made = lettered_parts(tmp_path / name, splits)
        table = made.dataset.table.assign(lesion_id="")
        return replace(made, dataset=replace(made.dataset, table=table))

    other = alone(before, "before")
    if not same_name:
        info = other.dataset.info.model_copy(update={"name": "another"})
        other = replace(other, dataset=replace(other.dataset, info=info))
    start = run_of(tmp_path / "first", tiny(), other)
    here = alone(now, "now")
    if not seen:
        refuse_seen(here, start)
        return
    with pytest.raises(BadInput, match=rf"was trained on 1 image of .*\(first: {seen}\)"):
        refuse_seen(here, start)
    leaky = here.dataset.info.model_copy(update={"leaky": True})
    refuse_seen(replace(here, dataset=replace(here.dataset, info=leaky)), start)
    (tmp_path / "first" / "dataset.csv").unlink()  # a run of an older version
    refuse_seen(here, start)


def test_siblings_count_only_within_one_data_set(tmp_path: Path, tiny: Recipe) -> None:
    """Lesion L0 of another data set is another lesion."""
    here = lettered_parts(tmp_path / "now", "tttttvv")  # f shares lesion L2 with e
    first = lettered_parts(tmp_path / "before", "tttttvv")
    table = first.dataset.table.assign(sha256="", split="train")
    table["sha256"] = [f"other {k}" for k in range(len(table))]
    config = begun_run(tmp_path / "first", tiny(), first.dataset)
    write_snapshot(tmp_path / "first", replace(first.dataset, table=table))
    start = tmp_path / "first" / "best.safetensors"
    with pytest.raises(BadInput, match=r"was trained on 2 images of .*\(first: f\)"):
        refuse_seen(here, start)
    renamed = config.dataset.model_copy(update={"name": "another"})
    begun_run(tmp_path / "first", tiny(), first.dataset, dataset=renamed)
    refuse_seen(here, start)


def test_an_absent_hash_is_shared_by_nobody(tmp_path: Path, tiny: Recipe) -> None:
    here = lettered_parts(tmp_path / "now", "tttttvv", name="here")
    bare = here.dataset.table.assign(sha256="")
    here = replace(here, dataset=replace(here.dataset, table=bare))
    begun_run(tmp_path / "first", tiny(), dataset(tmp_path, row("z"), name="there"))
    write_snapshot(tmp_path / "first", replace(here.dataset, table=bare.assign(split="train")))
    refuse_seen(here, tmp_path / "first" / "best.safetensors")


def test_random_weights_decide_nothing_that_was_asked_for(tiny: Recipe) -> None:
    asked = tiny(input={"size": 48, "mean": [0.1, 0.2, 0.3]})
    settings, chosen, lines = decide_input(asked, None, None, SILENT)
    assert settings.shown == RANDOM.native.model_copy(update={"size": 48, "mean": (0.1, 0.2, 0.3)})
    assert (chosen.origin, lines) == ("random", [])
    assert starts_from(settings, chosen, None) == "test_efficientnet starts from random weights"


def test_weights_of_a_run_bring_its_input_and_a_difference_is_said(
    parts: Parts, tiny: Recipe, tmp_path: Path
) -> None:
    start = run_of(tmp_path / "first", tiny(), parts)
    shown = read_run(tmp_path / "first").config.settings.shown
    settings, _, lines = decide_input(tiny(input="auto"), None, start, SILENT)
    assert (settings.shown, lines) == (shown, [])
    settings, _, lines = decide_input(tiny(input={"size": 64}), None, start, SILENT)
    assert settings.shown == shown.model_copy(update={"size": 64})
    (line,) = lines
    assert line.startswith("warning: differs from the input of the weights (best.safetensors): ")
    assert "64" in line
    assert "32" in line


def test_a_file_that_lies_alone_brings_no_input(parts: Parts, tiny: Recipe, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "w.safetensors"
    settings, chosen, lines = decide_input(tiny(input="auto"), None, alone, SILENT)
    assert (settings.shown, lines) == (RANDOM.native, [])
    assert starts_from(settings, chosen, alone) == (
        "test_efficientnet starts from the weights in w.safetensors"
    )


@pytest.mark.parametrize(
    ("place", "began", "line"),
    [
        ("best.safetensors", {}, "run first, its best"),
        ("stages/head.safetensors", {}, "run first, the end of its stage head"),
        (
            "best.safetensors",
            {"source": "a package", "licence": "MIT"},
            "run first, its best, begun with a package (licence MIT)",
        ),
    ],
)
def test_the_line_says_which_weights_of_the_run(
    parts: Parts, tiny: Recipe, tmp_path: Path, place: str, began: dict[str, str], line: str
) -> None:
    begun_run(tmp_path / "first", tiny(), parts.dataset, weights=began)
    found = starts_from(tiny(), RANDOM, tmp_path / "first" / place)
    assert found == f"test_efficientnet starts from {line}"


# --- room, the folder, the plan


def machine_of(precision: str) -> Machine:
    return Machine("cpu", precision, 1)


def test_memory_grows_with_what_takes_it(parts: Parts, tiny: Recipe, machine: Machine) -> None:
    settings = tiny(stages=[HEAD], ema=None)
    network = network_of(settings, parts)
    weights = sum(v.numel() * v.element_size() for v in network.state_dict().values())

    def need(precision: str = "float32", **changes: Any) -> int:
        asked = tiny(**{"stages": [HEAD], "ema": None, **changes})
        return memory_need(network, asked, machine_of(precision))

    assert need() == 4 * weights  # weights, gradients and two moments; a frozen body keeps no map
    assert need(ema=0.9) == 5 * weights
    maps = need(stages=[ALL]) - need()
    assert maps > 0
    assert need(stages=[HEAD, ALL]) == need(stages=[ALL])
    assert need(stages=[ALL], micro_batch=8) - need() == 2 * maps
    assert need(stages=[ALL], micro_batch=64) - need() == 2 * maps  # a step has eight images
    assert need("bfloat16", stages=[ALL]) - need() == maps / 2
    assert need(stages=[{**ALL, "size": 64}]) - need() == 4 * maps


def test_the_maps_of_the_network_are_counted(parts: Parts, tiny: Recipe) -> None:
    """At least what every convolution gives for one micro-batch, counted by torch itself."""
    settings = tiny(stages=[ALL], ema=None)
    network = network_of(settings, parts)
    counted: list[int] = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda *given: counted.append(given[2].numel()))
    with torch.no_grad():
        network(torch.zeros(settings.micro_batch, 3, 32, 32))
    maps = memory_need(network, settings, machine_of("float32")) - memory_need(
        network, tiny(stages=[HEAD], ema=None), machine_of("float32")
    )
    assert 4 * sum(counted) <= maps <= 40 * sum(counted)


def test_too_little_memory_names_the_remedy(
    parts: Parts, tiny: Recipe, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(micro_batch=64)
    network = network_of(settings, parts)
    need = memory_need(network, settings, machine)
    for free in (None, need):
        monkeypatch.setattr(module, "free_memory", lambda _, free=free: free)
        module.refuse_full_memory(network, settings, machine)
    monkeypatch.setattr(module, "free_memory", lambda _: need - 1)
    with pytest.raises(BadInput, match=r"^test_efficientnet: .*--set micro_batch=32, or use"):
        module.refuse_full_memory(network, settings, machine)


def test_a_run_folder_that_begins_takes_less_disk_than_was_asked_for(
    parts: Parts, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    begin(tmp_path / "run", tiny(), parts, machine, None, None)
    written_bytes = sum(p.stat().st_size for p in (tmp_path / "run").rglob("*") if p.is_file())
    network = network_of(tiny(), parts)
    weights = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    need = disk_need(network, tiny(stages=[HEAD]))
    assert written_bytes < need - module.SPARE_BYTES
    assert disk_need(network, tiny(stages=[HEAD, ALL])) - need == weights
    assert disk_need(network, tiny(stages=[HEAD], ema=None)) < need


def test_the_folder_of_a_run_that_begins(
    parts: Parts, tiny: Recipe, machine: Machine, tmp_path: Path, lines: Any
) -> None:
    settings = tiny(model=METADATA, input="auto")
    begin(tmp_path / "run", settings, parts, machine, None, None, lines)
    config = read_run(tmp_path / "run").config
    assert config.settings.shown == RANDOM.native  # nothing is left to be decided
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["input"][
        "size"
    ] == (RANDOM.native.size)
    assert config.facts is not None
    assert config.facts.age_mean == pytest.approx(np.mean([40, 41, 42, 43, 44, 45]))  # of training
    assert (config.device, config.precision, config.threads) == ("cpu", "float32", 1)
    assert config.weights == {}
    found = checkpoint.latest(tmp_path / "run" / "checkpoints", SILENT)
    assert (found.state.steps_done, found.state.stage) == (0, 0)
    kept = (tmp_path / "run" / "dataset.csv").read_text()
    assert kept == snapshot(parts.dataset, ("age", "site")).to_csv(index=False)
    assert lines.said == ["test_efficientnet starts from random weights"]


@pytest.mark.parametrize("fault", ["refuse_full_disk", "write_config"])
def test_what_fails_on_the_way_leaves_nothing_and_says_nothing(
    parts: Parts,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    def failing(*_: Any) -> None:
        raise BadInput("no room")

    monkeypatch.setattr(module, fault, failing)
    with pytest.raises(BadInput, match="no room"):
        begin(tmp_path / "run", tiny(), parts, machine, None, None, lines)
    assert [p.name for p in tmp_path.iterdir()] == ["hand"]
    assert lines.said == []


def test_the_plan_in_lines(parts: Parts, tiny: Recipe, machine: Machine) -> None:
    settings = tiny(
        batch_size=3,
        micro_batch=3,
        stages=[
            {**HEAD, "cached_views": 1, "augment": {"rotation": 20}, "max_lr": 0.5},
            {**ALL, "max_lr": [1e-4, 1e-3], "size": 48},
        ],
    )
    network = network_of(settings, parts)
    data, size, first, second, machine_line, room = plan(settings, parts, network, machine)
    assert data == (
        "hand: 6 images of 3 groups to train on, 2 images of 1 group to validate on, 2 classes"
    )
    whole = sum(p.numel() for p in network.parameters())
    assert size == f"test_efficientnet at 32 px: {whole:,} parameters"
    head = sum(p.numel() for p in network.head.parameters())
    assert first == (
        f"stage 1 of 2: head, 2 epochs of 2 steps, head ({head:,} parameters) on 1 cached view "
        "(its augment does not apply to them), one_cycle with learning rate 0.5"
    )
    assert second == (
        f"stage 2 of 2: all, 1 epoch of 2 steps at 48 px, all ({whole:,} parameters), one_cycle "
        "with learning rate 0.0001 to 0.001"
    )
    assert machine_line.endswith("3 images per step in micro-batches of 3")
    memory = math.floor(memory_need(network, settings, machine) / 2**20 + 0.5)
    assert f"at least {memory} MiB of memory" in room


def test_the_plan_says_what_else_is_read(tmp_path: Path, tiny: Recipe, machine: Machine) -> None:
    parts, settings = lettered_parts(tmp_path), tiny(model=METADATA)
    network = initial_network(settings, parts, FactsCoding(columns=("age",)), RANDOM, None)[0]
    assert list(plan(settings, parts, network, machine))[1].startswith(
        "test_efficientnet with age, site at 32 px: "
    )


def test_body_weights_that_are_named_are_recorded(
    parts: Parts, tiny: Recipe, tmp_path: Path
) -> None:
    body = network_of(tiny(seed=7), parts).body.state_dict()
    write_tensors(tmp_path / "w.safetensors", body, {})
    given = Weights(
        "test_efficientnet", "file", "w", InputSettings(size=32), path=tmp_path / "w.safetensors"
    )
    network, named, _ = initial_network(tiny(seed=8), parts, None, given, None)
    assert all(torch.equal(v, body[k]) for k, v in network.body.state_dict().items())
    assert (named["body"], named["origin"]) == ("w.safetensors", "file")
    plain = network_of(tiny(seed=8), parts)
    assert torch.equal(last_linear(network.head).weight, last_linear(plain.head).weight)
