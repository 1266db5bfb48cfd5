"""What labelling tools and hubs export, as `auto` finds it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.api.import_dataset import import_dataset
from lesionlab.data.manifest import read_dataset
from lesionlab.data.sources.base import Found
from lesionlab.errors import BadInput

Find = Callable[..., Found]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def told(found: Found) -> dict[str, tuple[str, str]]:
    """`{file: (label, part)}`."""
    parts = found.rows.get("official_split", [""] * len(found.rows))
    return dict(zip(found.rows["file"], zip(found.rows["label"], parts, strict=True), strict=True))


HASH = "0123456789abcdef"


def roboflow() -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    for k, part in enumerate(("train", "valid", "test")):
        names = [f"IMG_{10 * k + n}_jpg.rf.{c}{HASH}.jpg" for n in range(2) for c in "ab"]
        lines = [f"{name}, {int(n < 2)}, {int(n >= 2)}" for n, name in enumerate(names)]
        files[f"{part}/_classes.csv"] = "filename, benign, malignant\n" + "\n".join(lines) + "\n"
        files |= {f"{part}/{name}": picture(10 * k + n) for n, name in enumerate(names)}
    return files


def test_roboflow(find: Find) -> None:
    found = find("roboflow", roboflow())
    assert found.malignant == ("malignant",)
    assert told(found)[f"valid/IMG_11_jpg.rf.a{HASH}.jpg"] == ("malignant", "valid")
    assert found.rows["official_split"].value_counts().to_dict() == dict.fromkeys(
        ("train", "valid", "test"), 4
    )


def test_roboflow_keeps_copies_of_one_picture_together(tmp_path: Path) -> None:
    for name, data in roboflow().items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data.encode() if isinstance(data, str) else data)
    result = import_dataset("auto", tmp_path / "src", tmp_path / "d")
    assert any("augmented copies of one picture" in note for note in result["notes"])
    assert read_dataset(tmp_path / "d").table["twin_group"].value_counts().tolist() == [2] * 6


def test_roboflow_with_none_or_several_classes(find: Find) -> None:
    rows = "a.jpg,1,0\nb.jpg,0,1\nc.jpg,0,0\nd.jpg,1,1\n"
    files = {"train/_classes.csv": "filename,x,y\n" + rows}
    found = find("roboflow", {**files, **{f"train/{n}.jpg": picture(ord(n)) for n in "abcd"}})
    assert [(r.path, r.reason) for r in found.rejected] == [
        ("train/c.jpg", "has no class"), ("train/d.jpg", "has several classes"),
    ]  # fmt: skip


def coco(names: list[str], labels: list[list[int]]) -> str:
    return json.dumps({
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"id": 9 * n + k, "image_id": n, "category_id": k}
                        for n, some in enumerate(labels) for k in some],
        "categories": [{"id": 1, "name": "nevus"}, {"id": 2, "name": "melanoma"}],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("table", "folder", "named"),
    [("train/_annotations.coco.json", "train", ""),
     ("annotations/instances_train.json", "images/train", ""),
     ("train.json", "train", "train/"), ("a/train/c.json", "a/train/x", "x/")],
)  # fmt: skip
def test_coco(find: Find, table: str, folder: str, named: str) -> None:
    text = coco([f"{named}{n}.jpg" for n in "abc"], [[1], [2, 2], [1, 2]])
    found = find("coco", {table: text, **{f"{folder}/{n}.jpg": picture(ord(n)) for n in "abc"}})
    assert told(found) == {f"{folder}/a.jpg": ("nevus", "train"),
                           f"{folder}/b.jpg": ("melanoma", "train")}  # fmt: skip
    assert [r.reason for r in found.rejected] == ["has several classes"]


def test_fiftyone(find: Find, tmp_path: Path) -> None:
    labels = {"classes": ["nevus", "melanoma"], "labels": {"a": 0, "b": 1, "c": None, "d": "nevus"}}
    images = {f"data/{n}.jpg": picture(ord(n)) for n in "abcd"}
    found = find("fiftyone", {"labels.json": json.dumps(labels), **images})
    assert {k: v[0] for k, v in told(found).items()} == {
        "data/a.jpg": "nevus", "data/b.jpg": "melanoma", "data/d.jpg": "nevus"}  # fmt: skip


def test_fiftyone_dataset(find: Find) -> None:
    samples = [
        {"filepath": f"data/{n}.jpg", "tags": ["validation"], "metadata": {"width": 1},
         "ground_truth": {"_cls": "Classification", "label": word}, "guess": {"label": "x"}}
        for n, word in (("a", "nevus"), ("b", "melanoma"))
    ]  # fmt: skip
    files = {"samples.json": json.dumps({"samples": samples}), "metadata.json": "{}"}
    found = find("fiftyone", {**files, **{f"data/{n}.jpg": picture(ord(n)) for n in "ab"}})
    assert told(found) == {"data/a.jpg": ("nevus", "valid"), "data/b.jpg": ("melanoma", "valid")}


IMAGES = {f"{p}/{n}.jpg": picture(n + 9 * (p == "test")) for p in ("train", "test") for n in (0, 1)}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_imagefolder(find: Find, suffix: str) -> None:
    files: dict[str, bytes | str] = dict(IMAGES)
    for part in ("train", "test"):
        rows = [{"file_name": f"{n}.jpg", "label": w, "age": 40 + n,
                 "patient_id": f"p{n}", "width": 7}
                for n, w in enumerate(("nevus", "melanoma"))]  # fmt: skip
        text = "\n".join(json.dumps(row) for row in rows)
        if suffix == "csv":
            text = "\n".join([",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)])
        files[f"{part}/metadata.{suffix}"] = text + "\n"
    found = find("imagefolder", files)
    assert told(found)["test/1.jpg"] == ("melanoma", "test")
    assert list(found.rows["age"]) == [40, 41, 40, 41]
    assert list(found.rows["patient_id"]) == ["p0", "p1"] * 2
    assert "table_width" in found.rows


def test_imagefolder_with_class_folders_and_one_table(find: Find) -> None:
    names = [f"{p}/{c}/{n}.jpg" for p in ("train", "test") for c in ("nevus", "mel") for n in "12"]
    text = "file_name,text\n" + "".join(f"{name},t\n" for name in names)
    files = {"metadata.csv": text, **{name: picture(n) for n, name in enumerate(names)}}
    found = find("imagefolder", files)
    assert told(found)["test/mel/1.jpg"] == ("mel", "test")
    assert list(found.rows["text"]) == ["t"] * 8


def test_imagefolder_parquet(find: Find) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    stream = io.BytesIO()
    pandas.DataFrame({"file_name": ["0.jpg", "1.jpg"], "label": [3, 4]}).to_parquet(stream)
    images = {f"train/{n}.jpg": picture(n) for n in (0, 1)}
    found = find("imagefolder", {"train/metadata.parquet": stream.getvalue(), **images})
    assert told(found) == {"train/0.jpg": ("3", "train"), "train/1.jpg": ("4", "train")}


def test_parquet_without_pyarrow_is_named(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionlab.extras.find_spec", lambda name: None if name == "pyarrow" else 1)
    with pytest.raises(BadInput, match=r"a parquet table needs pyarrow; install it"):
        find("imagefolder", {"train/metadata.parquet": b"PAR1", **IMAGES})


@pytest.mark.parametrize(
    ("name", "files", "said"),
    [
        ("imagefolder", {"train/metadata.csv": "file_name,text\n0.jpg,t\n"}, "--label-column"),
        ("imagefolder", {"train/metadata.jsonl": "{"}, "not a JSON Lines file"),
        ("roboflow", {"train/_classes.csv": "filename,x,y\n0.jpg,2,0\n"}, "more than 0 and 1"),
        ("coco", {"a.json": '{"images": [{}], "annotations": [], "categories": []}'}, "is missing"),
        ("coco", {"a.json": coco(["zz.jpg"], [[1]])}, "no image of the tables was found"),
    ],
)
def test_refusals(find: Find, name: str, files: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        find(name, {**files, **IMAGES})
