"""What a weights file holds, whoever saved it: safetensors, `torch.save`, ONNX.

No code of a file is run. A file that is empty, damaged, closed or of another kind is refused in
one line that names it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lesionlab.errors import BadInput
from lesionlab.models.tensor_files import AGAIN, read_tensors, refuse_unreadable

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto

# Where training loops keep the weights among other things; the average first, as timm loads it.
NESTED = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "weights",
)
PICKLE = b"\x80"  # the first byte of a pickle of protocol 2 or later
TAR_MAGIC = (257, b"ustar")  # of files from before torch 0.1.10
ENDED = ("truncated", "ran out of input", "eof", "end of file", "expected")  # torch's words


@dataclass(frozen=True)
class StoredWeights:
    """The tensors of a file by their names there, and what is known of them."""

    tensors: dict[str, Tensor]
    lines: tuple[str, ...] = ()  # what was noteworthy, for the person
    in_order: bool = False  # whether the file keeps the order in which the layers were made
    is_graph: bool = False  # ONNX
    operators: frozenset[str] = frozenset()  # of the graph


def read_weights(path: Path) -> StoredWeights:
    """The tensors of a weights file, in its order.

    Reads `.safetensors`, `.onnx` (its initialisers) and what `torch.save` wrote (`.pth`, `.pt`,
    `.bin`, `.ckpt`, `.tar`), the last with `weights_only=True`, which runs none of the file's code.
    Raises `BadInput` for anything else, and where that is refused.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None and not path.is_dir():
        ending = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        known = ", ".join(READERS)
        raise BadInput(
            f"is no weights file by its name, which {ending}",
            where=str(path),
            remedy=f"give a file that ends in one of {known}",
        )
    refuse_unreadable(path)
    assert reader is not None  # a folder was refused above
    return reader(path)


def _of_safetensors(path: Path) -> StoredWeights:
    return StoredWeights(read_tensors(path))


def _of_torch(path: Path) -> StoredWeights:
    _refuse_other_containers(path)
    found = _unpickled(path)
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise BadInput(f"holds a {kind}, not the weights of a network", where=str(path))
    tensors, key = _state_dict(found, path)
    line = f"{path.name}: the weights are those under '{key}'"
    return StoredWeights(tensors, (line,) if key else (), in_order=True)


def _refuse_other_containers(path: Path) -> None:
    """`BadInput` for a TorchScript program, another zip, a cut one, and what is no pickle."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(b"PK"):
        _refuse_other_zips(path)
        return
    place, magic = TAR_MAGIC
    if not head.startswith(PICKLE) and head[place : place + len(magic)] != magic:
        begins = head[:12].decode("latin-1")
        raise BadInput(
            f"was not written by torch.save (it begins with '{begins}')", where=str(path),
            remedy=AGAIN,
        )  # fmt: skip


def _refuse_other_zips(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        raise BadInput("is cut short or damaged", where=str(path), remedy=AGAIN) from None
    if "constants.pkl" in names:
        raise BadInput(
            "is a TorchScript program, not weights alone",
            where=str(path),
            remedy="save its weights in Python: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pth')",
        )
    if "data.pkl" not in names:
        raise BadInput(
            "is a zip file that torch.save did not write",
            where=str(path),
            remedy="give the weights file itself: unpack it where it lies in this one",
        )


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        if any(word in str(error).lower().partition("weights only")[0] for word in ENDED):
            raise BadInput("is cut short or damaged", where=str(path), remedy=AGAIN) from None
        raise BadInput(
            "holds more than tensors: reading it could run code that somebody put there",
            where=str(path),
            remedy="where you trust it, save model.state_dict() alone, as .safetensors or .pth",
        ) from None
    except Exception as error:  # noqa: BLE001 (a damaged pickle fails in any way there is)
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> BadInput:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return BadInput(f"is cut short or damaged ({reason[:120]})", where=str(path), remedy=AGAIN)


def _state_dict(found: Mapping[Any, Any], path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict among what a training loop saved beside it, and under which key it lay.

    The nested ones come first: a loop may keep a tensor of its own beside them.
    """
    nested = {str(k): v for k, v in found.items() if isinstance(v, Mapping)}
    for key in NESTED:
        if key in nested and _holds_tensors(nested[key]):
            return _state_dict(nested[key], path)[0], key
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    others = [k for k, v in nested.items() if sum(map(_is_tensor, v.values())) > len(tensors)]
    if len(others) == 1:
        return _state_dict(nested[others[0]], path)[0], others[0]
    if tensors and not others:
        return tensors, ""
    if not others:
        raise BadInput("holds no weights of a network", where=str(path))
    raise BadInput(
        f"holds the weights of several networks ({', '.join(others)})",
        where=str(path),
        remedy="save one alone in Python: "
        f"torch.save(torch.load({str(path)!r})[{others[0]!r}], 'weights.pth')",
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _holds_tensors(found: Mapping[Any, Any]) -> bool:
    """Whether tensors lie there, or in a state dict by a usual name below."""
    inner = [found[k] for k in NESTED if isinstance(found.get(k), Mapping)]
    return any(map(_is_tensor, found.values())) or any(map(_holds_tensors, inner))


def _of_onnx(path: Path) -> StoredWeights:
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        _refuse_external(graph, path)
        arrays = {
            each.name: numpy_helper.to_array(each).copy()
            for each in graph.initializer
            if not _is_shape(each)
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 (of protobuf, which has no public class for it)
        raise _damaged(path, error) from None
    if not tensors:
        raise BadInput("holds no weights", where=str(path), remedy=AGAIN)
    return StoredWeights(
        tensors, is_graph=True, operators=frozenset(node.op_type for node in graph.node)
    )


def _refuse_external(graph: GraphProto, path: Path) -> None:
    from onnx import TensorProto

    if any(each.data_location == TensorProto.EXTERNAL for each in graph.initializer):
        raise BadInput(
            "keeps its weights in another file",
            where=str(path),
            remedy="put them into one in Python: "
            f"onnx.save(onnx.load({str(path)!r}), 'weights.onnx')",
        )


def _is_shape(tensor: TensorProto) -> bool:
    """Whether an initialiser is a constant of the graph: sizes and axes, not weights."""
    from onnx import TensorProto

    whole = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
    return tensor.data_type in whole and len(tensor.dims) < 2


READERS: dict[str, Callable[[Path], StoredWeights]] = {
    ".safetensors": _of_safetensors,
    ".onnx": _of_onnx,
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".tar"), _of_torch),
}
