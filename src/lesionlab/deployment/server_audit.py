"""The audit log: one line an answer, hash-chained, with an image's hash and never the image."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lesionlab import platforms
from lesionlab.data.ledger import START, digest
from lesionlab.errors import BadInput


class AuditLog:
    """Appends to a JSON-lines file; each line holds the hash of the one before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._previous, self._n = START, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab", buffering=0)
            if not platforms.try_lock(self._stream):
                raise BadInput(
                    "another server is writing to it",
                    where=str(path),
                    remedy="choose another --audit",
                )
            _cut_torn_line(path)
        except OSError as error:
            raise BadInput(f"cannot be written ({error.strerror})", where=str(path)) from None
        for line in read_audit(path):
            self._previous, self._n = line["hash"], line["n"]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; it is on the disk when this returns.

        Raises `OSError` where the disk takes no more: the chain stays whole, and the caller must
        not answer.
        """
        with self._lock:
            body = {
                "schema_version": 1,
                "n": self._n + 1,
                "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **entry,
                "previous": self._previous,
            }
            line = {**body, "hash": digest(body)}
            text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
            self._append(text.encode("utf-8"))
            self._previous, self._n = line["hash"], self._n + 1

    def _append(self, data: bytes) -> None:
        before = os.fstat(self._stream.fileno()).st_size
        try:
            if self._stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            platforms.sync_file(self._stream.fileno())
        except OSError:
            os.ftruncate(self._stream.fileno(), before)
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _cut_torn_line(path: Path) -> None:
    """A line without its end was being written in a power cut: nobody got that answer."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def read_audit(path: Path) -> Iterator[dict[str, Any]]:
    """The entries in order; `BadInput` where the chain is broken."""
    if not path.exists():
        return
    previous = START
    with path.open(encoding="utf-8") as stream:
        for n, text in enumerate(stream, 1):
            try:
                line = json.loads(text)
                body = {k: v for k, v in line.items() if k != "hash"}
                fits = line["previous"] == previous and line["hash"] == digest(body)
            except (ValueError, KeyError, TypeError, AttributeError):
                fits = False
            if not fits:
                raise BadInput(
                    f"line {n} does not fit the chain",
                    where=str(path),
                    remedy="keep it as evidence and start another audit log",
                )
            previous = line["hash"]
            yield line
