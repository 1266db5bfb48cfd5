"""Tensors in and out of safetensors files: no pickle, and a damaged file is named."""

from __future__ import annotations

import errno
import json
import os
import shlex
import struct
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lesionlab import files
from lesionlab.errors import BadInput

MAX_HEADER = 16 * 2**20  # bytes; the header of a 10,000-tensor network has under 2 MB
AGAIN = "copy or download it again"


def refuse_unreadable(path: Path) -> None:
    """`BadInput` for a file that is absent, a folder, closed to this user, or empty."""
    if path.is_dir():
        raise BadInput("is a folder, not a file", where=str(path), remedy="name a file in it")
    try:
        with path.open("rb") as stream:
            first = stream.read(1)
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except PermissionError:
        remedy = f"let its owner allow it: chmod a+r {shlex.quote(str(path))}"
        raise BadInput("may not be read by you", where=str(path), remedy=remedy) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"cannot be read ({reason})", where=str(path)) from None
    if not first:
        raise BadInput("is empty (0 bytes)", where=str(path), remedy=AGAIN)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `BadInput` where it is none or is damaged."""
    refuse_unreadable(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
        header = struct.unpack("<Q", head)[0] if len(head) == 8 else MAX_HEADER + 1
        if header > MAX_HEADER:
            what = "is no safetensors file, or a damaged one (absurd header)"
            raise BadInput(what, where=str(path), remedy=AGAIN)
        if 8 + header > size:
            raise BadInput("is cut short", where=str(path), remedy=AGAIN)
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        cut = "incomplete" in str(error).lower()
        what = "is cut short" if cut else "is not a readable safetensors file"
        raise BadInput(f"{what} ({error})", where=str(path), remedy=AGAIN) from None


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
