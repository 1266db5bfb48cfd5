"""Tensors come out as they went in, and a file that is none is named with the reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open

from lesionlab.errors import BadInput
from lesionlab.models import tensor_files
from lesionlab.models.tensor_files import read_tensors, write_tensors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)}, {"b": 1})
    return path


def test_what_is_written_is_read(file: Path) -> None:
    found = read_tensors(file)
    assert set(found) == {"w", "n"}
    assert torch.equal(found["w"], torch.arange(6.0).reshape(2, 3))
    assert found["n"].dtype == torch.int64
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["lesionlab"]) == {"b": 1}


def test_a_view_that_needs_gradients_is_written_as_plain_numbers(tmp_path: Path) -> None:
    turned = torch.arange(6.0, requires_grad=True).reshape(2, 3).T
    write_tensors(tmp_path / "t", {"t": turned}, {})
    found = read_tensors(tmp_path / "t")["t"]
    assert torch.equal(found, turned.detach())
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"abc", "absurd header"),
        (b"PK\x03\x04" + b"\xff" * 60, "absurd header"),
        (struct.pack("<Q", 100) + b"{}", "is cut short"),
        (struct.pack("<Q", 2) + b"[]", "is not a readable safetensors file"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said) as error:
        read_tensors(path)
    assert str(path) in str(error.value)


def test_a_file_cut_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for size in (1, 9, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"cut short|absurd header"):
            read_tensors(file)


def test_folders_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder, not a file"):
        read_tensors(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        read_tensors(tmp_path / "absent")


def test_a_full_disk_is_the_systems_error_and_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(file, {"w": torch.zeros(1)}, {})
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]
