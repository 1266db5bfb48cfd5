"""A part of a data set: whole groups, provenance, and the parent's accesses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lesionlab
from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.split import split
from lesionlab.cli.main import run
from lesionlab.data import ledger
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset, with_table, write_dataset
from lesionlab.errors import BadInput


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "d"
    import_dataset("synthetic", to=folder, lesions=60, seed=0)
    split(folder, test=0.25, valid=0.25, search=False)
    ledger.append(folder, {"run": "r", "split": "test", "result": "x", "model": "m"})
    return folder


@pytest.mark.parametrize("options", [{"per_class": 6}, {"fraction": 0.3}, {"fraction": 1.0}])
def test_whole_groups_and_their_splits(
    parent: Path, tmp_path: Path, options: dict[str, float]
) -> None:
    told = lesionlab.subset(parent, tmp_path / "s", **options)  # type: ignore[arg-type]
    whole, part = read_dataset(parent).table, read_dataset(tmp_path / "s").table
    groups = dict(zip(whole["image_id"], united_groups(whole), strict=True))
    taken = {groups[i] for i in part["image_id"]}
    assert set(part["image_id"]) == {i for i, g in groups.items() if g in taken}
    assert part.merge(whole, on="image_id").eval("split_x == split_y").all()
    assert not any("in part" in note for note in told["notes"])
    for name, n in told["classes"].items():
        have = int((whole["label"] == name).sum())
        asked = options.get("per_class") or round(options["fraction"] * have)
        assert 0 < n <= max(asked, 4)
    for path in part["path"]:
        assert (tmp_path / "s" / path).read_bytes() == (parent / path).read_bytes()


def test_by_image_gives_exact_counts_and_a_warning(parent: Path, tmp_path: Path) -> None:
    told = lesionlab.subset(parent, tmp_path / "s", per_class=5, by_image=True)
    assert set(told["classes"].values()) == {5}
    assert any("here in part; the others stay in the parent" in note for note in told["notes"])


def test_the_seed_decides_and_the_order_of_rows_does_not(parent: Path, tmp_path: Path) -> None:
    ids = []
    for n, seed in enumerate((0, 0, 1)):
        lesionlab.subset(parent, tmp_path / str(n), per_class=6, seed=seed)
        ids.append(sorted(read_dataset(tmp_path / str(n)).table["image_id"]))
        dataset = read_dataset(parent)
        write_dataset(with_table(dataset, dataset.table.iloc[::-1].reset_index(drop=True)))
    assert ids[0] == ids[1] != ids[2]


def test_the_ledger_begins_with_the_head_of_the_parent(parent: Path, tmp_path: Path) -> None:
    lesionlab.subset(parent, tmp_path / "s", fraction=0.5)
    first, second = ledger.read_and_verify(tmp_path / "s")
    assert first["event"] == "subset"
    assert first["parent_head"] == ledger.read_and_verify(parent)[-1]["hash"]
    assert (second["event"], second["model"]) == ("opened", "m")
    assert len(ledger.openings(tmp_path / "s")) == 1


def test_where_and_named_classes(parent: Path, tmp_path: Path) -> None:
    classes = read_dataset(parent).info.classes
    lesionlab.subset(parent, tmp_path / "a", where={"sex": "female"})
    assert set(read_dataset(tmp_path / "a").table["sex"]) == {"female"}
    told = lesionlab.subset(parent, tmp_path / "b", per_class={classes[0]: 4, classes[1]: 4})
    assert list(told["classes"]) == list(classes[:2])
    assert lesionlab.subset(parent, tmp_path / "c", where={"split": "train"})["images"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing is chosen"),
        ({"fraction": 1.5}, "not above 0 and at most 1"),
        ({"fraction": 0.5, "per_class": 3}, "not both"),
        ({"per_class": {"nevis": 3}}, "no class 'nevis'"),
        ({"per_class": 0}, "at least 1"),
        ({"where": {"sexx": "f"}}, "no column 'sexx'.*'sex'"),
        ({"where": {"sex": "femal"}}, "no row has sex=femal.*'female'"),
        ({"where": {"label": "LABEL"}}, "one class is no classification"),
    ],
)
def test_refusals(parent: Path, tmp_path: Path, options: dict[str, object], said: str) -> None:
    first = read_dataset(parent).info.classes[0]
    if options.get("where") == {"label": "LABEL"}:
        options = {"where": {"label": first}}
    with pytest.raises(BadInput, match=said):
        lesionlab.subset(parent, tmp_path / "s", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_too_few_images_are_said(parent: Path, tmp_path: Path) -> None:
    told = lesionlab.subset(parent, tmp_path / "s", per_class=10_000)
    assert told["images"] == len(read_dataset(parent).table)
    assert any("images, not 10,000" in note for note in told["notes"])


def test_command_line(parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["subset", str(parent), "--to", str(tmp_path / "s"), "--fraction", "0.5"]
    assert run([*line, "--where", "sex=female", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] > 0
    assert run(line) == 2  # it exists
    for words in (["--per-class", "a=b"], ["--where", "sex"]):
        assert run(["subset", str(parent), "--to", str(tmp_path / "t"), *words]) == 2
    assert run(["split", str(tmp_path / "s"), "--no-search"]) in (0, 2)
