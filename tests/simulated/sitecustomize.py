"""Lets lesionlab meet what it would meet on Windows; Python runs it at its start (PYTHONPATH).

Modules of other people decide by `sys.platform`, which stays what it is: they would break where
`fcntl` is gone. So whatever they need as well is taken from lesionlab's own calls alone, and from
all only what they can do without. It imitates refusals; it is no Windows.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import io
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

SWITCH = "LESIONLAB_TEST_SIMULATED"  # child processes inherit it
OURS = ("lesionlab", "getpass")  # `getpass` looks for a name in `pwd`
THROUGH = ("pathlib", "shutil", "tempfile", "contextlib", "weakref", "sitecustomize", "os")
HIDDEN = {"fcntl", "resource", "pwd", "grp", "termios", "pty"}
GONE = (
    *("sched_getaffinity", "fork", "forkpty", "posix_fallocate", "posix_fadvise", "O_DIRECTORY"),
    *("getuid", "geteuid", "getgid", "getegid", "getloadavg", "mkfifo", "nice"),
)
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
ODD = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')


def asked_by_us() -> bool:
    """Whether the call comes from lesionlab, if through the standard library's modules."""
    frame = sys._getframe(2)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if name not in THROUGH:
            return name in OURS
        frame = frame.f_back  # type: ignore[assignment]
    return False


def hide_modules() -> None:
    real = builtins.__import__

    def imported(name: str, globals: Any = None, *rest: Any, **more: Any) -> Any:
        if name not in HIDDEN and name != "msvcrt":
            return real(name, globals, *rest, **more)
        who = str((globals or {}).get("__name__", "")).split(".")[0]
        if who in OURS and name in HIDDEN:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        if who in OURS and name == "msvcrt":
            name = "simulated_msvcrt"
        return real(name, globals, *rest, **more)

    builtins.__import__ = imported


def hide_names() -> None:
    for name in GONE:
        if hasattr(os, name):
            delattr(os, name)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # it opens folders
    real = ctypes.CDLL.__init__

    def init(self: Any, name: Any, *rest: Any, **more: Any) -> None:
        if name is None and asked_by_us():
            raise TypeError("argument of type 'NoneType' is not iterable")
        real(self, name, *rest, **more)

    ctypes.CDLL.__init__ = init  # type: ignore[assignment,method-assign]


def refuse(path: Any, code: int = errno.EACCES) -> None:
    raise OSError(code, os.strerror(code), str(path))


def guard_opening() -> None:
    """No folder can be opened, no name of a device be written; text names its encoding."""
    low, high = os.open, io.open

    def os_open(path: Any, *rest: Any, **more: Any) -> int:
        if os.path.isdir(path):
            refuse(path)
        return low(path, *rest, **more)

    def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if isinstance(file, str | os.PathLike) and asked_by_us():
            if os.path.isdir(file):
                refuse(file)
            name = Path(file).name
            if "r" not in mode and (DEVICE.fullmatch(name) or ODD.search(name)):
                refuse(file, errno.EINVAL)
            encoding = more.get("encoding") or (rest[1] if len(rest) > 1 else None)
            if "b" not in mode and encoding in (None, "locale"):
                raise AssertionError(f"{file}: text without encoding=")
        return high(file, mode, *rest, **more)

    os.open, io.open, builtins.open = os_open, opened, opened  # type: ignore[assignment]


def held(path: Any) -> bool:
    """Whether this process has the file, or one in the folder, open or mapped."""
    real = os.path.realpath(path)
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    with io.FileIO("/proc/self/maps") as stream:
        lines = stream.readall().decode("utf-8", "surrogateescape").splitlines()
    found |= {line.split(None, 5)[-1].strip() for line in lines}
    return any(name == real or name.startswith(real + "/") for name in found)


def guard_moving() -> None:
    """What is open is neither moved nor removed; links take a privilege."""
    replace, rename, unlink, rmdir = os.replace, os.rename, os.unlink, os.rmdir

    def guarded(real: Any) -> Any:
        def act(path: Any, *rest: Any, **more: Any) -> Any:
            if asked_by_us():
                for one in (path, *(r for r in rest if isinstance(r, str | os.PathLike))):
                    if held(one):
                        refuse(one)
            return real(path, *rest, **more)

        return act

    os.replace, os.rename = guarded(replace), guarded(rename)
    os.unlink = os.remove = guarded(unlink)
    os.rmdir = guarded(rmdir)
    os.symlink = lambda source, link, **more: refuse(link, errno.EPERM)


def simulate() -> None:
    hide_modules()
    hide_names()
    guard_opening()
    guard_moving()


if os.environ.get(SWITCH):
    simulate()
