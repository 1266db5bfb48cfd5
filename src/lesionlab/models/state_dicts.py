"""A backbone's weights from whoever saved them: timm, torchvision, a training loop, an ONNX file.

What had to be changed to make a file fit is said in lines for the person; what does not fit is
refused with its names. Nothing keeps its random start without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from lesionlab.errors import BadInput, counted
from lesionlab.models.weight_files import StoredWeights, read_weights

# What wrappers put before every name: DataParallel, Lightning, detectors, torch.compile, ours.
PREFIXES = ("module", "model", "backbone", "encoder", "network", "net", "body", "_orig_mod")
CLASSIFIERS = ("classifier.", "fc.", "head.", "last_linear.", "aux", "AuxLogits.", "_fc.")
COUNTER = "num_batches_tracked"
KINDS = ("weight", "bias", "running_mean", "running_var", COUNTER)
MOST_OF_A_CLASSIFIER = 6  # tensors: three layers; a block of a transformer has twelve
FOLDED = "onnx::Conv_"  # how torch names a convolution that took up its batch norm


def load_body(body: nn.Module, path: Path, *, by_position: bool = False) -> list[str]:
    """Load a backbone's weights from a file; returns what was changed to make them fit.

    A prefix of every name is taken off; the classifier of the pre-training is left out; a colour
    stem is summed for grey input and a transformer's positions are resampled, as timm does. With
    `by_position` (or where the names are others and the file keeps the layers' order) the tensors
    are taken in their order, each of the same kind and shape as the network's. Raises `BadInput`
    with the missing and unexpected names for another architecture.
    """
    stored, own = read_weights(path), body.state_dict()
    tensors, said = _named(stored, own, path, by_position=by_position)
    fit = _fit(own, _fitted(body, tensors))
    if not fit.complete:
        raise _refusal(fit, own, stored, path)
    _refuse_strange_numbers(fit.known, own, path)
    said += _left_out(tensors, own)
    body.load_state_dict(fit.known, strict=False)
    return [*stored.lines, *(f"{path.name}: {line}" for line in said)]


def _named(
    stored: StoredWeights, own: Mapping[str, Tensor], path: Path, *, by_position: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by the network's names, as far as they can be told, and how they were."""
    if by_position:
        return _in_order(stored.tensors, own) or stored.tensors, []
    tensors, said = _without_prefixes(stored.tensors, own, path)
    whole = all(name in tensors for name in _wanted(own))
    agree = all(n == mine for (n, _), mine in _pairs(tensors, own) if n in own)
    ordered = None if whole or not stored.in_order or not agree else _in_order(tensors, own)
    if ordered is None:
        return tensors, said
    count = len(_wanted(own))
    return ordered, [f"{counted(count, 'tensor')} taken by their order: its names are others"]


def _wanted(own: Iterable[str]) -> list[str]:
    """The names without which a network keeps its random start."""
    return [k for k in own if not k.endswith(COUNTER)]


def _pairs(
    tensors: Mapping[str, Tensor], own: Iterable[str]
) -> list[tuple[tuple[str, Tensor], str]]:
    theirs = [(k, v) for k, v in tensors.items() if not k.endswith(COUNTER)]
    return list(zip(theirs, _wanted(own), strict=False))


def _in_order(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors under the network's names, where order, kinds and shapes agree throughout.

    The order of a `state_dict` is that in which the layers were made, so that it survives another
    author's names. Kinds tell a running mean from a running variance of the same shape. What is
    left must be no more than a classifier: a deeper network begins like a shallow one.
    """
    pairs, count = _pairs(tensors, own), len(_wanted(own))
    rest = [(k, v) for k, v in tensors.items() if not k.endswith(COUNTER)][count:]
    agree = len(pairs) == count and all(
        a.shape == own[mine].shape and _kind(name) == _kind(mine) for (name, a), mine in pairs
    )
    if not agree or len(rest) > MOST_OF_A_CLASSIFIER or any("running" in k for k, _ in rest):
        return None
    named = {mine: value for (_, value), mine in pairs}
    return {**named, **{f"classifier.{k}": v for k, v in rest}}


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in KINDS else ""


def _without_prefixes(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by their bare names, and the prefixes that were taken off."""
    whole = _prefixes_of_all(tensors, _wanted(own))
    if len(whole) > 1:
        raise _more_than_once(_wanted(own)[0], path)
    if whole:
        return _under(whole[0], tensors, own)
    bare, said = _known_prefixes_off(tensors, own, path)
    common = "" if any(name in own for name in bare) else _common_prefix(tensors, own)
    return _under(common, tensors, own) if common else (bare, said)


def _more_than_once(name: str, path: Path) -> BadInput:
    return BadInput(
        f"holds '{name}' more than once, under several prefixes",
        where=str(path),
        remedy="save the weights of one network alone",
    )


def _prefixes_of_all(tensors: Mapping[str, Tensor], wanted: list[str]) -> list[str]:
    """The prefixes, of whatever words, under which the network lies whole."""
    first = wanted[0]
    found = [k.removesuffix(first) for k in tensors if k == first or k.endswith(f".{first}")]
    return [prefix for prefix in found if all(prefix + name in tensors for name in wanted)]


def _common_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What stands before every name, where half of the names and more fit without it."""
    words = next(iter(tensors)).split(".")
    for depth in range(1, len(words)):
        prefix = ".".join(words[:depth]) + "."
        if not all(name.startswith(prefix) for name in tensors):
            break
        if 2 * sum(name.removeprefix(prefix) in own for name in tensors) >= len(tensors):
            return prefix
    return ""


def _under(
    prefix: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors below a prefix by their bare names; those beside it only as a classifier."""
    inside = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    beside = {_bare(k, own): v for k, v in tensors.items() if not k.startswith(prefix)}
    others = [name for name in beside if not _is_classifier(name)]
    said = [f"prefix '{prefix}' taken off {counted(len(inside), 'name')}"] if prefix else []
    if others:
        said.append(f"{_some(others)} beside the network left out")
    return {**{k: v for k, v in beside.items() if k not in others}, **inside}, said


def _known_prefixes_off(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Each name without the prefixes that wrappers are known to put there."""
    bare: dict[str, Tensor] = {}
    taken: dict[str, int] = {}
    for name, value in tensors.items():
        short = _bare(name, own)
        if short in bare:
            raise _more_than_once(short, path)
        bare[short] = value
        prefix = name.removesuffix(short)
        if prefix:
            taken[prefix] = taken.get(prefix, 0) + 1
    return bare, [
        f"prefix '{prefix}' taken off {counted(n, 'name')}" for prefix, n in taken.items()
    ]


def _bare(name: str, own: Mapping[str, Tensor]) -> str:
    while name not in own:
        first, dot, rest = name.partition(".")
        if not dot or first not in PREFIXES:
            break
        name = rest
    return name


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a network, by name."""

    known: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    wrong: list[str]  # known, and of another shape

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network is there, and no other."""
        return not (self.missing or self.unexpected or self.wrong)

    def describe(self) -> str:
        """The names that do not fit."""
        parts = [("missing", self.missing), ("unexpected", self.unexpected)]
        parts += [("of another shape", self.wrong)]
        return "; ".join(f"{_some(keys)} {word}" for word, keys in parts if keys)


def _fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Fit:
    known = {k: v for k, v in tensors.items() if k in own}
    return Fit(
        known,
        missing=[k for k in _wanted(own) if k not in known],
        unexpected=[k for k in tensors if k not in own and not _is_classifier(k)],
        wrong=[k for k, v in known.items() if v.shape != own[k].shape],
    )


def _refusal(fit: Fit, own: Mapping[str, Tensor], stored: StoredWeights, path: Path) -> BadInput:
    """What is the matter with weights that do not fit, as far as they tell, and what to do."""
    if _batch_norms_merged(fit, stored):
        what = "its batch norms were merged into its convolutions when it was exported"
        remedy = "give the .pth or .safetensors that it was made from"
    elif fit.known and not (fit.unexpected or fit.wrong):
        what = f"holds only part of the network: no weights for {_modules(fit.missing, own)}"
        remedy = (
            "give a file of the whole network, or name the network that these are the whole of by "
            "--set model.name=NAME"
        )
    elif len(fit.known) < len(fit.missing) and _same_shapes(stored.tensors, own):
        order = "another order" if stored.in_order else "no order of the layers to go by"
        what = f"has tensors of these shapes under other names, and in {order}"
        remedy = "give what torch.save(model.state_dict(), 'weights.pth') writes"
        if stored.in_order:
            remedy = "rename its tensors as those of the network are named"
    else:
        what, remedy = "", "these are the weights of another network: name it by "
        remedy += "--set model.name=NAME"
    said = f"{what} ({fit.describe()})" if what else fit.describe()
    return BadInput(said, where=str(path), remedy=remedy)


def _batch_norms_merged(fit: Fit, stored: StoredWeights) -> bool:
    """Whether an ONNX export merged batch norms that the network has.

    Some of the names may be left, or none: torch numbers each convolution that took one up.
    """
    if not stored.is_graph or not any("running_mean" in k for k in fit.missing):
        return False
    left = "BatchNormalization" in stored.operators or any("running" in k for k in stored.tensors)
    numbered = any(k.startswith(FOLDED) for k in stored.tensors)
    return numbered or (bool(fit.known) and not left)


def _same_shapes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    wanted = Counter(tuple(own[k].shape) for k in _wanted(own))
    return wanted <= Counter(tuple(v.shape) for v in tensors.values())


def _modules(missing: list[str], own: Iterable[str]) -> str:
    """The missing names, those of a module that lacks all of its weights as the module's."""
    there = [k for k in _wanted(own) if k not in set(missing)]
    found: dict[str, None] = {}
    for name in missing:
        words = name.split(".")
        heads = [".".join(words[:depth]) for depth in range(1, len(words))]
        whole = (h for h in heads if not any(k.startswith(f"{h}.") for k in there))
        found[next(whole, name)] = None
    shown = list(found)
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")


def _refuse_strange_numbers(
    known: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> None:
    """`BadInput` for weights that are whole numbers, or not finite."""
    real = {k: v for k, v in known.items() if own[k].is_floating_point()}
    whole = [k for k, v in real.items() if not v.is_floating_point()]
    if whole:
        raise BadInput(
            f"{_some(whole)} hold whole numbers, as of a quantised network",
            where=str(path),
            remedy="give the weights as they were before quantisation",
        )
    if any(not torch.isfinite(v).all() for v in real.values()):
        raise BadInput("holds NaN or infinite weights", where=str(path))


def _is_classifier(name: str) -> bool:
    return name.startswith(CLASSIFIERS) or name.endswith(COUNTER)


def _left_out(tensors: Mapping[str, Tensor], own: Iterable[str]) -> list[str]:
    """A line on the classifier of the pre-training, which the new head replaces."""
    rest = {k: v for k, v in tensors.items() if k not in own and not k.endswith(COUNTER)}
    rows = [len(v) for k, v in rest.items() if k.endswith("weight") and v.ndim == 2]
    classes = f" of {rows[-1]} classes" if rows else ""
    return [f"its classifier{classes} is left out ({', '.join(sorted(rest))})"] if rest else []


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
    return f"{counted(len(keys), 'key')} ({shown})"
