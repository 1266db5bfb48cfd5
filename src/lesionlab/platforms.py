"""All that differs between Linux, macOS and Windows; no other file names what only one of them has.

Each function does the same everywhere or says what it does instead. The lint (pyproject.toml) and
`tests/test_portable.py` keep the names of one system out of all other files.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import math
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from lesionlab.errors import BadInput

# `import` may fail for either; on every system that we know one of them is there.
_fcntl: Any = None
_msvcrt: Any = None
try:
    import fcntl

    _fcntl = fcntl
except ImportError:  # Windows
    with suppress(ImportError):
        import msvcrt

        _msvcrt = msvcrt

WINDOWS = _fcntl is None
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
# A signal that a system does not have is not waited for. On Windows SIGTERM is never delivered;
# Ctrl-Break and the end of a console are SIGBREAK.
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)

LOCKED_BYTE = 2**31 - 2  # far behind the content: on Windows nobody else could read a locked byte
LOCK_PAUSE = 0.05  # seconds between two tries where the system cannot wait for us
PATIENCE = 2.0  # seconds that a virus scanner or an indexer may hold a file on Windows
LONG_PATH = 248  # characters; Windows refuses folders from here and files from 260 by default
NAME_LENGTH = 200  # bytes of a name; most file systems take 255

DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


# ---- locks -----------------------------------------------------------------------------------


def try_lock(stream: IO[Any]) -> bool:
    """Lock an open file for this process; False where another one holds it.

    The system frees the lock when the file is closed and when the process dies, however it dies.
    Raises `BadInput` where the disk or the system knows no locks.
    """
    try:
        if _fcntl is not None:
            _fcntl.flock(stream.fileno(), _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        elif _msvcrt is not None:
            _lock_byte(stream.fileno())
        else:
            raise BadInput("this system has neither fcntl nor msvcrt, so files cannot be locked")
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise BadInput(
            f"cannot be locked ({error.strerror})",
            where=str(stream.name),
            remedy="use a folder on a local disk",
        ) from None
    return True


def wait_for_lock(stream: IO[Any]) -> None:
    """Like `try_lock`, but wait as long as another process holds it."""
    while not try_lock(stream):
        time.sleep(LOCK_PAUSE)


def _lock_byte(descriptor: int) -> None:
    """Lock one byte behind the content, and leave the file's position as it was."""
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


# ---- processors and memory -------------------------------------------------------------------


def usable_cpus() -> int:
    """Processors that this process may use, at least 1.

    The affinity where the system has one, else what Python counts; never more than a container's
    quota, rounded up.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    quota = _cpu_quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _cpu_quota() -> float | None:
    """Processors' worth of time that a Linux container is given; None without a limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):  # "max" where there is no limit
        given, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return int(given) / int(period)
    return None


def available_memory() -> int | None:
    """Bytes that a process can still take on Linux, by the system and by its group.

    None elsewhere: then nothing is refused before it is tried.
    """
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError, KeyError):  # "max" where there is no limit
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        taken = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        pages = {name: int(count) for name, count in (line.split() for line in lines)}
        given_back = pages["active_file"] + pages["inactive_file"]  # the kernel drops these first
        found.append(limit - taken + given_back)
    return min(found, default=None)


def keep_memory() -> bool:
    """Ask the C library to keep what is freed for the next request; whether it will.

    For the whole process and for good. Only glibc can; elsewhere nothing happens, and a training
    step takes a little longer (docs/decisions/0084).
    """
    trim_threshold, mmap_threshold, a_gibibyte = -1, -3, 2**30
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS and musl; Windows
        return False
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_threshold, a_gibibyte))


# ---- durable writing -------------------------------------------------------------------------


def sync_file(descriptor: int) -> None:
    """Return when the content is on the disk; on macOS that takes another call than fsync."""
    full = getattr(_fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):  # a disk of another machine may not know it
            _fcntl.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power loss.

    Windows opens no folder. There NTFS notes renames in its journal, and nothing more can be done.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(aside: Path, path: Path) -> None:
    """Move a finished file or folder to its place, over an older file.

    Windows refuses while anybody has either of them open, if only a virus scanner that looks at
    the new file: so we try for `PATIENCE` seconds.
    """
    _patiently(lambda: aside.replace(path))


def remove(path: Path) -> None:
    """Remove a file, which may be absent; patient like `replace`."""
    _patiently(lambda: path.unlink(missing_ok=True))


def _patiently(act: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            act()
            return
        except PermissionError:
            if not WINDOWS or time.monotonic() > end:
                raise
            time.sleep(LOCK_PAUSE)


def reserve_space(path: Path) -> None:
    """Give every byte of a file its place on the disk; `OSError` where there is no room.

    Where the system cannot be asked, each block is written over with what it holds.
    """
    with path.open("rb+") as stream:
        size = path.stat().st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
            return
        for start in range(0, size, 2**20):
            stream.seek(start)
            block = stream.read(2**20)
            stream.seek(start)
            stream.write(block)


def link_folder(folder: Path, link: Path) -> None:
    """Let `link` show what `folder` holds.

    A symbolic link; on Windows, where that takes a privilege, a junction; a copy where the disk
    knows neither.
    """
    target = folder.resolve()
    with suppress(OSError, NotImplementedError):
        link.symlink_to(target, target_is_directory=True)
        return
    with suppress(OSError, ImportError, AttributeError):
        import _winapi

        _winapi.CreateJunction(str(target), str(link))  # type: ignore[attr-defined]
        return
    shutil.copytree(target, link)


# ---- names, paths and text -------------------------------------------------------------------


def is_device(name: str) -> bool:
    """Whether Windows takes a file of this name for a device, whatever its suffix.

    >>> is_device("con.png"), is_device("icon.png")
    (True, False)
    """
    return DEVICE.fullmatch(name.split(".")[0].strip()) is not None


def safe_name(text: str) -> str:
    """A file name that every system takes: `text` itself where it is one, else marked by a hash.

    Not allowed are `<>:"/\\|?*`, control characters, a dot or space at the end, names of devices
    and what is longer than 200 bytes. Two texts get one name only where their hashes meet.

    >>> safe_name("ISIC_0024306.jpg")
    'ISIC_0024306.jpg'
    >>> safe_name("a:b.png")
    'a_b-1cfd8b71.png'
    """
    plain = FORBIDDEN.sub("_", text).rstrip(". ")
    if plain == text and text and not is_device(text) and len(_bytes(text)) <= NAME_LENGTH:
        return text
    return _marked(plain, text)


def case_twins(texts: Iterable[str]) -> frozenset[str]:
    """The texts that only case tells from an earlier one: macOS and Windows have one file for both.

    >>> sorted(case_twins(["a", "b", "A", "b"]))
    ['A']
    """
    first: dict[str, str] = {}
    return frozenset(t for t in texts if first.setdefault(t.casefold(), t) != t)


def _marked(plain: str, text: str) -> str:
    stem, suffix = os.path.splitext(plain)  # noqa: PTH122  # a text, and no path
    stem, suffix = (plain, "") if len(suffix) > 16 else (stem, suffix)
    room = NAME_LENGTH - len(_bytes(suffix)) - 10
    short = _bytes(stem)[:room].decode("utf-8", "ignore").strip(". ")
    stem = f"_{short}" if is_device(short) else short or "name"
    return f"{stem}-{hashlib.sha256(_bytes(text)).hexdigest()[:8]}{suffix}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def is_long(path: Path) -> bool:
    """Whether Windows may have refused a path for its length alone."""
    return WINDOWS and len(str(path.absolute())) >= LONG_PATH


def refuse_long(path: Path, error: OSError) -> None:
    """Raise `BadInput` where `error` comes from a path that is too long for Windows."""
    if is_long(path):
        raise BadInput(
            f"the path has {len(str(path.absolute()))} characters ({error.strerror})",
            where=str(path),
            remedy="choose a shorter folder, or allow long paths in Windows",
        ) from None


def plain_streams() -> None:
    """What is printed can be, whatever the code page: UTF-8 for programs, escapes for terminals."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        if reconfigure is None or encoding == "utf8":
            continue
        if stream.isatty():
            reconfigure(errors="backslashreplace")
        else:
            reconfigure(encoding="utf-8", errors="backslashreplace")
