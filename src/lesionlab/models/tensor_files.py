"""Tensors in and out of safetensors files: no pickle, and a damaged file is named."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lesionlab import files
from lesionlab.errors import BadInput

MAX_HEADER = 16 * 2**20  # bytes; the header of a 10,000-tensor network has under 2 MB


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `BadInput` where it is none or is damaged."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        if len(head) < 8 or struct.unpack("<Q", head)[0] > MAX_HEADER:
            raise BadInput("not a safetensors file (invalid header)", where=str(path))
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
