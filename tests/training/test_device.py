"""What bit-exact repetition stands on: the machine's record, and the same bits at any address."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import timm
import torch

from lesionlab.errors import BadInput
from lesionlab.platforms import keep_memory
from lesionlab.training.device import NUMERICS, choose_machine


def _at(array: np.ndarray, offset: int) -> torch.Tensor:
    """The same numbers, `offset` bytes behind an address that is a multiple of 64."""
    room = np.empty(array.nbytes + 128, np.uint8)
    start = (-room.ctypes.data) % 64 + offset
    view = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return torch.from_numpy(view)


@pytest.mark.parametrize("shape", [(7, 13, 2), (32, 1280, 7), (5, 33, 7)])
def test_a_linear_layer_gives_the_same_bits_wherever_its_arrays_lie(
    shape: tuple[int, int, int],
) -> None:
    n, width, classes = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)).astype(np.float32)
    w = rng.normal(size=(classes, width)).astype(np.float32)
    seen = set()
    for first in (0, 4, 8, 16, 44):
        for second in (0, 4, 8, 48):
            here, weight = _at(x, first).requires_grad_(), _at(w, second).requires_grad_()
            out = torch.nn.functional.linear(here, weight)
            out.square().sum().backward()  # type: ignore[no-untyped-call]
            results = (out.detach(), here.grad, weight.grad)
            seen.add(b"".join(t.numpy().tobytes() for t in results if t is not None))
    assert len(seen) == 1


def test_the_record_names_what_the_bits_depend_on() -> None:
    record = choose_machine("cpu", "float32", 1).fingerprint()
    assert record["threads"] == 1
    assert record["precision"] == "float32"
    assert record["timm"] == timm.__version__
    assert record["numerics"] == NUMERICS
    assert record["mkl"] == os.environ["MKL_CBWR"] == "AUTO,STRICT"


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cpu", "float16")])
def test_what_the_machine_lacks_is_refused(device: str, precision: str) -> None:
    with pytest.raises(BadInput):
        choose_machine(device, precision, 1)


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_apples_gpu_is_refused_with_the_reason(device: str) -> None:
    with pytest.raises(
        BadInput, match=r"^--device: mps is not supported: .*float64.*use --device cpu$"
    ):
        choose_machine(device, "float32", 1)


def test_freed_memory_is_kept_where_the_c_library_can() -> None:
    assert keep_memory() == (sys.platform == "linux")
