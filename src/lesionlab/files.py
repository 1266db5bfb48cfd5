"""Writing that a crash cannot leave half done: aside first, synced, then moved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lesionlab import platforms
from lesionlab.errors import BadInput
from lesionlab.platforms import sync_folder


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old file or the new one."""
    with stage_file(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Like `write_bytes`, UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Like `write_text`: indented JSON that refuses NaN (write null for unknown)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; `BadInput` where it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not valid JSON ({error})", where=str(path)) from None


def read_versioned(path: Path, newest: int) -> Any:
    """The JSON value in `path`; `BadInput` where its `schema_version` is newer than `newest`."""
    value = read_json(path)
    refuse_newer(value, newest, str(path))
    return value


def refuse_newer(value: Any, newest: int, where: str) -> None:
    """`BadInput` where a stored object has a newer `schema_version`, or one that is no number."""
    version = value.get("schema_version", 0) if isinstance(value, dict) else 0
    if not isinstance(version, int):
        raise BadInput(f"schema_version {version!r} is no whole number", where=where)
    if version > newest:
        raise BadInput(
            f"schema_version {version} is newer than {newest}",
            where=where,
            remedy="upgrade lesionlab",
        )


@contextlib.contextmanager
def stage_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; on success it is synced and moved there, else removed.

    A device or a pipe (`/dev/null`, `/dev/stdout`) is written into: a move would take its place.
    Raises `BadInput` where `path` is a folder.
    """
    if path.is_dir():
        raise BadInput("is a folder", where=str(path), remedy="name a file in it")
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            path.write_bytes((Path(folder) / path.name).read_bytes())
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        with aside.open("rb+") as stream:
            platforms.sync_file(stream.fileno())
        platforms.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        platforms.refuse_long(aside, error)
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def stage_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it becomes `path`, else it is removed.

    Raises `BadInput` where `path` exists already (unless it is an empty folder) or its
    parent cannot be written.
    """
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        platforms.refuse_long(path, error)
        raise BadInput(
            f"cannot be written ({error.strerror})", where=str(path), remedy="choose another folder"
        ) from None
    try:
        aside.chmod(0o755)
        yield aside
        _take_place(aside, path)
        sync_folder(path.parent)
    finally:
        if aside.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _take_place(aside: Path, path: Path) -> None:
    """Move the finished folder to its place; another process may have been quicker."""
    try:
        if path.exists():
            path.rmdir()
        platforms.replace(aside, path)
    except OSError as error:
        refuse_existing(path)
        raise BadInput(f"cannot be written ({error.strerror})", where=str(path)) from None


def refuse_existing(path: Path) -> None:
    """Raise `BadInput` where an output folder exists and holds something."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput(
            "already exists and is not empty",
            where=str(path),
            remedy="choose another output, or remove it first",
        )


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
