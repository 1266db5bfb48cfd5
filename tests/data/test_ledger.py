from __future__ import annotations

import hashlib
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


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_an_access_is_in_the_ledger_and_in_the_run(data: Path, run: Path) -> None:
    assert not ledger.has_seen_test(run, data)
    ledger.record_test_access(data, "another", {"auc": 0.5})  # a table: no run, no weights
    assert not ledger.has_seen_test(run, data)
    seen = ledger.record_test_access(data, "run", {"auc": 0.9}, [run])
    assert [e["run"] for e in seen] == ["another", "run"]
    assert seen[-1]["result"] == ledger.digest({"auc": 0.9})
    assert seen[-1]["model"] == hashlib.sha256(b"weights").hexdigest()
    assert "model" not in seen[0]
    ledger.record_test_access(data, "run again", {"auc": 0.8}, [run])
    own = json.loads((run / ledger.TEST_ACCESS).read_text())["accesses"]
    assert [a["hash"] for a in own] == [e["hash"] for e in ledger.openings(data)[1:]]
    assert "who" not in own[0]


@pytest.mark.parametrize("kept", [ledger.LEDGER, ledger.TEST_ACCESS])
def test_either_record_suffices(data: Path, run: Path, kept: str) -> None:
    ledger.record_test_access(data, "run", {}, [run])
    gone = run / ledger.TEST_ACCESS if kept == ledger.LEDGER else data / ledger.LEDGER
    gone.unlink()
    assert ledger.has_seen_test(run, data)
    assert ledger.has_seen_test(run, None) == (kept == ledger.TEST_ACCESS)


def test_other_weights_have_not_seen_it_and_0_1_0_left_its_metrics(data: Path, run: Path) -> None:
    ledger.record_test_access(data, "run", {}, [run])
    other = run.with_name("other")
    other.mkdir()
    (other / "best.safetensors").write_bytes(b"other weights")
    assert not ledger.has_seen_test(other, data)
    (other / ledger.TEST_METRICS).write_text("{}")
    assert ledger.has_seen_test(other, None)


def test_several_runs_are_one_access_that_each_of_them_notes(data: Path, run: Path) -> None:
    other = run.with_name("other")
    other.mkdir()
    seen = ledger.record_test_access(data, "recipe, 2 times", {}, [run, other], model="together")
    assert [e["model"] for e in seen] == ["together"]
    assert ledger.has_seen_test(run, None)
    assert ledger.has_seen_test(other, None)


def test_a_broken_chain_is_refused_before_the_run_notes_anything(data: Path, run: Path) -> None:
    (data / ledger.LEDGER).write_text("[]\n")
    with pytest.raises(BadInput, match="line 1"):
        ledger.record_test_access(data, "run", {}, [run])
    assert not (run / ledger.TEST_ACCESS).exists()
