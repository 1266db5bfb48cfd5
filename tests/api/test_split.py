from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.split import split
from lesionlab.cli.main import run
from lesionlab.data.ledger import read_and_verify
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    import_dataset("synthetic", to=tmp_path / "d", lesions=40, seed=0)
    return tmp_path / "d"


def test_split_writes_parts_policy_and_ledger(lesions: Path) -> None:
    told = split(lesions, test=0.25, valid=0.25, seed=1)
    dataset = read_dataset(lesions)
    assert told["groups_crossing"] == 0
    assert not told["leaky"]
    assert told["test"]["images"] == len(dataset.part("test"))
    parts = dataset.table.groupby("patient_id")["split"].nunique()
    assert parts.max() == 1
    assert dataset.info.split_policy is not None
    assert dataset.info.split_policy["seed"] == 1
    assert [e["event"] for e in read_and_verify(lesions)] == ["split"]
    assert "bayes_probability" in dataset.table
    assert "mask" in dataset.table


def test_a_leak_is_marked_for_good(lesions: Path) -> None:
    told = split(lesions, test=0.25, valid=0.25, allow_leak=True)
    assert told["leaky"]
    assert told["groups_crossing"] > 0
    honest = split(lesions, test=0.25, valid=0.25)
    assert honest["groups_crossing"] == 0
    assert honest["leaky"]
    assert "--allow-leak" in read_dataset(lesions).info.leak_reason


def test_pairs_of_near_duplicates_stay_together(lesions: Path) -> None:
    plain = read_dataset(lesions).table
    first = plain.drop_duplicates("patient_id")["image_id"].tolist()[:12]
    split(lesions, test=0.25, valid=0.25, pairs=[(first[0], other) for other in first[1:]])
    table = read_dataset(lesions).table.set_index("image_id")
    assert table.loc[first, "split"].nunique() == 1


def test_too_few_groups_leave_the_dataset_as_it_was(lesions: Path) -> None:
    before = (lesions / "manifest.csv").read_bytes()
    with pytest.raises(BadInput):
        split(lesions, test=0.9, valid=0.2)
    assert (lesions / "manifest.csv").read_bytes() == before


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "d")
    assert run(["import", "synthetic", "--to", folder, "--lesions", "30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"images", "patients", "lesions", "classes", "rejected"} <= set(told)
    assert run(["split", folder, "--test", "0.3", "--valid", "0.2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"images", "groups", "classes"} == set(told["train"])
    assert run(["split", folder]) == 0
    assert "0 groups cross" in capsys.readouterr().out
    assert run(["import", "folder", str(tmp_path / "absent"), "--to", folder + "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
