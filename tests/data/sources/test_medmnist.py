from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.importing import import_source
from lesionlab.data.sources import medmnist
from lesionlab.data.sources.base import Found
from lesionlab.errors import BadInput

Find = Callable[..., Found]


def npz(colour: bool = False, **changes: object) -> bytes:
    arrays: dict[str, object] = {}
    for k, (key, n) in enumerate((("train", 6), ("val", 2), ("test", 4))):
        draw = np.random.default_rng(k)
        shape = (n, 28, 28, 3) if colour else (n, 28, 28)
        arrays[f"{key}_images"] = draw.integers(0, 255, shape, np.uint8)
        arrays[f"{key}_labels"] = (np.arange(n) % 2).reshape(n, 1).astype(np.uint8)
    arrays.update(changes)
    stream = io.BytesIO()
    np.savez(stream, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("colour", [False, True])
def test_images_parts_and_pixels(find: Find, colour: bool) -> None:
    data = npz(colour)
    found = find("medmnist", {"breastmnist.npz": data})
    assert found.rows["official_split"].value_counts().to_dict() == {
        "train": 6, "test": 4, "valid": 2}  # fmt: skip
    pixels = np.asarray(Image.open(io.BytesIO(found.read("test/3.png"))))
    assert (pixels == medmnist.load(data, "x")["test_images"][3]).all()


def test_in_breastmnist_zero_is_malignant_and_malignant_is_positive(find: Find) -> None:
    found = find("medmnist", {"breastmnist.npz": npz()})
    assert found.classes == ("benign", "malignant")
    assert found.rows.set_index("image_id").loc["train_000000", "label"] == "malignant"
    assert found.modality == "ultrasound"


def test_other_sets_keep_their_numbers_and_dermamnist_is_warned_of(find: Find) -> None:
    assert find("medmnist", {"pneumoniamnist.npz": npz()}).classes == ("0", "1")


def test_dermamnist_says_that_its_parts_leak(find: Find) -> None:
    found = find("medmnist", {"dermamnist_64.npz": npz(True)})
    assert any("lesion in training" in n for n in found.notes)
    assert set(found.rows["label"]) == {"akiec", "bcc"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"val_labels": None}, "no array 'val_images' or 'val_labels'"),
        ({"test_images": np.zeros((4, 28, 28), np.float32)}, "uint8"),
        ({"test_images": np.zeros((3, 28, 28), np.uint8)}, "do not fit"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "several labels"),
        ({"train_labels": np.full((6, 1), 9, np.uint8)}, "label 9 of 2 classes"),
        ({"train_labels": np.array([{}] * 6, object)}, "not a readable"),
    ],
)
def test_other_shapes_and_pickles_are_refused(
    find: Find, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        find("medmnist", {"breastmnist.npz": npz(**changes)}, auto=False)


def test_garbage_is_refused(find: Find) -> None:
    with pytest.raises(BadInput, match="not a readable"):
        find("medmnist", {"x.npz": b"garbage"}, auto=False)


@pytest.mark.real
def test_the_real_breastmnist(shared: Path, tmp_path: Path) -> None:
    dataset = import_source(None, shared / "data" / "breastmnist.npz", tmp_path / "out")
    counts = dataset.table.groupby(["official_split", "label"]).size().to_dict()
    assert counts == {("test", "benign"): 114, ("test", "malignant"): 42,
                      ("train", "benign"): 399, ("train", "malignant"): 147,
                      ("valid", "benign"): 57, ("valid", "malignant"): 21}  # fmt: skip
    assert dataset.info.malignant == ("malignant",)
    assert dataset.info.classes[1] == "malignant"
    assert not [n for n in dataset.info.notes if "published" in n]
