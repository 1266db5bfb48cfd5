"""What lesionlab uses of `msvcrt`, over Linux's locks of an open file's range of bytes.

As on Windows they belong to the open file, exclude other processes, and are freed when it is
closed or its process dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

LK_UNLCK, LK_LOCK, LK_NBLCK = 0, 1, 2
TRIES = 10  # of LK_LOCK, a second apart


def locking(descriptor: int, mode: int, nbytes: int) -> None:
    """Lock or free `nbytes` from the file's position on."""
    for attempt in range(TRIES if mode == LK_LOCK else 1):
        try:
            _set(descriptor, fcntl.F_UNLCK if mode == LK_UNLCK else fcntl.F_WRLCK, nbytes)
            return
        except BlockingIOError:
            if mode != LK_LOCK:
                raise PermissionError(errno.EACCES, "Permission denied") from None
            if attempt < TRIES - 1:
                time.sleep(1)
    raise OSError(errno.EDEADLK, "Resource deadlock avoided")


def _set(descriptor: int, kind: int, nbytes: int) -> None:
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    fcntl.fcntl(
        descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, start, nbytes, 0)
    )
