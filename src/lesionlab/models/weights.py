"""Weights in and out of safetensors files: no pickle, and mismatches are named."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from lesionlab import files
from lesionlab.errors import BadInput

MAX_HEADER = 16 * 2**20  # bytes; the header of a 10,000-tensor network has under 2 MB


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `BadInput` where it is none or is damaged."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        if len(head) < 8 or struct.unpack("<Q", head)[0] > MAX_HEADER:
            raise BadInput("not a safetensors file (absurd header)", where=str(path))
        return load_file(path)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (SafetensorError, OSError, ValueError) as error:
        if path.is_dir():
            raise BadInput("is a folder, not a safetensors file", where=str(path)) from None
        raise BadInput(f"not a readable safetensors file ({error})", where=str(path)) from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, object]) -> None:
    """Write a safetensors file atomically; `metadata` becomes one JSON string in its header.

    Raises `OSError` where the disk is full or cannot be written.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with files.stage_file(path) as aside:
        aside.touch()
        mode = aside.stat().st_mode  # the library's own file would be closed to all others
        try:
            save_file(plain, aside, {"lesionlab": json.dumps(metadata, sort_keys=True)})
        except SafetensorError as error:  # its own wrapping of what the system said
            full = "os error 28" in str(error).lower() or "no space" in str(error).lower()
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, os.strerror(code), str(path)) from error
        aside.chmod(mode)


def load_body(body: nn.Module, path: Path) -> None:
    """Load a body's weights from a file.

    A classifier of the pre-training ("classifier.", "fc.", "head.") may be in the file and is
    left out; a colour stem is summed for grey input and a transformer's positions are resampled,
    as timm does. Raises `BadInput` with the missing and unexpected keys for another architecture.
    """
    tensors = _fitted(body, read_tensors(path))
    own = body.state_dict()
    known = {k: v for k, v in tensors.items() if k in own}
    missing = [k for k in own if k not in known and not k.endswith("num_batches_tracked")]
    classifier = ("classifier.", "fc.", "head.", "last_linear.", "aux", "AuxLogits.")
    unexpected = [k for k in tensors if k not in own and not k.startswith(classifier)]
    wrong = [k for k, v in known.items() if v.shape != own[k].shape]
    if missing or unexpected or wrong:
        parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
        raise BadInput(
            "; ".join(f"{_some(keys)} {word}" for word, keys in parts if keys),
            where=str(path),
            remedy="these are the weights of another network",
        )
    if any(not torch.isfinite(v).all() for v in known.values() if v.is_floating_point()):
        raise BadInput("holds NaN or infinite weights", where=str(path))
    body.load_state_dict(known, strict=False)


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
