from __future__ import annotations

from pathlib import Path

import pytest

from lesionlab.data.archive import open_tree
from lesionlab.data.sources import folder
from lesionlab.data.sources.base import Found
from lesionlab.errors import BadInput


def found(root: Path, names: list[str], **options: object) -> Found:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with open_tree(root) as tree:
        return folder.find(tree, options)


def test_classes_at_the_root_or_below_one_folder(tmp_path: Path) -> None:
    plain = found(tmp_path / "a", ["nevus/1.jpg", "melanoma/2.jpg"])
    below = found(tmp_path / "b", ["data/x/nevus/1.jpg", "data/x/melanoma/sub/2.jpg"])
    for seen in (plain, below):
        assert seen.classes == ("melanoma", "nevus")
        assert seen.malignant == ("melanoma",)
        assert list(seen.rows["image_id"]) == ["2", "1"]
        assert "official_split" not in seen.rows


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Validation"])
def test_parts_become_an_official_split(tmp_path: Path, valid: str) -> None:
    names = [f"d/{p}/{c}/1.jpg" for p in ("train", valid, "test") for c in ("ben", "mal")]
    rows = found(tmp_path, names).rows
    assert rows["official_split"].value_counts().to_dict() == {"train": 2, "valid": 2, "test": 2}
    assert rows["image_id"].is_unique


def test_names_that_repeat_across_classes_get_their_path_as_id(tmp_path: Path) -> None:
    rows = found(tmp_path, ["train/ben/1.jpg", "train/mal/1.jpg", "test/ben/1.jpg"]).rows
    assert set(rows["image_id"]) == {"train-ben-1", "train-mal-1", "test-ben-1"}


def test_the_last_training_images_become_validation(tmp_path: Path) -> None:
    names = [f"train/{c}/{n:02d}.jpg" for c in ("ben", "mal") for n in range(10)]
    rows = found(tmp_path, [*names, "test/ben/x.jpg"], valid_last=0.2).rows
    valid = rows[rows["official_split"] == "valid"]
    assert list(valid["file"]) == [f"train/{c}/{n}.jpg" for c in ("ben", "mal")
                                   for n in ("08", "09")]  # fmt: skip
    with pytest.raises(BadInput, match="valid_last"):
        found(tmp_path, names, valid_last=1.5)


def test_class_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mal").mkdir()
    with pytest.raises(BadInput, match="class folder 'mal' holds no images"):
        found(tmp_path, ["ben/1.jpg", "other/2.jpg"])
    with pytest.raises(BadInput, match="class folder 'mal' holds no images"):
        found(tmp_path, ["mal/readme.txt"])
    assert found(tmp_path, [], classes="ben,other").classes == ("ben", "other")


def test_chosen_classes_and_malignant(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/2.jpg", "c/3.jpg"]
    seen = found(tmp_path, names, classes="a, b", malignant="b")
    assert (seen.classes, seen.malignant) == (("a", "b"), ("b",))
    with pytest.raises(BadInput, match="no images of class 'd'"):
        found(tmp_path, names, classes="a,d")
    with pytest.raises(BadInput, match="'x' is not a class"):
        found(tmp_path, names, malignant="x")


def test_stray_images_are_rejected_with_the_reason(tmp_path: Path) -> None:
    seen = found(tmp_path, ["train/ben/1.jpg", "train/mal/2.jpg", "test/3.jpg", "4.jpg"])
    assert [(r.path, r.reason) for r in seen.rejected] == [
        ("4.jpg", "lies in no class folder"),
        ("test/3.jpg", "lies in no class folder"),
    ]


def test_loose_images_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no images in class folders"):
        found(tmp_path, ["1.jpg", "2.jpg"])


@pytest.mark.real
def test_isic2017_by_folder(shared: Path) -> None:
    with open_tree(shared / "data" / "isic2017.zip") as tree:
        seen = folder.find(tree, {})
        assert folder.recognise(tree)
    table = seen.rows.groupby(["official_split", "label"]).size().unstack()
    assert table.loc["train"].tolist() == [374, 1372, 254]
    assert table.loc["valid"].tolist() == [30, 78, 42]
    assert table.loc["test"].tolist() == [117, 393, 90]


def test_class_folders_are_joined_over_case_and_separators(tmp_path: Path) -> None:
    pairs = [("Melanoma", "melanoma"), ("basal cell", "Basal_Cell"), ("Nävus", "Na\u0308vus")]
    names = [f"train/{a}/{n}.jpg" for a, _ in pairs for n in "123"]
    seen = found(tmp_path, [*names, *(f"test/{b}/x{n}.jpg" for n, (_, b) in enumerate(pairs))])
    assert seen.classes == ("Melanoma", "Nävus", "basal cell")
    assert "class folders 'melanoma' and 'Melanoma' are one class, 'Melanoma'" in seen.notes
    assert seen.rows.groupby("label")["official_split"].nunique().tolist() == [2, 2, 2]


@pytest.mark.parametrize("names", [
    ["train/1.jpg", "valid/2.jpg", "test/3.jpg"],
    ["Train/1.jpg", "TEST/3.jpg"],
    ["d/training_set/1.jpg", "d/test_images/3.jpg"],
    ["train/images/1.jpg", "val/images/3.jpg"],
])  # fmt: skip
def test_folders_of_splits_are_never_classes(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(BadInput, match="no images in class folders"):
        found(tmp_path, names)


@pytest.mark.parametrize("names", [
    ["train/images/ben/1.jpg", "train/images/mal/2.jpg", "test/images/ben/3.jpg"],
    ["ben/train/1.jpg", "mal/train/2.jpg", "ben/test/3.jpg"],
    ["x/training_set/ben/1.jpg", "x/training_set/mal/2.jpg", "x/test_set/ben/3.jpg"],
    ["test data/train/ben/1.jpg", "test data/train/mal/2.jpg", "test data/test/ben/3.jpg"],
    ["Train/ben/p1/1.jpg", "Train/mal/p2/2.jpg", "Test/ben/p3/3.jpg"],
])  # fmt: skip
def test_parts_and_classes_at_any_level(tmp_path: Path, names: list[str]) -> None:
    rows = found(tmp_path, names).rows.sort_values("image_id")
    assert sorted(rows["label"]) == ["ben", "ben", "mal"]
    assert sorted(rows["official_split"]) == ["test", "train", "train"]
    assert set(rows.loc[rows["official_split"] == "test", "label"]) == {"ben"}


def test_a_table_beside_loose_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label\n1,x\n")
    with pytest.raises(BadInput, match=r"import csv \.\.\. --table 'labels\.csv'"):
        found(tmp_path, ["1.jpg", "2.jpg"])


def test_folders_of_patients_above_the_classes_are_no_classes(tmp_path: Path) -> None:
    names = [f"P{p:02}/{c}/{p}{c}{n}.jpg" for p in range(8) for c in ("ben", "mal") for n in "12"]
    said = r"8 class folders look like patients.*--classes ben,mal --patient-from folder"
    with pytest.raises(BadInput, match=said):
        found(tmp_path, names)
    seen = found(tmp_path, names, classes="ben,mal")
    assert seen.rows["label"].value_counts().to_dict() == {"ben": 16, "mal": 16}
