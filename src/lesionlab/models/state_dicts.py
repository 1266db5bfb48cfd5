"""A backbone's weights from whoever saved them: timm, torchvision, a training loop, an ONNX file.

What had to be changed to make a file fit is said in lines for the person; what does not fit is
refused with its names. Nothing keeps its random start without a word.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from lesionlab.errors import BadInput
from lesionlab.models.tensor_files import read_tensors

# What wrappers put before every name: DataParallel, Lightning, detectors, torch.compile, ours.
PREFIXES = ("module", "model", "backbone", "encoder", "network", "net", "body", "_orig_mod")
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
CLASSIFIERS = ("classifier.", "fc.", "head.", "last_linear.", "aux", "AuxLogits.", "_fc.")
COUNTER = "num_batches_tracked"
KINDS = ("weight", "bias", "running_mean", "running_var", COUNTER)
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a weights file in the file's order, and what was noteworthy.

    Reads `.safetensors`, `.onnx` (its initialisers) and what `torch.save` wrote (`.pth`, `.pt`,
    `.bin`, `.ckpt`), the last with `weights_only=True`, which runs none of the file's code.
    Raises `BadInput` for anything else, and where that is refused.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        return _unwrapped(_unpickled(path), path)
    if suffix == ".onnx":
        return _initialisers(path), []
    return read_tensors(path), []


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except pickle.UnpicklingError:
        raise BadInput(
            "holds more than tensors: reading it could run code",
            where=str(path),
            remedy="if you trust the file, save model.state_dict() alone, as .safetensors or .pth",
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise BadInput(f"not a readable weights file ({reason[:120]})", where=str(path)) from None


def _unwrapped(found: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict itself, from among what a training loop saved beside it."""
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise BadInput(f"holds a {kind}, not the weights of a network", where=str(path))
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if tensors:
        return tensors, []
    for key in NESTED:
        if isinstance(found.get(key), Mapping):
            inner, _ = _unwrapped(found[key], path)
            return inner, [f"{path.name}: the weights are those under '{key}'"]
    raise BadInput("holds no weights of a network", where=str(path))


def _initialisers(path: Path) -> dict[str, Tensor]:
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        arrays = {each.name: numpy_helper.to_array(each).copy() for each in graph.initializer}
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except Exception as error:  # noqa: BLE001 (of protobuf, which has no public class for it)
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise BadInput(f"not a readable ONNX file ({reason[:120]})", where=str(path)) from None
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def load_body(body: nn.Module, path: Path, *, by_position: bool = False) -> list[str]:
    """Load a backbone's weights from a file; returns what was changed to make them fit.

    Wrappers' prefixes are taken off; the classifier of the pre-training is left out; a colour
    stem is summed for grey input and a transformer's positions are resampled, as timm does. With
    `by_position` (or where no name fits) the tensors are taken in their order, each of the same
    kind and shape as the network's. Raises `BadInput` with the missing and unexpected names for
    another architecture.
    """
    tensors, lines = read_state_dict(path)
    own = body.state_dict()
    if by_position or (path.suffix.lower() in PICKLED and not _named_alike(tensors, own)):
        tensors, said = _in_order(tensors, own)
        lines += [f"{path.name}: {line}" for line in said if not by_position]
    tensors, said = _without_prefixes(tensors, own, path)
    lines += [f"{path.name}: {line}" for line in said]
    known = _checked(body, _fitted(body, tensors), path)
    lines += [f"{path.name}: {line}" for line in _left_out(tensors, own)]
    body.load_state_dict(known, strict=False)
    return lines


def _named_alike(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return any(_bare(name, own) in own for name in tensors)


def _in_order(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the network's names, where order, kinds and shapes agree throughout.

    The order of a `state_dict` is that in which the layers were made, so that it survives another
    author's names. Kinds tell a running mean from a running variance of the same shape.
    """
    theirs = [(k, v) for k, v in tensors.items() if not k.endswith(COUNTER)]
    wanted = [(k, v) for k, v in own.items() if not k.endswith(COUNTER)]
    pairs = list(zip(theirs, wanted, strict=False))
    agree = len(theirs) >= len(wanted) and all(
        a.shape == b.shape and _kind(name) == _kind(mine) for (name, a), (mine, b) in pairs
    )
    if not agree:
        return dict(tensors), []
    rest = {f"classifier.{k}": v for k, v in theirs[len(wanted) :]}
    named = {mine: value for (_, value), (mine, _) in pairs}
    return {**named, **rest}, [
        f"{len(wanted)} tensors were assigned by order, because their names differ"
    ]


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in KINDS else ""


def _without_prefixes(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by their bare names, and the prefixes that were taken off."""
    bare: dict[str, Tensor] = {}
    taken: dict[str, int] = {}
    for name, value in tensors.items():
        short = _bare(name, own)
        if short in bare:
            raise BadInput(
                f"holds '{short}' more than once, under several prefixes",
                where=str(path),
                remedy="save the weights of one network alone",
            )
        bare[short] = value
        prefix = name.removesuffix(short)
        if prefix:
            taken[prefix] = taken.get(prefix, 0) + 1
    return bare, [f"prefix '{prefix}' removed from {n} names" for prefix, n in taken.items()]


def _bare(name: str, own: Mapping[str, Tensor]) -> str:
    while name not in own:
        first, dot, rest = name.partition(".")
        if not dot or first not in PREFIXES:
            break
        name = rest
    return name


def _checked(body: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Those of the backbone; `BadInput` where they do not fit or are not finite."""
    own = body.state_dict()
    known = {k: v for k, v in tensors.items() if k in own}
    missing = [k for k in own if k not in known and not k.endswith(COUNTER)]
    unexpected = [k for k in tensors if k not in own and not _is_classifier(k)]
    wrong = [k for k, v in known.items() if v.shape != own[k].shape]
    if missing or unexpected or wrong:
        parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
        raise BadInput(
            "; ".join(f"{_some(keys)} {word}" for word, keys in parts if keys),
            where=str(path),
            remedy=_remedy(path, missing, known),
        )
    whole = [
        k for k, v in known.items() if own[k].is_floating_point() and not v.is_floating_point()
    ]
    if whole:
        raise BadInput(
            f"{_some(whole)} hold integers, as in a quantised network",
            where=str(path),
            remedy="give the weights from before quantisation",
        )
    if any(not torch.isfinite(v).all() for v in known.values() if v.is_floating_point()):
        raise BadInput("holds NaN or infinite weights", where=str(path))
    return known


def _remedy(path: Path, missing: Iterable[str], known: Mapping[str, Tensor]) -> str:
    if path.suffix.lower() == ".onnx" and known and any("running_mean" in k for k in missing):
        return (
            "its batch norms were folded into its convolutions when it was exported: give the .pth "
            "or .safetensors that it was made from"
        )
    return "these are the weights of another network; name it with --set model.name=NAME"


def _is_classifier(name: str) -> bool:
    return name.startswith(CLASSIFIERS) or name.endswith(COUNTER)


def _left_out(tensors: Mapping[str, Tensor], own: Iterable[str]) -> list[str]:
    """A line on the classifier of the pre-training, which the new head replaces."""
    rest = {k: v for k, v in tensors.items() if k not in own and not k.endswith(COUNTER)}
    rows = [len(v) for k, v in rest.items() if k.endswith("weight") and v.ndim == 2]
    classes = f" of {rows[-1]} classes" if rows else ""
    return [f"its classifier{classes} is ignored ({', '.join(sorted(rest))})"] if rest else []


def _fitted(body: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights for another number of colours or another grid of patches."""
    own = body.state_dict()
    config: dict[str, Any] = getattr(body, "pretrained_cfg", {}) or {}
    stem = f"{config.get('first_conv')}.weight"
    if stem in tensors and stem in own and own[stem].shape[1:2] == (1,):
        tensors[stem] = adapt_input_conv(1, tensors[stem])
    place = tensors.get("pos_embed")
    if place is not None and "pos_embed" in own and place.shape != own["pos_embed"].shape:
        grid = [int(side) for side in body.patch_embed.grid_size]  # type: ignore[union-attr]
        prefix = int(getattr(body, "num_prefix_tokens", 1))
        no_class = bool(getattr(body, "no_embed_class", False))
        tensors["pos_embed"] = resample_abs_pos_embed(
            place, new_size=grid, num_prefix_tokens=0 if no_class else prefix
        )
    return tensors


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
    return f"{len(keys)} keys ({shown})"
