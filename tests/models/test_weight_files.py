"""Files that hold weights, and strange ones: one line each, and no code of theirs is run."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.toy_weights import as_onnx, network, state
from lesionlab.errors import BadInput
from lesionlab.models.weight_files import READERS, read_weights


def saved(found: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(found, stream)
    return stream.getvalue()


def legacy(found: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(found, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def safetensors(folder: Path) -> bytes:
    save_file(state(), folder / "s.safetensors")
    return (folder / "s.safetensors").read_bytes()


def graph(folder: Path) -> bytes:
    as_onnx(folder / "s.onnx", state())
    return (folder / "s.onnx").read_bytes()


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        archive.writestr("weights.pth", b"1")
    return (folder / "s.zip").read_bytes()


AGAIN = "; copy or download it again"
STRANGE: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    **{f"empty {end}": (f"w{end}", lambda _: b"", f"is empty (0 bytes){AGAIN}") for end in READERS},
    "cut pth": ("w.pth", lambda _: saved(state())[:-300], f"is cut short or damaged{AGAIN}"),
    "cut legacy": ("w.pth", lambda _: legacy(state())[:700], "is cut short or damaged"),
    "cut legacy data": ("w.pth", lambda _: legacy(state())[:-700], "is cut short or damaged"),
    "cut safetensors": ("w.safetensors", lambda f: safetensors(f)[:-9], "is cut short"),
    "cut header": ("w.safetensors", lambda f: safetensors(f)[:99], f"is cut short{AGAIN}"),
    "cut onnx": ("w.onnx", lambda f: graph(f)[:-99], "is cut short or damaged"),
    "a page": ("w.pt", lambda _: b"<!DOCTYPE html>", "was not written by torch.save (it begins"),
    "a page as onnx": ("w.onnx", lambda _: b"<!DOCTYPE html>", "is cut short or damaged"),
    "a page as safetensors": ("w.safetensors", lambda _: b"<!DOCTYPE html>", "absurd header"),
    "another zip": ("w.pth", zipped, "is a zip file that torch.save did not write; give"),
    "settings": ("p.toml", lambda _: b"a = 1", "is no weights file by its name, which ends in"),
    "no ending": ("p", lambda _: b"a = 1", "is no weights file by its name, which has no ending"),
    "a list": ("w.pth", lambda _: saved([1]), "holds a list, not the weights of a network"),
    "numbers": ("w.pth", lambda _: saved({"epoch": 3}), "holds no weights of a network"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_file_is_one_line_that_names_it(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    name, make, said = STRANGE[kind]
    (tmp_path / name).write_bytes(make(tmp_path))
    with pytest.raises(BadInput) as caught:
        read_weights(tmp_path / name)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name}: ")
    assert said in line
    assert "\n" not in line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("end", READERS)
def test_nothing_a_folder_and_a_closed_file(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"my weights{end}"
    with pytest.raises(BadInput, match="no such file"):
        read_weights(path)
    path.mkdir()
    with pytest.raises(BadInput, match="is a folder, not a file; name a file in it"):
        read_weights(path)
    path.rmdir()
    path.write_bytes(b"1")

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(BadInput, match=r"may not be read by you; .*: chmod a\+r '.*my weights"):
        read_weights(path)


def run_remedy(line: str) -> None:
    """Run the Python that a refusal offers."""
    exec(line.partition("in Python: ")[2], {"torch": torch, "onnx": onnx})


@pytest.mark.filterwarnings("error")
def test_torchscript_is_said_without_torch_s_own_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), torch.zeros(1, 3, 64, 64)).save("script.pt")
    with pytest.raises(BadInput) as caught:
        read_weights(Path("script.pt"))
    assert "is a TorchScript program, not weights alone; save its weights" in str(caught.value)
    assert capfd.readouterr().err == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_remedy(str(caught.value))
    assert same(read_weights(Path("weights.pth")).tensors)


def same(found: dict[str, Tensor]) -> bool:
    own = state()
    return list(found) == list(own) and all(torch.equal(found[k], v) for k, v in own.items())


BESIDE: dict[str, tuple[Callable[[], Any], str]] = {
    "stray": (lambda: {"best": torch.ones(1), "state_dict": state()}, "'state_dict'"),
    "stray in model": (lambda: {"t": torch.ones(2), "model": {"state_dict": state()}}, "'model'"),
    "empty first": (lambda: {"model_ema": {}, "model": state()}, "'model'"),
    "settings first": (lambda: {"state_dict": {"a": 1}, "model": state()}, "'model'"),
    "own word": (lambda: {"student": state(), "epoch": 3, "step": torch.ones(1)}, "'student'"),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_a_loop_saved_beside_the_weights_does_not_hide_them(tmp_path: Path, kind: str) -> None:
    make, key = BESIDE[kind]
    torch.save(make(), tmp_path / "w.ckpt")
    found = read_weights(tmp_path / "w.ckpt")
    assert same(found.tensors)
    assert found.lines == (f"w.ckpt: the weights are those under {key}",)
    assert found.in_order


def test_two_networks_in_a_file_are_refused_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"student": state(), "teacher": state()}, "w.pth")
    with pytest.raises(BadInput, match=r"several networks \(student, teacher\)") as caught:
        read_weights(Path("w.pth"))
    run_remedy(str(caught.value))
    assert same(read_weights(Path("weights.pth")).tensors)


def test_a_graph_with_its_weights_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_onnx(Path("w.onnx"), state())
    whole = onnx.load("w.onnx")
    onnx.save(whole, "apart.onnx", save_as_external_data=True, location="d", size_threshold=0)
    with pytest.raises(BadInput, match="keeps its weights in another file") as caught:
        read_weights(Path("apart.onnx"))
    run_remedy(str(caught.value))
    kept = read_weights(Path("weights.onnx")).tensors
    assert all(torch.equal(kept[k], v) for k, v in state().items() if v.ndim)


def test_older_files_of_torch_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(legacy(state()))
    assert same(read_weights(tmp_path / "w.pth").tensors)
