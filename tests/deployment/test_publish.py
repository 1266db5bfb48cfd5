"""A bundle is published only if it answers like the original, and whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.serving import client, post
from lesionlab.api.predict import predict
from lesionlab.cli.main import run as run_cli
from lesionlab.deployment.bundle import ALLOWED, CARD, INFO, Bundle, read_bundle
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.errors import BadInput
from lesionlab.evaluation.calibration import probabilities

Make = Callable[..., Bundle]


def test_it_agrees_with_the_original_and_says_how_well(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    parity = bundle.info.parity
    assert parity.images == 42
    assert 0 <= parity.max_probability_difference < 1e-5
    names = {p.name for p in bundle_folder.iterdir()}
    assert names <= set(ALLOWED)
    assert bundle.info.files.keys() == names - {INFO}


def test_a_model_that_differs_is_not_published(
    make_bundle: Make, tiny: Any, tmp_path: Path
) -> None:
    network = tiny.tiny_network(tiny.tiny_weights())
    shift = np.array([0.01, 0, 0], np.float32)
    off = replace(network, original=lambda images: network.original(images) + shift)
    with pytest.raises(BadInput, match=r"differ from the original's by up to 0\.00"):
        make_bundle(tmp_path / "out", network=off)
    assert list(tmp_path.iterdir()) == []


def test_a_difference_below_the_tolerance_is_recorded(
    make_bundle: Make, tiny: Any, tmp_path: Path
) -> None:
    network = tiny.tiny_network(tiny.tiny_weights())
    shift = np.array([1e-4, 0, 0], np.float32)
    off = replace(network, original=lambda images: network.original(images) + shift)
    parity = make_bundle(tmp_path / "out", network=off).info.parity
    assert 1e-6 < parity.max_probability_difference < 1e-4


def test_folder_and_zip_are_the_same_bundle(
    make_bundle: Make, bundle_folder: Path, tmp_path: Path
) -> None:
    packed = make_bundle(tmp_path / "b.zip")
    plain = read_bundle(bundle_folder)
    assert packed.model == plain.model
    for name in set(plain.info.files) - {CARD}:  # the card holds the time
        assert packed.info.files[name] == plain.info.files[name], name
    assert all(np.array_equal(packed.arrays[n], plain.arrays[n]) for n in plain.arrays)


def test_an_existing_output_is_refused_and_kept(make_bundle: Make, tmp_path: Path) -> None:
    target = tmp_path / "b.zip"
    target.write_text("mine")
    with pytest.raises(BadInput, match="exists"):
        make_bundle(target)
    assert target.read_text() == "mine"


def test_nothing_is_left_where_writing_fails(
    make_bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionlab import files

    real, calls = files.write_bytes, []

    def failing(path: Path, content: bytes) -> None:
        calls.append(path.name)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(files, "write_bytes", failing)
    with pytest.raises(BadInput, match="No space left on device"):
        make_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_flags_travel_with_the_bundle(make_bundle: Make, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "out", leaky=True, leak_reason="--allow-leak", synthetic=True)
    assert bundle.info.leaky
    assert bundle.info.synthetic
    assert "**LEAKY.**" in bundle.card
    assert "**SYNTHETIC.**" in bundle.card


def test_probabilities_are_the_calibrated_ones(bundle_folder: Path, tiny: Any) -> None:
    bundle = read_bundle(bundle_folder)
    predictor, info = Predictor(bundle), bundle.info
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    outputs = predictor.predict(pixels)
    prior, trained = ([d[c] for c in info.classes] for d in (info.prior, info.train_prior))
    wanted = probabilities(outputs.logits.astype(np.float64), info.temperature, prior, trained)
    assert outputs.prob.dtype == np.float32
    np.testing.assert_allclose(outputs.prob, wanted, atol=1e-6)


def test_answers_do_not_depend_on_the_batch(bundle_folder: Path) -> None:
    predictor = Predictor(read_bundle(bundle_folder))
    pixels = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    together = predictor.predict(pixels)
    for n in range(7):
        alone = predictor.predict(pixels[n : n + 1])
        np.testing.assert_allclose(alone.prob[0], together.prob[n], atol=1e-6)


def test_the_map_averages_to_the_logits(bundle_folder: Path, tiny: Any) -> None:
    predictor = Predictor(read_bundle(bundle_folder))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    outputs = predictor.predict(pixels, with_cam=True)
    assert outputs.cam is not None
    bias = tiny.tiny_weights().bias
    np.testing.assert_allclose(outputs.cam.mean((2, 3)) + bias, outputs.logits, atol=1e-5)
    assert predictor.predict(pixels).cam is None


def test_the_bank_holds_training_images_only(bundle_folder: Path, tiny_dataset: Any) -> None:
    arrays = read_bundle(bundle_folder).arrays
    train = tiny_dataset.part("train")
    assert arrays["bank.npy"].dtype == np.float16
    assert len(arrays["bank.npy"]) == len(train)
    counts = np.bincount(arrays["bank_labels.npy"], minlength=3)
    assert counts.tolist() == [26, 26, 26]


def test_no_path_of_the_dataset_is_in_the_bundle(bundle_folder: Path, tiny_dataset: Any) -> None:
    for file in bundle_folder.iterdir():
        assert str(tiny_dataset.folder).encode() not in file.read_bytes(), file.name


def test_the_card_says_where_the_labels_do_not_determine_the_temperature(
    make_bundle: Make, bundle_folder: Path, tmp_path: Path
) -> None:
    note = "the labels of 9 rows do not determine the temperature: alone they give 0.05"
    bundle = make_bundle(tmp_path / "b", calibration_notes=(note,))
    assert f"- Calibration: {note}." in bundle.card
    assert read_bundle(tmp_path / "b").info.calibration_notes == (note,)
    assert "- Calibration:" not in read_bundle(bundle_folder).card


def test_without_an_operating_point_nothing_is_decided_and_everything_says_why(
    make_bundle: Make, tiny_dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "operating point: 14 positive groups; a lower bound of sensitivity of 0.95 needs 59"
    bundle = make_bundle(tmp_path / "b", operating_points=(), no_operating_point=why)
    assert f"- Operating point: none ({why})" in bundle.card
    image = tiny_dataset.folder / "images" / "mel0.png"
    answer = predict(tmp_path / "b", image)
    assert answer["predictions"][0]["decision"] is None
    assert answer["no_operating_point"] == why
    with pytest.raises(BadInput, match="needs 59"):
        predict(tmp_path / "b", image, operating_point="sensitivity 0.9")
    assert run_cli(["predict", str(tmp_path / "b"), str(image)]) == 0
    assert why in capsys.readouterr().out
    app, _ = build([tmp_path / "b"], ServeSettings(workers=1))
    with client(app) as web:
        (model,) = web.get("/v1/models").json()["models"]
        assert (model["operating_points"], model["no_operating_point"]) == ([], why)
        assert post(web, image.read_bytes()).json()["predictions"][0]["decision"] is None
