"""The bundles that are served, and their replacement while serving.

A bundle that changes on the disk is read beside the old one, checked, warmed and self-tested;
only then do new requests get it. One that fails leaves the old one in its place.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionlab.deployment.bundle import INFO, SIGNATURE, read_bundle
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.signing import check_signature, parse_signature
from lesionlab.errors import BadInput, one_line

log = logging.getLogger("lesionlab.serve")
POLL_SECONDS = 2.0
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class ServedModel:
    """One served bundle. The predictor's session runs in the calling thread."""

    id: str
    path: Path
    predictor: Predictor
    stamp: Stamp


def load_model(path: Path, key: Path | None = None) -> ServedModel:
    """Read, check and self-test a bundle; `key` is the public key that must have signed it."""
    stamp = stamp_of(path)
    bundle = read_bundle(path)
    if key is not None:
        if bundle.signature is None:
            raise BadInput("is not signed", where=str(path), remedy="leave out --key to serve it")
        where = f"{path}/{SIGNATURE}"
        check_signature(bundle.identity, parse_signature(bundle.signature, where), key, where)
    predictor = Predictor(bundle, threads=1)
    predictor.self_test()
    return ServedModel(slug(bundle.info.name), path, predictor, stamp)


def slug(name: str) -> str:
    """A name that needs no escaping in a path.

    >>> slug("HAM / run 3")
    'HAM-run-3'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "model"


def stamp_of(path: Path) -> Stamp:
    """Names, times and sizes of what makes up a bundle: changes when it is replaced."""
    try:
        if path.is_dir():
            entries = sorted((p.name, p.stat()) for p in path.iterdir())
        else:
            entries = [(path.name, path.stat())]
    except OSError:
        return ()
    return tuple((name, s.st_mtime_ns, s.st_size) for name, s in entries)


class Models:
    """The served models by id; `watch` replaces those that change on the disk."""

    def __init__(self, paths: Sequence[Path], key: Path | None = None) -> None:
        self._key = key
        self._models: dict[str, ServedModel] = {}
        self._failed: dict[str, Stamp] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for path in paths:
            model = load_model(path, key)
            if model.id in self._models:
                raise BadInput(f"two bundles are called '{model.id}'", where=str(path))
            self._models[model.id] = model

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(tuple(self._models.values()))

    def find(self, name: str | None) -> ServedModel | None:
        """The model of that id; without a name, the first."""
        if name is None:
            return next(iter(self))
        return self._models.get(name)

    def watch(self, on_swap: Callable[[str, bool], None]) -> None:
        """Look for replaced bundles in a thread; `on_swap(id, succeeded)` is told."""

        def look() -> None:
            while not self._stop.wait(POLL_SECONDS):
                self.refresh(on_swap)

        self._thread = threading.Thread(target=look, name="watch", daemon=True)
        self._thread.start()

    def refresh(self, on_swap: Callable[[str, bool], None]) -> None:
        """Replace every model whose bundle has changed and passes its checks."""
        for model in self:
            stamp = stamp_of(model.path)
            ready = model.path.is_file() or any(name == INFO for name, _, _ in stamp)
            if not ready or stamp in (model.stamp, self._failed.get(model.id)):
                continue
            try:
                fresh = load_model(model.path, self._key)
            except BadInput as error:
                self._failed[model.id] = stamp
                log.warning("not replaced: %s", error)
                on_swap(model.id, False)
                continue
            except Exception as error:  # noqa: BLE001 (whatever it is, the old one goes on)
                self._failed[model.id] = stamp
                log.warning("not replaced: %s", one_line(repr(error)))
                on_swap(model.id, False)
                continue
            self._failed.pop(model.id, None)
            # Under the old id: a client's address goes on working whatever the new name.
            self._models[model.id] = ServedModel(model.id, fresh.path, fresh.predictor, fresh.stamp)
            log.warning("replaced: %s", model.id)
            on_swap(model.id, True)

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(POLL_SECONDS + 1)
