"""Reading folders, zip and tar files alike, when the archive may be hostile.

Nothing is ever extracted under a name of the archive's choosing: a source asks a `Tree` for its
names and bytes, and import writes files under names of its own.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from lesionlab.data.file_kinds import HEAD
from lesionlab.data.left_out import FINDER_ICON, why_hidden
from lesionlab.data.tree import Entry, Tree
from lesionlab.errors import BadInput
from lesionlab.platforms import is_device

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
CHUNK = 1 << 20


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may ask of us before it is refused as a bomb."""

    entries: int = 1_000_000  # ISIC 2024 has 401,059
    member_bytes: int = 4 << 30  # the HDF5 file of ISIC 2024 has 1.3 GB
    total_bytes: int = 500 << 30
    ratio: int = 250  # uncompressed / compressed, of members above `ratio_from`
    ratio_from: int = 32 << 20
    depth: int = 2  # a zip inside the zip, and one more


LIMITS = ArchiveLimits()


@contextlib.contextmanager
def open_tree(
    source: Path, limits: ArchiveLimits = LIMITS, scratch: Path | None = None
) -> Iterator[Tree]:
    """Open a folder, an archive or a single file, with the archives inside it.

    `a/b.zip` inside is seen as the folder `a/b/`. Raises `BadInput` for `../`, absolute paths,
    links, encryption, device names, different files whose names differ only by case, forged
    sizes, bombs and too many entries.
    """
    source = Path(source)
    if not source.exists():
        raise BadInput("no such file or folder", where=str(source), remedy="check the path")
    with contextlib.ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        hidden: list[tuple[str, str]] = []
        opening = _Opening(limits, room, stack, hidden)
        entries = _open_any(source, str(source), opening, limits.depth)
        tree = dict(sorted(entries.items()))
        yield Tree(str(source), tree, _empty_folders(source), tuple(sorted(hidden)))


@dataclass(frozen=True)
class _Opening:
    """What opening an archive needs at every depth. `hidden` is filled as files are passed over."""

    limits: ArchiveLimits
    room: Path
    stack: contextlib.ExitStack
    hidden: list[tuple[str, str]]
    below: str = ""  # where the archive lies in the tree: "a/b/"

    def passes_over(self, name: str) -> bool:
        """Whether a file is one that nobody asks for; then it is noted."""
        why = why_hidden(name)
        if why:
            self.hidden.append((self.below + name, why))
        return bool(why)

    def name_of(self, member: str, label: str, is_folder: bool) -> str:
        """The safe name of a member, "" of a file that is passed over."""
        icon = member.endswith(FINDER_ICON)  # the one control character that macOS writes
        name = checked_name(member[:-1] if icon else member, label)
        return "" if not is_folder and self.passes_over(name + "\r" * icon) else name


def _empty_folders(source: Path) -> tuple[str, ...]:
    if not source.is_dir():
        return ()
    bare = (here for here, folders, names in os.walk(source) if not folders and not names)
    return tuple(sorted(Path(here).relative_to(source).as_posix() for here in bare))


def _open_any(source: Path, label: str, opening: _Opening, depth: int) -> dict[str, Entry]:
    if source.is_dir():
        found = _folder(source, opening)
    elif _archive_suffix(label) == ".zip" or (not source.suffix and zipfile.is_zipfile(source)):
        found = _zip(source, label, opening)
    elif _archive_suffix(label):
        found = _tar(source, label, opening)
    else:
        found = {source.name: _file_entry(source)}
        return found
    return _with_nested(_merged(found, label), label, opening, depth)


def _with_nested(
    entries: dict[str, Entry], label: str, opening: _Opening, depth: int
) -> dict[str, Entry]:
    pairs = [(n, e) for n, e in entries.items() if not _archive_suffix(n)]
    for name in [n for n in entries if _archive_suffix(n)]:
        inside = f"{label}/{name}"
        if depth == 0:
            raise BadInput("archives are nested too deeply", where=inside)
        path = entries[name].path
        if path is None:
            handle, text = tempfile.mkstemp(dir=opening.room, suffix=_archive_suffix(name))
            with os.fdopen(handle, "wb") as out:
                out.write(entries[name].read())
            path = Path(text)
        prefix = name[: -len(_archive_suffix(name))]
        below = replace(opening, below=f"{opening.below}{prefix}/")
        inner = _open_any(path, inside, below, depth - 1)
        pairs += [(f"{prefix}/{n}", e) for n, e in inner.items()]
    return _merged(pairs, label)


def _merged(pairs: Any, label: str) -> dict[str, Entry]:
    """Refuse names that a case-insensitive disk would confuse, unless the files are the same.

    The common Kaggle archive of HAM10000 holds each image twice, under `HAM10000_...` and
    `ham10000_...`: equal size and checksum, so the first is kept.
    """
    kept: dict[str, Entry] = {}
    seen: dict[str, str] = {}
    for name, entry in pairs.items() if isinstance(pairs, dict) else pairs:
        other = seen.setdefault(name.casefold(), name)
        if other == name and name not in kept:
            kept[name] = entry
        elif not _same(kept[other], entry):
            raise BadInput(
                f"'{name}' and '{other}' collide on a disk that ignores case",
                where=label,
                remedy="rename one of them",
            )
    return kept


def _same(a: Entry, b: Entry) -> bool:
    if a.size != b.size:
        return False
    if a.checksum is not None and b.checksum is not None:
        return a.checksum == b.checksum
    return a.read() == b.read()


def checked_name(name: str, label: str) -> str:
    """A member's name as safe `/`-separated parts; `BadInput` where it could leave its folder.

    >>> checked_name("a/./b.jpg", "x.zip")
    'a/b.jpg'
    """
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"^[A-Za-z]:", plain):
        raise BadInput(f"absolute path '{name}'", where=label, remedy="do not trust this archive")
    parts = [p for p in plain.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise BadInput(
            f"'{name}' points outside the archive", where=label, remedy="do not trust this archive"
        )
    for part in parts:
        if is_device(part):
            raise BadInput(f"device name '{name}'", where=label, remedy="rename it")
        if not part.isprintable():
            raise BadInput(f"control characters in the name '{name}'", where=label)
    if not parts:
        raise BadInput("an entry has no name", where=label)
    return "/".join(parts)


def _archive_suffix(name: str) -> str:
    lower = name.lower()
    return next((s for s in sorted(ARCHIVES, key=len, reverse=True) if lower.endswith(s)), "")


def _file_entry(path: Path) -> Entry:
    size, read = path.stat().st_size, partial(_read_file, path)
    return Entry(size, read, partial(read_head, path), path=path)


def read_head(path: Path) -> bytes:
    """The first `file_kinds.HEAD` bytes of a file."""
    return _read_file(path, HEAD)


def _read_file(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(most)
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None


def files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """`(name, path)` of every file below a folder, hidden ones too; links are followed once."""
    visited: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        paths = (Path(here, name) for name in sorted(names))
        yield from ((path.relative_to(root).as_posix(), path) for path in paths if path.is_file())


def _folder(root: Path, opening: _Opening) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for name, path in files_below(root):
        if not opening.passes_over(name):
            found[name] = _file_entry(path)
        if len(found) > opening.limits.entries:
            raise BadInput(f"more than {opening.limits.entries} files", where=str(root))
    return found


def _zip(path: Path, label: str, opening: _Opening) -> dict[str, Entry]:
    limits = opening.limits
    try:
        archive = opening.stack.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadInput(
            f"not a readable zip file ({error})", where=label, remedy="download it again"
        ) from None
    members = archive.infolist()
    _check_totals(len(members), sum(m.file_size for m in members), label, limits)
    if sum(m.compress_size for m in members) > path.stat().st_size:
        raise BadInput(
            "its members overlap, as in a decompression bomb",
            where=label,
            remedy="do not trust this archive",
        )
    found: list[tuple[str, Entry]] = []
    for member in members:
        name = opening.name_of(_zip_name(member), label, member.is_dir())
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadInput(f"'{name}' is a link", where=label, remedy="pack the file itself")
        if member.is_dir() or not name:
            continue
        if member.flag_bits & 1:
            raise BadInput(f"'{name}' is encrypted", where=label, remedy="unpack it first")
        _check_member(name, member.file_size, member.compress_size, label, limits)
        read = partial(_read_zip, archive, member, f"{label}/{name}")
        head = partial(_read_zip, archive, member, f"{label}/{name}", HEAD)
        found.append((name, Entry(member.file_size, read, head, member.CRC)))
    return _merged(found, label)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name; that of a Mac is UTF-8 though it does not say so."""
    name = member.orig_filename.split("\0")[0]
    if member.flag_bits & 0x800 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _check_totals(entries: int, size: int, label: str, limits: ArchiveLimits) -> None:
    if entries > limits.entries:
        raise BadInput(f"more than {limits.entries} entries", where=label)
    if size > limits.total_bytes:
        raise BadInput(f"{size} bytes when unpacked: possibly a decompression bomb", where=label)


def _check_member(name: str, size: int, packed: int, label: str, limits: ArchiveLimits) -> None:
    bomb = size > limits.ratio_from and size > limits.ratio * max(packed, 1)
    if size > limits.member_bytes or bomb:
        raise BadInput(
            f"'{name}' unpacks from {packed} to {size} bytes: possibly a decompression bomb",
            where=label,
            remedy="do not trust this archive",
        )


def _read_zip(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str, most: int | None = None
) -> bytes:
    """The member's bytes; real bytes are counted, so a forged size cannot fill the memory.

    With `most`, only its first bytes: their checksum is not known.
    """
    try:
        with archive.open(member) as stream:
            data = stream.read(member.file_size + 1 if most is None else most)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise BadInput(f"damaged in the archive ({error})", where=where) from None
    except NotImplementedError as error:
        raise BadInput(str(error), where=where, remedy="pack it with deflate") from None
    if most is None and len(data) != member.file_size:
        raise BadInput(f"{len(data)} bytes, but the archive states {member.file_size}", where=where)
    return data


def _tar(path: Path, label: str, opening: _Opening) -> dict[str, Entry]:
    limits = opening.limits
    unpacked = _unpacked_tar(path, label, limits, opening.room)
    plain = opening.stack.enter_context(unpacked.open("rb"))
    lock, found, total = threading.Lock(), [], 0
    try:
        with tarfile.open(fileobj=plain, mode="r:") as archive:
            for n, member in enumerate(archive, 1):
                total += member.size
                _check_totals(n, total, label, limits)
                name = opening.name_of(member.name, label, member.isdir())
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise BadInput(
                        f"'{name}' is a link or device", where=label, remedy="pack the file itself"
                    )
                if member.isdir() or not name:
                    continue
                _check_member(name, member.size, member.size, label, limits)
                where = f"{label}/{name}"
                read, head = (
                    partial(_read_range, plain, lock, member.offset_data, size, where)
                    for size in (member.size, min(member.size, HEAD))
                )
                found.append((name, Entry(member.size, read, head)))
    except tarfile.TarError as error:
        raise BadInput(
            f"not a readable tar file ({error})", where=label, remedy="download it again"
        ) from None
    return _merged(found, label)


def _unpacked_tar(path: Path, label: str, limits: ArchiveLimits, room: Path) -> Path:
    """A plain tar file: `path` itself, or its decompressed copy in `room`, real bytes counted."""
    openers: dict[str, Callable[..., IO[bytes]]] = {
        ".tar.gz": gzip.open,  # type: ignore[dict-item]
        ".tgz": gzip.open,  # type: ignore[dict-item]
        ".tar.bz2": bz2.open,
        ".tar.xz": lzma.open,
    }
    opener = openers.get(_archive_suffix(label))
    if opener is None:
        return path
    allowed = min(limits.total_bytes, max(limits.ratio_from, limits.ratio * path.stat().st_size))
    handle, text = tempfile.mkstemp(dir=room, suffix=".tar")
    total = 0
    try:
        with opener(path, "rb") as stream, os.fdopen(handle, "wb") as out:
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if total > allowed:
                    raise BadInput(
                        f"unpacks to more than {allowed} bytes: possibly a decompression bomb",
                        where=label,
                    )
                out.write(chunk)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise BadInput(
            f"not a readable archive ({error})", where=label, remedy="download it again"
        ) from None
    return Path(text)


def _read_range(
    stream: IO[bytes], lock: threading.Lock, offset: int, size: int, where: str
) -> bytes:
    with lock:
        stream.seek(offset)
        data = stream.read(size)
    if len(data) != size:
        raise BadInput("truncated in the archive", where=where, remedy="download it again")
    return data
