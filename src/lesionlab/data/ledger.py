"""`ledger.jsonl`: who opened the sealed test set, when, with which run, and what came out.

Each line holds the hash of the line before it, so that a line cannot be altered, removed from
the middle or slipped in without breaking the chain. (Cutting lines off the end leaves a valid
chain: reports therefore quote the hash of the last line that they saw.)
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lesionlab import files, platforms
from lesionlab.errors import BadInput
from lesionlab.run_folder import model_sha256

LEDGER = "ledger.jsonl"
SCHEMA_VERSION = 1
START = "0" * 64  # stands before the first line
EVENTS = ("opened", "split", "subset")
TEST_ACCESS = "test_access.json"  # in a run folder: its own record
# What `evaluate --split test` leaves in a run folder: the only record that 0.1.0 kept there.
TEST_METRICS = "metrics-test.json"


def append(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry and return it as written.

    `entry` holds `event` ("opened" for an evaluation on test, "split" for a new deal, "subset" of
    a parent; default "opened") and, for an opening, `run`, `split` and `result` (a digest);
    `who` and `when` are filled in. Raises `BadInput` where the chain is broken already.
    """
    event = entry.get("event", "opened")
    if event not in EVENTS:
        raise BadInput(f"no ledger event '{event}'", remedy="known: " + ", ".join(EVENTS))
    with _locked(folder):
        lines = read_and_verify(folder)
        body = {
            "schema_version": SCHEMA_VERSION,
            "n": len(lines) + 1,
            "event": event,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _who(),
            **{k: v for k, v in entry.items() if k not in ("event", "hash", "previous")},
            "previous": lines[-1]["hash"] if lines else START,
        }
        line = {**body, "hash": digest(body)}
        texts = [_canonical(known) for known in (*lines, line)]
        files.write_text(folder / LEDGER, "\n".join(texts) + "\n")
    return line


def record_test_access(
    dataset: Path, name: str, result: Any, runs: Sequence[Path] = (), model: str | None = None
) -> list[dict[str, Any]]:
    """Record that the sealed test split was seen: in the ledger, and in each run's own folder.

    To be called before any number or picture of it is written or shown. `name` says whose
    predictions they are, `result` is what will be shown (JSON; its digest is kept), `runs` are the
    run folders that predicted. `model` is the SHA-256 of the weights; default: those of a single
    run. Returns all accesses to this test split, this one last.

    Raises `BadInput` where the ledger's chain is broken.
    """
    entry = {"event": "opened", "run": name, "split": "test", "result": digest(result)}
    if model is None and len(runs) == 1:
        model = model_sha256(runs[0])
    line = append(dataset, entry | ({} if model is None else {"model": model}))
    for run in runs:
        _note_in_run(run, line)
    return openings(dataset)


def has_seen_test(run: Path, dataset: Path | None) -> bool:
    """Whether a test access of this run's weights is recorded: in its folder, or in a ledger.

    `dataset` is its data set's folder, None where that is not there. Either record suffices:
    a removed file, or a moved data set, makes no unseen test split.

    Raises `BadInput` where the ledger's chain is broken.
    """
    if (run / TEST_ACCESS).is_file() or (run / TEST_METRICS).is_file():
        return True
    if dataset is None or not (dataset / LEDGER).is_file():
        return False
    model = model_sha256(run)
    return model is not None and any(e.get("model") == model for e in openings(dataset))


def _note_in_run(run: Path, line: Mapping[str, Any]) -> None:
    """Add a ledger's line to the run's own record, without the user's name."""
    path = run / TEST_ACCESS
    before = files.read_json(path)["accesses"] if path.is_file() else []
    note = {key: line[key] for key in ("when", "run", "result", "hash")}
    files.write_json(path, {"schema_version": SCHEMA_VERSION, "accesses": [*before, note]})


def read_and_verify(folder: Path) -> list[dict[str, Any]]:
    """All entries in order, [] where there is no ledger; `BadInput` where the chain is broken."""
    path = folder / LEDGER
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = []
    previous = START
    for n, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = _parsed(text, path, n)
        body = {k: v for k, v in entry.items() if k != "hash"}
        if entry.get("previous") != previous or entry.get("hash") != digest(body):
            raise BadInput(
                f"line {n} breaks the hash chain: the ledger was altered",
                where=str(path),
                remedy="restore it from a copy; results of this test set cannot be trusted",
            )
        previous = entry["hash"]
        entries.append(entry)
    return entries


def openings(folder: Path, split: str = "test") -> list[dict[str, Any]]:
    """The entries that record an opening of the part `split`."""
    entries = read_and_verify(folder)
    return [e for e in entries if e.get("event") == "opened" and e.get("split") == split]


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form: what `result` should hold of a metrics file.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _parsed(text: str, path: Path, n: int) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise BadInput(f"line {n} is not a JSON object", where=str(path))
    return entry


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # Windows has no `pwd` to look in
        return "unknown"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; the system frees the lock of a killed process."""
    if not folder.is_dir():
        raise BadInput("no such dataset folder", where=str(folder))
    with (folder / ".ledger.lock").open("w", encoding="utf-8") as stream:
        platforms.wait_for_lock(stream)
        yield
