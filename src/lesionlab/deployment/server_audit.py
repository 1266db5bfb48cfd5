"""The audit log: one line an answer, hash-chained, with an image's hash and never the image."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lesionlab.data.ledger import START, digest
from lesionlab.errors import BadInput


class Audit:
    """Appends to a JSON-lines file; each line holds the hash of the one before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._previous, self._n = START, 0
        for line in read_audit(path):
            self._previous, self._n = line["hash"], line["n"]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot be written ({error.strerror})", where=str(path)) from None

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; it is on the disk when this returns."""
        with self._lock:
            body = {
                "schema_version": 1,
                "n": self._n + 1,
                "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **entry,
                "previous": self._previous,
            }
            line = {**body, "hash": digest(body)}
            self._stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._previous, self._n = line["hash"], self._n + 1

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


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
