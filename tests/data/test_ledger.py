from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesionlab.data import ledger
from lesionlab.errors import BadInput

OPENING = {"run": "runs/a", "split": "test", "result": ledger.digest({"auc": 0.9})}


def test_entries_are_chained_and_filled_in(tmp_path: Path) -> None:
    assert ledger.read_and_verify(tmp_path) == []
    first = ledger.append(tmp_path, OPENING)
    second = ledger.append(tmp_path, {"event": "split", "policy": {"seed": 1}})
    assert ledger.read_and_verify(tmp_path) == [first, second]
    assert first["previous"] == ledger.START
    assert second["previous"] == first["hash"]
    assert first["who"]
    assert first["when"].endswith("+00:00")
    assert ledger.openings(tmp_path) == [first]
    assert ledger.openings(tmp_path, "valid") == []


@pytest.mark.parametrize("fault", ["alter", "remove", "insert", "garbage", "rehash"])
def test_tampering_is_seen(tmp_path: Path, fault: str) -> None:
    for n in range(3):
        ledger.append(tmp_path, {**OPENING, "run": f"runs/{n}"})
    path = tmp_path / ledger.LEDGER
    lines = path.read_text().splitlines()
    if fault == "alter":
        lines[1] = lines[1].replace("runs/1", "runs/9")
    elif fault == "remove":
        del lines[0]
    elif fault == "insert":
        lines.insert(1, lines[0])
    elif fault == "garbage":
        lines[2] = "[]"
    else:  # altered, with its own hash made to fit: the next line gives it away
        entry = json.loads(lines[1]) | {"run": "runs/9"}
        entry["hash"] = ledger.digest({k: v for k, v in entry.items() if k != "hash"})
        lines[1] = json.dumps(entry)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=r"ledger.jsonl: line \d"):
        ledger.read_and_verify(tmp_path)
    with pytest.raises(BadInput):
        ledger.append(tmp_path, OPENING)


def test_unknown_events_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no ledger event"):
        ledger.append(tmp_path, {"event": "peeked"})
    with pytest.raises(BadInput, match="no such dataset folder"):
        ledger.append(tmp_path / "absent", OPENING)
