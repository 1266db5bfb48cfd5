"""How a finished run predicts: the weights, the views, the facts, the store; images by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from helpers.datasets import finished_run, lettered_parts, written
from lesionlab.array_types import Rows
from lesionlab.config import Settings
from lesionlab.data.images import normalise
from lesionlab.errors import BadInput
from lesionlab.files import sha256_file, write_json
from lesionlab.models.tensor_files import read_tensors, write_tensors
from lesionlab.run_folder import BEST, FactsCoding, Run
from lesionlab.training import inference as module
from lesionlab.training.device import Machine
from lesionlab.training.inference import (
    VIEWS,
    LoadedRun,
    load_network,
    load_run,
    predict_split,
    unchanged_data,
)
from lesionlab.training.setup import Parts

Recipe = Callable[..., Settings]
HEAD = {"name": "head", "trainable": "head", "epochs": 1, "cached_views": 1}
ALL = {"name": "all", "epochs": 1}
CODING = FactsCoding(columns=("age",), age_mean=44.0, age_sd=2.0)


@dataclass(frozen=True)
class Noise:
    """Pixels of row k, (32, 32, 3), made when they are asked for."""

    def __len__(self) -> int:
        return 100

    def take(self, rows: Rows) -> Any:
        shape = (32, 32, 3)
        made = [np.random.default_rng(int(k)).integers(0, 256, shape, np.uint8) for k in rows]
        return np.stack(made)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The data sets whose pixels were opened."""
    folders: list[Path] = []

    def pixels(dataset: Any, how: Any, progress: Any) -> Noise:
        assert how.size == 32
        folders.append(dataset.folder)
        return Noise()

    monkeypatch.setattr(module, "open_pixels", pixels)
    return folders


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return lettered_parts(tmp_path / "data")


@pytest.fixture
def run(parts: Parts, tiny: Recipe, tmp_path: Path) -> Run:
    """A run whose backbone was trained."""
    return finished_run(tmp_path / "run", tiny(stages=[ALL]), parts)


@pytest.fixture
def frozen(parts: Parts, tiny: Recipe, tmp_path: Path) -> Run:
    """A run whose backbone was never trained."""
    return finished_run(tmp_path / "frozen", tiny(stages=[HEAD]), parts)


def loaded(run: Run, parts: Parts, machine: Machine) -> LoadedRun:
    return load_run(run, parts.dataset, machine=machine)


def plain_logits(found: LoadedRun, pixels: Any) -> Any:
    """By the network alone, image by image."""
    with torch.no_grad():
        images = torch.from_numpy(normalise(pixels, found.how))
        return np.concatenate([found.network(i[None]).numpy() for i in images])


# --- the network


def test_the_best_weights_in_eval_mode(run: Run) -> None:
    network = load_network(run)
    wanted = read_tensors(run.folder / BEST)
    assert {k: v.dtype for k, v in network.state_dict().items()} == {
        k: v.dtype for k, v in wanted.items()
    }
    assert all(torch.equal(v, wanted[k]) for k, v in network.state_dict().items())
    assert not any(m.training for m in network.modules())


def test_weights_that_do_not_fit_are_one_line(run: Run) -> None:
    tensors = read_tensors(run.folder / BEST)
    body_alone = {k: v for k, v in tensors.items() if not k.startswith("head.")}
    write_tensors(run.folder / BEST, body_alone, {})
    with pytest.raises(BadInput, match=r"best\.safetensors: does not fit the run's network") as e:
        load_network(run)
    assert "\n" not in str(e.value)
    (run.folder / BEST).unlink()
    with pytest.raises(BadInput, match="no such file"):
        load_network(run)


# --- logits and probabilities


@pytest.mark.usefixtures("opened")
def test_logits_are_those_of_the_rows_in_their_order(
    run: Run, parts: Parts, machine: Machine
) -> None:
    rows = np.array([5, 0, 8, 5])
    found = loaded(run, parts, machine)
    logits = found.logits(rows)
    np.testing.assert_allclose(logits, plain_logits(found, Noise().take(rows)), atol=1e-5)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(found.view_logits(rows), logits[None])


@pytest.mark.parametrize("which", ["run", "frozen"])
@pytest.mark.usefixtures("opened")
def test_eight_views_are_the_flips_and_quarter_turns(
    which: str, request: pytest.FixtureRequest, parts: Parts, machine: Machine
) -> None:
    """Turned by numpy, of pixels and of stored features alike."""
    rows = np.array([3, 1])
    found = loaded(request.getfixturevalue(which), parts, machine)
    logits = found.view_logits(rows, VIEWS)
    assert logits.shape == (8, 2, 2)
    pixels = Noise().take(rows)
    np.testing.assert_allclose(logits[0], plain_logits(found, pixels), atol=1e-5)
    turned = [np.rot90(p, k, (1, 2)).copy() for p in (pixels, pixels[:, :, ::-1]) for k in range(4)]
    wanted = [plain_logits(found, t) for t in turned]
    for row in range(2):
        given = sorted(logits[:, row].tolist())
        np.testing.assert_allclose(given, sorted(w[row].tolist() for w in wanted), atol=1e-5)
    assert len({tuple(z) for z in logits[:, 0].round(5).tolist()}) == 8
    np.testing.assert_array_equal(found.view_logits(rows, 3), logits[:3])


@pytest.mark.usefixtures("opened")
def test_probabilities_are_the_mean_over_the_views(
    run: Run, parts: Parts, machine: Machine
) -> None:
    """softmax(z / 1.5 + log prior - log train prior), by scipy."""
    found, rows = loaded(run, parts, machine), np.arange(9)
    logits = found.view_logits(rows, 3).astype(np.float64)
    ratio = np.log([0.7, 0.3]) - np.log([0.5, 0.5])
    each = special.softmax(logits / 1.5 + ratio, axis=2)
    y_prob = found.probabilities(rows, 3)
    np.testing.assert_allclose(y_prob, each.mean(0), atol=1e-6)
    np.testing.assert_allclose(y_prob.sum(1), 1, atol=1e-12)
    predictions = found.predictions(rows)
    np.testing.assert_allclose(predictions.y_prob, found.probabilities(rows), atol=1e-12)
    assert predictions.image_id.tolist() == list("abcdefghi")
    assert predictions.y_true.tolist() == [1, 0, 0] * 3
    given = np.zeros((2, 2), np.float32)
    np.testing.assert_allclose(found.predictions(rows[:2], given).y_prob, [[0.7, 0.3]] * 2)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("stage", [HEAD, ALL])
def test_the_facts_of_each_row_are_read(
    parts: Parts, tiny: Recipe, machine: Machine, tmp_path: Path, stage: dict[str, Any]
) -> None:
    model = {"name": "test_efficientnet", "pretrained": False, "metadata": ["age"]}
    settings = tiny(model=model, stages=[stage])
    run = finished_run(tmp_path / "facts", settings, parts, facts=CODING)
    found, rows = loaded(run, parts, machine), np.array([4, 0])
    assert found.facts is not None
    assert found.facts[:, 0].tolist() == pytest.approx([(k - 4) / 2 for k in range(9)])
    with torch.no_grad():
        images = torch.from_numpy(normalise(Noise().take(rows), found.how))
        wanted = found.network(images, torch.from_numpy(found.facts[rows])).numpy()
        unknown = found.network(images).numpy()
    np.testing.assert_allclose(found.view_logits(rows)[0], wanted, atol=1e-5)
    assert np.abs(wanted - unknown).max() > 1e-3


def test_a_network_of_images_alone_has_no_facts(
    run: Run, parts: Parts, machine: Machine, opened: list[Path]
) -> None:
    found = loaded(run, parts, machine)
    assert found.facts is None
    assert opened == []  # nothing is decoded before it is asked for
    assert found.pixels is found.pixels
    assert opened == [parts.dataset.folder]


# --- the store of features


def test_features_of_a_frozen_backbone_come_from_the_store(
    frozen: Run, parts: Parts, machine: Machine, opened: list[Path]
) -> None:
    rows = np.array([2, 7, 4])
    first = loaded(frozen, parts, machine).view_logits(rows, 2)
    assert len(opened) == 1
    again = loaded(frozen, parts, machine).view_logits(rows[::-1], 2)
    assert len(opened) == 1  # not a pixel was read
    np.testing.assert_array_equal(again, first[:, ::-1])
    loaded(frozen, parts, machine).view_logits(np.array([2, 0]), 2)
    assert len(opened) == 2  # one row was not there
    by_pixels = loaded(frozen, parts, machine).logits(rows)
    np.testing.assert_allclose(first[0], by_pixels, atol=1e-5)


@pytest.mark.parametrize(
    "stages", [[ALL], [HEAD, ALL], [HEAD, {**HEAD, "name": "free", "cached_views": 0}]]
)
@pytest.mark.usefixtures("opened")
def test_what_training_did_not_cache_is_not_stored(
    parts: Parts, tiny: Recipe, machine: Machine, tmp_path: Path, stages: list[Any]
) -> None:
    run = finished_run(tmp_path / "other", tiny(stages=stages), parts)
    loaded(run, parts, machine).view_logits(np.array([1]))
    assert not list((tmp_path / "data").rglob("*.npy"))


@pytest.mark.usefixtures("opened")
def test_a_store_that_cannot_be_made_costs_time_alone(
    frozen: Run, parts: Parts, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([1, 0])
    wanted = loaded(frozen, parts, machine).view_logits(rows)
    shutil.rmtree(parts.dataset.folder / "cache")
    monkeypatch.setattr(module, "can_hold", lambda _: False)
    found = loaded(frozen, parts, machine).view_logits(rows)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not (parts.dataset.folder / "cache").exists()


# --- ensembles


@pytest.mark.usefixtures("opened")
def test_an_ensemble_answers_with_its_members_mean(
    frozen: Run, parts: Parts, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    """Its logits are the log of the mean probability; its features are of no one backbone."""
    other = finished_run(tmp_path / "other", tiny(stages=[HEAD]), parts, seed=1)
    made = finished_run(tmp_path / "both", tiny(stages=[HEAD]), parts)
    members = [
        {
            "name": r.folder.name,
            "kind": "run",
            "runs": [{"folder": str(r.folder), "sha256": sha256_file(r.folder / BEST)}],
        }
        for r in (frozen, other)
    ]
    write_json(made.folder / "ensemble.json", {"method": "mean", "members": members})
    rows = np.array([6, 2])
    each = [loaded(r, parts, machine).probabilities(rows) for r in (frozen, other)]
    shutil.rmtree(parts.dataset.folder / "cache")
    logits = loaded(made, parts, machine).view_logits(rows)[0]
    np.testing.assert_allclose(special.softmax(logits, axis=1), np.mean(each, axis=0), atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert not list(parts.dataset.folder.rglob("*.npy"))


# --- the data


def test_the_data_of_a_run_in_the_order_of_image_id(run: Run, parts: Parts) -> None:
    written(replace(parts.dataset, table=parts.dataset.table.iloc[::-1]))
    assert list(unchanged_data(run).table["image_id"]) == list("abcdefghi")


def test_data_that_moved_are_given_and_data_that_changed_refused(
    run: Run, parts: Parts, tmp_path: Path
) -> None:
    moved = parts.dataset.folder.rename(tmp_path / "moved")
    with pytest.raises(BadInput, match="data: the dataset folder of the run was not found; give"):
        unchanged_data(run)
    assert unchanged_data(run, moved).folder == moved
    table = parts.dataset.table.assign(label="nv")
    written(replace(parts.dataset, folder=moved, table=table))
    with pytest.raises(BadInput, match="has changed since the run began: 0 images gone"):
        unchanged_data(run, moved)


def test_a_split_is_predicted_afresh(
    run: Run, parts: Parts, machine: Machine, opened: list[Path]
) -> None:
    found = predict_split(run.folder, "test", machine=machine)
    assert found.image_id.tolist() == ["i"]
    wanted = loaded(run, parts, machine).probabilities(np.array([8]))
    np.testing.assert_allclose(found.y_prob, wanted, atol=1e-12)
    with pytest.raises(BadInput, match="no images in split 'calib'"):
        predict_split(run.folder, "calib", machine=machine)
    opened.clear()
    (run.folder / "calibration.json").unlink()
    with pytest.raises(BadInput, match="the run is not finished"):
        predict_split(run.folder, "test", machine=machine)
    assert opened == []


def test_threads_are_those_of_the_machine(run: Run, parts: Parts) -> None:
    """Bits depend on them, whatever other work in the process has set."""
    torch.set_num_threads(2)
    loaded(run, parts, Machine("cpu", "float32", 1))
    assert torch.get_num_threads() == 1


def test_the_stored_settings_say_how_an_image_is_prepared(run: Run, parts: Parts) -> None:
    raw = json.loads((run.folder / "config.json").read_text())
    assert raw["settings"]["input"]["size"] == 32
    assert load_run(run, parts.dataset).how.size == 32
