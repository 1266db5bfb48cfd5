from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.join import join
from lesionlab.api.split import split
from lesionlab.cli.main import run
from lesionlab.data.archive import open_tree
from lesionlab.data.joining import join_table
from lesionlab.data.manifest import (
    COLUMNS,
    Dataset,
    DatasetInfo,
    read_dataset,
    with_table,
    write_dataset,
)
from lesionlab.data.sources import ham10000
from lesionlab.errors import BadInput


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Synthetic images without patients, lesions and ages."""
    import_dataset("synthetic", to=tmp_path / "d", lesions=20, seed=0)
    dataset = read_dataset(tmp_path / "d")
    table = dataset.table.assign(patient_id="", lesion_id="", age=float("nan"))
    write_dataset(with_table(dataset, table))
    return tmp_path / "d"


def test_reader_votes_are_found_by_header_whatever_the_order_of_columns(
    plain: Path, tmp_path: Path
) -> None:
    ids = read_dataset(plain).table["image_id"]
    rows = "".join(f'"{n}","{i}",{n},0,1,"NV"\n' for n, i in enumerate(ids[:5], 1))
    (tmp_path / "votes.csv").write_text('"","isic_id","MEL","BCC","NV","image_diag_id"\n' + rows)
    told = join(plain, tmp_path / "votes.csv", prefix="readers_")
    assert (told["matched"], told["unmatched"]) == (5, 0)
    assert told["added"] == ["readers_MEL", "readers_BCC", "readers_NV", "readers_image_diag_id"]
    dataset = read_dataset(plain)
    assert list(dataset.table["readers_MEL"][:6]) == ["1", "2", "3", "4", "5", ""]
    assert set(told["added"]) <= set(dataset.info.forbidden_inputs)


def test_known_columns_fill_and_never_overwrite(plain: Path, tmp_path: Path) -> None:
    table = read_dataset(plain).table
    first, second = table["image_id"][:2]
    other = {"female": "male", "male": "female"}[table["sex"][0]]
    (tmp_path / "t.csv").write_text(
        f"image,age_approx,sex,score\n{first}.jpg,55,{other},1\n{second}.jpg,unknown,,2\nzz,1,,3\n"
    )
    told = join(plain, tmp_path / "t.csv", inputs=["score"])
    assert told["filled"] == {"age": 1, "sex": 0}
    assert told["differing"] == {"age": 0, "sex": 1}
    assert told["unmatched"] == 1
    dataset = read_dataset(plain)
    assert dataset.table["age"][0] == 55
    assert dataset.table["sex"][0] == table["sex"][0]
    assert "score" not in dataset.info.forbidden_inputs


def test_new_lesions_that_cross_the_split_undo_it(plain: Path, tmp_path: Path) -> None:
    split(plain, test=0.3, valid=0.2)
    table = read_dataset(plain).table
    one = table.loc[table["split"] == "train", "image_id"].iloc[0]
    two = table.loc[table["split"] == "test", "image_id"].iloc[0]
    (tmp_path / "l.csv").write_text(f"image,lesion_id\n{one},L1\n{two},L1\n")
    assert join(plain, tmp_path / "l.csv")["split_reset"]
    dataset = read_dataset(plain)
    assert (dataset.table["split"] == "").all()
    assert dataset.info.split_policy is None
    assert dataset.info.counts["lesions"] == 1


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("foo,x\nSYN_000000,1\n", {}, "id column of the table"),
        ("image,x\nA,1\n", {}, "no image of the table is in the data set"),
        ("image,x\nSYN_000000,1\nSYN_000000,2\n", {}, "is in two rows"),
        ("image,mask\nSYN_000000,1\n", {}, "already has a column 'mask'.*--prefix"),
        ("image,label\nSYN_000000,1\n", {}, "column 'label' of a data set cannot be joined"),
        ("image,x\nSYN_000000,1\n", {"on": "y"}, "column 'y' is missing"),
        ("image,x\nSYN_000000,1\n", {"inputs": ["z"]}, "no new column 'z'"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    plain: Path, tmp_path: Path, text: str, options: dict[str, object], why: str
) -> None:
    before = (plain / "manifest.csv").read_bytes()
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BadInput, match=why):
        join(plain, tmp_path / "t.csv", **options)  # type: ignore[arg-type]
    assert (plain / "manifest.csv").read_bytes() == before


def test_ids_are_matched_over_their_spelling_and_said(plain: Path, tmp_path: Path) -> None:
    ids = read_dataset(plain).table["image_id"]
    rows = "".join(f"train\\{i.lower()}.PNG,{n}\n" for n, i in enumerate(ids))
    (tmp_path / "t.csv").write_text(f"image,x\n{rows}")
    told = join(plain, tmp_path / "t.csv")
    assert told["matched"] == len(ids)
    assert list(read_dataset(plain).table["x"]) == [str(n) for n in range(len(ids))]
    assert "without regard to file suffix and folder and upper and lower case" in told["notes"][0]
    (tmp_path / "t.csv").write_text(f"image,y\na/{ids[0]}.png,1\nb/{ids[0]}.png,2\n{ids[1]},3\n")
    with pytest.raises(BadInput, match=r"is in two rows of the table, as a/.* and b/"):
        join(plain, tmp_path / "t.csv")


def test_command_line(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("image,x\nSYN_000000,1\n")
    arguments = ["join", str(plain), str(tmp_path / "t.csv")]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == ["x"]
    assert run([*arguments, "--prefix", "b_"]) == 0
    assert "b_x" in capsys.readouterr().out


@pytest.mark.real
@pytest.mark.parametrize("name", ["isic", "isic_derms", "isic_exp", "isic_nonexp"])
def test_the_real_reader_votes_join_by_header(shared: Path, name: str) -> None:
    with open_tree(shared / "data" / "ham10000.zip") as tree:
        found = ham10000.find(tree, {})
    rows = found.rows.assign(**{c: "" for c in COLUMNS if c not in found.rows})
    dataset = Dataset(Path("x"), rows, DatasetInfo(name="x", source="x", classes=found.classes))
    path = shared / "data" / "reader-study-isic2018" / f"training_set_{name}.csv"
    joined = join_table(dataset, path.read_bytes(), str(path), prefix="readers_")
    assert joined.unmatched == 0
    assert joined.matched > 1000
    table = joined.dataset.table
    voted = table[table["readers_image_diag_id"] != ""]
    # The file's own diagnosis agrees with ours, whatever the order of its columns.
    assert (voted["readers_image_diag_id"].str.lower() == voted["label"]).mean() > 0.99
    votes = voted[[f"readers_{c}" for c in ("AKIEC", "BCC", "BKL", "MEL", "NV", "DF", "VASC")]]
    most = votes.astype(int).idxmax(axis=1).str.removeprefix("readers_").str.lower()
    assert (most == voted["label"]).mean() > 0.5
