from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.split import split
from lesionlab.cli.main import run
from lesionlab.data.ledger import read_and_verify
from lesionlab.data.manifest import read_dataset, with_table, write_dataset
from lesionlab.errors import BadInput


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; every test splits a copy."""
    folder = tmp_path_factory.mktemp("lesions") / "d"
    import_dataset("synthetic", to=folder, lesions=40, seed=0)
    return folder


@pytest.fixture
def lesions(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "d"))


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


@pytest.fixture
def films(lesions: Path) -> Path:
    """A data set with an official split, two sources and kinds, made from synthetic images."""
    dataset = read_dataset(lesions)
    patients = sorted(set(dataset.table["patient_id"]))
    parts = {p: ("train", "train", "test")[n % 3] for n, p in enumerate(patients)}
    table = dataset.table.assign(
        official_split=dataset.table["patient_id"].map(parts),
        source=["a" if p < patients[len(patients) // 2] else "b" for p in dataset.table.patient_id],
    )
    write_dataset(with_table(dataset, table))
    return lesions


def test_official_parts_are_kept_unless_shares_are_given(films: Path) -> None:
    told = split(films)
    assert told["policy"] == "official"
    table = read_dataset(films).table
    assert (table["split"] == table["official_split"]).all()
    assert split(films, valid=0.2, keep_official=True)["valid"]["images"] > 0
    assert split(films, test=0.2, valid=0.2)["policy"] == "grouped"
    assert split(films, keep_official=False)["policy"] == "grouped"


def test_an_official_split_that_leaks_loses_training_images(films: Path) -> None:
    dataset = read_dataset(films)
    table = dataset.table.copy()
    twice = table["patient_id"].value_counts()
    first = table.index[table["patient_id"] == twice.index[0]]
    table.loc[first, "official_split"] = ["test"] + ["train"] * (len(first) - 1)
    write_dataset(with_table(dataset, table))
    told = split(films)
    assert told["groups_crossing"] == 0
    assert told["dropped"]["images"] == len(first) - 1
    assert set(told["dropped"]["examples"]) == set(table.loc[first[1:], "image_id"])
    leaky = split(films, allow_leak=True, keep_official=True)
    assert (leaky["groups_crossing"], leaky["leaky"]) == (1, True)


def test_a_source_or_a_fold_as_test(films: Path) -> None:
    told = split(films, leave_out="b")
    assert told["policy"] == "source"
    assert set(read_dataset(films).part("test")["source"]) == {"b"}
    assert split(films, folds=3, fold=1)["groups_crossing"] == 0
    with pytest.raises(BadInput, match="one of the ways to split"):
        split(films, folds=3, leave_out="b")
    with pytest.raises(BadInput, match="cannot be combined"):
        split(films, folds=3, test=0.2)


def test_balance_drops_training_rows_only(films: Path) -> None:
    before = split(films, test=0.2, valid=0.2, seed=2)
    told = split(films, test=0.2, valid=0.2, seed=2, balance="class")
    assert told["train"]["classes"]["benign"] == told["train"]["classes"]["malignant"]
    assert (told["test"], told["valid"]) == (before["test"], before["valid"])
    table = read_dataset(films).table
    assert (table["dropped"] != "").sum() == told["dropped"]["images"] > 0
    split(films, test=0.2, valid=0.2, seed=2)
    assert (read_dataset(films).table["dropped"] == "").all()


def test_pairs_from_a_file(films: Path, tmp_path: Path) -> None:
    table = read_dataset(films).table.drop_duplicates("patient_id")
    a, b = table["image_id"].tolist()[:2]
    (tmp_path / "pairs.csv").write_text(f"image_id_1,image_id_2,correlation\n{a},{b},0.99\n")
    for seed in range(4):
        split(films, test=0.3, valid=0.3, seed=seed, pairs=tmp_path / "pairs.csv")
        parts = read_dataset(films).table.set_index("image_id")["split"]
        assert parts[a] == parts[b]
    (films / "duplicates.csv").write_text(f"a,b,kind\n{a},{b},near\n{a},gone,near\n")
    for seed in range(4):
        told = split(films, test=0.3, valid=0.3, seed=seed)
        assert told["near_duplicates"] == {"from": "audit (duplicates.csv)", "pairs": 1}
        parts = read_dataset(films).table.set_index("image_id")["split"]
        assert parts[a] == parts[b]
    (films / "p.json").write_text(json.dumps({"pairs": [{"a": a, "b": b}]}))
    assert split(films, pairs=films / "p.json")["near_duplicates"]["pairs"] == 1
    (films / "p.json").write_text("[]")
    with pytest.raises(BadInput, match="no file of near-duplicate pairs"):
        split(films, pairs=films / "p.json")
    (films / "duplicates.csv").write_text("a,b,kind\n")
    assert split(films)["near_duplicates"]["pairs"] == 0
    with pytest.raises(BadInput, match="cannot be read"):
        split(films, pairs=tmp_path / "absent.csv")


def test_near_duplicates_are_searched_on_request(films: Path) -> None:
    dataset = read_dataset(films)
    table = dataset.table.drop_duplicates("patient_id").head(2)
    one, two = (dataset.image_path(p) for p in table["path"])
    Image.open(one).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(two, quality=60)
    assert split(films, test=0.3, valid=0.3, search=False)["near_duplicates"] == {
        "from": "not searched", "pairs": 0}  # fmt: skip
    told = split(films, test=0.3, valid=0.3)
    assert told["near_duplicates"]["from"] == "searched"
    assert (pairs := told["near_duplicates"]["pairs"]) >= 1
    parts = read_dataset(films).table.set_index("image_id")["split"]
    assert parts[table["image_id"].iloc[0]] == parts[table["image_id"].iloc[1]]
    for search, origin in ((None, "earlier search (duplicates.json)"), (True, "searched")):
        told = split(films, test=0.3, valid=0.3, seed=1, search=search)
        assert told["near_duplicates"] == {"from": origin, "pairs": pairs}
    parts = read_dataset(films).table.set_index("image_id")["split"]
    assert parts[table["image_id"].iloc[0]] == parts[table["image_id"].iloc[1]]


def test_a_search_that_cannot_be_made_names_the_way_on(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    dataset.image_path(dataset.table["path"].iloc[0]).write_bytes(b"")
    with pytest.raises(BadInput, match=r"near-duplicates cannot be searched.*--no-search"):
        split(lesions, test=0.25, valid=0.25)
    assert split(lesions, test=0.25, valid=0.25, search=False)["groups_crossing"] == 0


def test_unknown_patients_and_no_search_are_said(
    lesions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = split(lesions, test=0.25, valid=0.25, search=False)
    assert told["patients"] == {"known": told["patients"]["of"], "of": told["patients"]["of"],
                                "note": ""}  # fmt: skip
    dataset = read_dataset(lesions)
    write_dataset(with_table(dataset, dataset.table.assign(patient_id="")))
    said = split(lesions, test=0.25, valid=0.25, search=False)["patients"]
    assert said["known"] == 0
    assert said["note"].startswith("patients unknown: leakage between images of one patient")
    assert run(["split", str(lesions), "--no-search"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "grouped split: patients unknown" in out
    assert "0 groups cross" not in out
    assert "duplicates not searched" in out


def test_long_chains_are_used_only_on_request(lesions: Path) -> None:
    dataset = read_dataset(lesions)
    paths = dataset.table.drop_duplicates("patient_id")["path"].tolist()[:12]
    first = Image.open(dataset.image_path(paths[0])).convert("RGB")
    for n, path in enumerate(paths):
        first.resize((first.width + n, first.height + n)).save(dataset.image_path(path))
    told = split(lesions, test=0.25, valid=0.25)
    chained = set(dataset.table.loc[dataset.table["path"].isin(paths), "image_id"])
    assert told["near_duplicates"]["from"] == "searched"
    parts = read_dataset(lesions).table.set_index("image_id")["split"]
    assert parts[sorted(chained)].nunique() > 1
    asked = split(lesions, test=0.25, valid=0.25, search=True)
    assert asked["near_duplicates"]["pairs"] >= told["near_duplicates"]["pairs"] + 11
    parts = read_dataset(lesions).table.set_index("image_id")["split"]
    assert parts[sorted(chained)].nunique() == 1
