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
