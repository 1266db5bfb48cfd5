"""Tensors that find their place in a network, and what is said where they do not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.toy_weights import (
    as_onnx,
    body,
    network,
    prefixed,
    renamed,
    same_as_the_file,
    seven,
    state,
)
from lesionlab.errors import BadInput
from lesionlab.models.state_dicts import load_body


def detector() -> dict[str, Tensor]:
    return {**prefixed("student.backbone."), "neck.conv.weight": torch.zeros(2, 2)}


def half_renamed() -> OrderedDict[str, Tensor]:
    """The stem by its own names, the rest by another author's."""
    both = zip(state().items(), renamed().items(), strict=True)
    return OrderedDict(mine if mine[0].startswith("conv1") else other for mine, other in both)


SAFETENSORS = {
    "plain": (state, ""),
    "module": (lambda: prefixed("module."), "'module.' taken off"),
    "model": (lambda: prefixed("model."), "'model.' taken off"),
    "backbone": (lambda: prefixed("backbone."), "'backbone.' taken off"),
    "two": (lambda: prefixed("module.model."), "'module.model.' taken off"),
    "student": (lambda: prefixed("student."), "prefix 'student.' taken off"),
    "deep": (lambda: prefixed("backbone.net."), "prefix 'backbone.net.' taken off"),
    "detector": (detector, "1 key (neck.conv.weight) beside the network left out"),
    "head7": (seven, "classifier of 7 classes is left out"),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_safetensors_of_a_wrapped_network(tmp_path: Path, kind: str) -> None:
    make, said = SAFETENSORS[kind]
    save_file(make(), tmp_path / "w.safetensors")
    loaded = body()
    lines = load_body(loaded, tmp_path / "w.safetensors")
    assert same_as_the_file(loaded)
    assert said in "\n".join(lines)
    assert "left out" in "\n".join(lines)


NESTED: dict[str, tuple[Callable[[], Any], str]] = {
    "plain": (state, ""),
    "nested": (lambda: {"state_dict": state(), "epoch": 3}, "'state_dict'"),
    "ema": (lambda: {"state_dict_ema": state(), "state_dict": seven()}, "'state_dict_ema'"),
    "twice": (lambda: {"model": {"state_dict": prefixed("module.")}}, "'model'"),
    "renamed": (renamed, "taken by their order"),
    "renamed and wrapped": (
        lambda: OrderedDict((f"student.{k}", v) for k, v in renamed().items()),
        "taken by their order",
    ),
    "half renamed": (half_renamed, "taken by their order"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_pth_files_are_read_without_their_code(tmp_path: Path, kind: str) -> None:
    make, said = NESTED[kind]
    torch.save(make(), tmp_path / "w.pth")
    loaded = body()
    lines = load_body(loaded, tmp_path / "w.pth")
    assert same_as_the_file(loaded)
    assert said in "\n".join(lines)


class Payload:
    """What a hostile file runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("ran-their-code"),))  # type: ignore[return-value]


def test_a_pth_file_with_code_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state(), "extra": Payload()}, "w.pth")
    with pytest.raises(BadInput, match=r"could run code.*state_dict\(\) alone"):
        load_body(body(), Path("w.pth"))
    assert not Path("ran-their-code").exists()
    torch.save(network(), "whole.pth")
    with pytest.raises(BadInput, match="could run code"):
        load_body(body(), Path("whole.pth"))


def test_onnx_initialisers_map_by_name(tmp_path: Path) -> None:
    as_onnx(tmp_path / "w.onnx", prefixed("body."))
    loaded = body()
    load_body(loaded, tmp_path / "w.onnx")
    assert same_as_the_file(loaded)


def test_another_network_is_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    other = timm.create_model("resnet10t", pretrained=False).state_dict()
    save_file({k: v.contiguous() for k, v in other.items()}, tmp_path / "w.safetensors")
    torch.save(other, tmp_path / "w.pth")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pth"):
        loaded, before = body(), body().state_dict()
        with pytest.raises(BadInput, match=r"of another network: name it by --set model.name"):
            load_body(loaded, path)
        assert all(torch.equal(before[k], v) for k, v in loaded.state_dict().items())


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    save_file({k: v.int() for k, v in state().items()}, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match="whole numbers, as of a quantised network; give the"):
        load_body(body(), tmp_path / "w.safetensors")


def test_order_does_not_confuse_a_mean_with_a_variance(tmp_path: Path) -> None:
    swapped = OrderedDict(
        (
            k.replace("running_mean", "x")
            .replace("running_var", "running_mean")
            .replace("x", "running_var"),
            v,
        )
        if "running" in k
        else (k, v)
        for k, v in renamed().items()
    )
    torch.save(swapped, tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"under other names, and in another order.*; rename"):
        load_body(body(), tmp_path / "w.pth")


def test_a_name_under_two_prefixes_is_refused(tmp_path: Path) -> None:
    save_file({**prefixed("student.model."), **prefixed("model.")}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="more than once, under several prefixes; save the"):
        load_body(body(), tmp_path / "a.safetensors")
    save_file({**prefixed("module."), **prefixed("model.")}, tmp_path / "b.safetensors")
    with pytest.raises(BadInput, match="more than once"):
        load_body(body(), tmp_path / "b.safetensors")


def merged(keep_names: bool) -> dict[str, Tensor]:
    """As torch's exporter leaves a network whose batch norms it merged: convolutions anew."""
    norms = tuple(k.removesuffix("running_mean") for k in state() if k.endswith("running_mean"))
    kept = {k: v for k, v in state().items() if not k.startswith(norms)}
    numbers = {k: f"onnx::Conv_{147 + 3 * n}" for n, k in enumerate(kept)}
    return {k if keep_names or v.ndim < 4 else numbers[k]: v for k, v in kept.items()}


@pytest.mark.parametrize("classifier", [True, False])
@pytest.mark.parametrize("keep_names", [True, False])
def test_merged_batch_norms_are_said(tmp_path: Path, *, keep_names: bool, classifier: bool) -> None:
    found = {k: v for k, v in merged(keep_names).items() if classifier or v.ndim == 4}
    as_onnx(tmp_path / "w.onnx", found)
    loaded, before = body(), body().state_dict()
    with pytest.raises(BadInput) as caught:
        load_body(loaded, tmp_path / "w.onnx")
    line = str(caught.value)
    assert "its batch norms were merged into its convolutions when it was exported" in line
    assert line.endswith("; give the .pth or .safetensors that it was made from")
    assert all(torch.equal(before[k], v) for k, v in loaded.state_dict().items())


def test_an_onnx_of_a_network_without_batch_norms_is_another_network(tmp_path: Path) -> None:
    other = timm.create_model("test_vit", pretrained=False).state_dict()
    as_onnx(tmp_path / "w.onnx", other)
    with pytest.raises(BadInput, match="these are the weights of another network"):
        load_body(body(), tmp_path / "w.onnx")


@pytest.mark.parametrize("prefix", ["", "student."])
def test_part_of_a_network_names_the_modules_without_weights(tmp_path: Path, prefix: str) -> None:
    own = body().state_dict()
    gone = ("layer3.", "layer4.", "bn1.running_var", "layer2.0.conv2.")
    assert all(any(k.startswith(g) for k in own) for g in gone)
    kept = {prefix + k: v for k, v in state().items() if not k.startswith(gone)}
    save_file(kept, tmp_path / "w.safetensors")
    with pytest.raises(BadInput) as caught:
        load_body(body(), tmp_path / "w.safetensors")
    line = str(caught.value)
    modules = "bn1.running_var, layer2.0.conv2, layer3, layer4"
    assert f"holds only part of the network: no weights for {modules} (" in line
    assert "give a file of the whole network" in line


@pytest.mark.parametrize("name", ["w.safetensors", "w.onnx"])
def test_a_file_without_the_order_of_layers_says_why_names_matter(
    tmp_path: Path, name: str
) -> None:
    if name == "w.onnx":
        as_onnx(tmp_path / name, renamed())
    else:
        save_file(renamed(), tmp_path / name)
    said = "of these shapes under other names, and in no order of the layers to go by"
    with pytest.raises(BadInput, match=rf"{said}.*; give what torch\.save\(model\.state_dict"):
        load_body(body(), tmp_path / name)


def test_an_order_that_contradicts_a_name_is_not_taken(tmp_path: Path) -> None:
    """Two tensors of one kind and shape, one under its own name at the other's place."""
    names = [k for k in state() if k.startswith("layer1") and k.endswith("bn2.weight")]
    shapes = [state()[k].shape for k in names]
    other = next(k for k in state() if k.endswith("bn1.weight") and state()[k].shape == shapes[0])
    swapped = OrderedDict(
        (other if mine == names[0] else theirs, v)
        for mine, (theirs, v) in zip(state(), renamed().items(), strict=True)
    )
    torch.save(swapped, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="missing"):
        load_body(body(), tmp_path / "w.pth")


def test_a_deeper_network_in_the_same_order_is_not_cut_to_fit(tmp_path: Path) -> None:
    make = timm.models.VisionTransformer
    shape: dict[str, Any] = {"img_size": 32, "embed_dim": 16, "num_heads": 2, "num_classes": 0}
    deep, shallow = make(depth=3, **shape).state_dict(), make(depth=2, final_norm=False, **shape)
    torch.save(OrderedDict((f"x{n}.{k.rpartition('.')[2]}", v) for n, (k, v) in
               enumerate(deep.items())), tmp_path / "w.pth")  # fmt: skip
    with pytest.raises(BadInput, match="missing"):
        load_body(shallow, tmp_path / "w.pth")
