"""MedMNIST `.npz` files: small images with an official split (Yang et al. 2023)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from lesionlab.data.regions import png
from lesionlab.data.sources.base import Found, Source
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

KEYS = {"train": "train", "val": "valid", "test": "test"}
MAX_BYTES = 20 << 30
# flag -> (words for labels 0, 1, ..., which are malignant, modality). Others get "0", "1", ...
SETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "breastmnist": (("malignant", "benign"), ("malignant",), "ultrasound"),  # 0 is malignant
    "dermamnist": (("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), ("akiec", "bcc", "mel"),
                   "dermoscopy"),
}  # fmt: skip
COUNTS = {"breastmnist": {"images": 780, "classes": {"benign": 570, "malignant": 210}}}


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row an image; the label is a word for the sets known here, else the number as text."""
    name = _npz(tree)
    arrays = load(tree.read(name), name)
    flag = name.rsplit("/", 1)[-1].removesuffix(".npz").split("_")[0].lower()
    words, malignant, modality = SETS.get(flag, ((), (), "unknown"))
    tables = [_rows(part, key, arrays, words, name) for key, part in KEYS.items()]
    table = pd.concat(tables, ignore_index=True)
    # The class list puts malignant last, so that it is the positive one, whatever its number.
    seen = sorted(
        words or set(table["label"]), key=lambda c: (c in malignant and len(words) == 2, c)
    )

    def read(file: str) -> bytes:
        key, row = file.removesuffix(".png").split("/")
        return png(Image.fromarray(arrays[f"{key}_images"][int(row)]))

    return Found(
        rows=table,
        read=read,
        classes=tuple(seen),
        malignant=malignant,
        notes=_notes(flag, words),
        expected=COUNTS.get(flag, {}),
        modality=modality,
    )


def load(data: bytes, where: str) -> dict[str, npt.NDArray[Any]]:
    """The six arrays of the file, checked; nothing in it is unpickled."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(i.file_size for i in archive.infolist()) > MAX_BYTES:
                raise BadInput(
                    "unpacks to too many bytes: possibly a decompression bomb", where=where
                )
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {k: stored[k] for k in stored.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise BadInput(f"not a readable .npz file ({error})", where=where) from None
    for key in KEYS:
        images, labels = arrays.get(f"{key}_images"), arrays.get(f"{key}_labels")
        if images is None or labels is None:
            raise BadInput(f"no array '{key}_images' or '{key}_labels'", where=where)
        flat = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
        if images.dtype != np.uint8 or not flat or len(images) != len(labels):
            raise BadInput(
                f"{key}_images {images.dtype} {images.shape} do not fit {key}_labels "
                f"{labels.shape}",
                where=where,
                remedy="two-dimensional uint8 images with one label each are expected",
            )
        if labels.size != len(labels):
            raise BadInput("several labels per image are not supported", where=where)
    return arrays


def _rows(
    part: str, key: str, arrays: Mapping[str, Any], words: tuple[str, ...], where: str
) -> pd.DataFrame:
    numbers = arrays[f"{key}_labels"].ravel().astype(int)
    if words and (numbers.min(initial=0) < 0 or numbers.max(initial=0) >= len(words)):
        raise BadInput(f"label {numbers.max()} of {len(words)} classes", where=where)
    labels = [words[n] if words else str(n) for n in numbers]
    ids = [f"{key}_{i:06d}" for i in range(len(numbers))]
    files = [f"{key}/{i}.png" for i in range(len(numbers))]
    return pd.DataFrame({"image_id": ids, "file": files, "label": labels, "official_split": part})


def _npz(tree: Tree) -> str:
    names = tree.ending(".npz")
    if len(names) != 1:
        raise BadInput(f"{len(names)} .npz files where one is expected", where=tree.origin)
    return names[0]


def _notes(flag: str, words: tuple[str, ...]) -> tuple[str, ...]:
    if flag == "breastmnist":
        return ("the file's label 0 is malignant; here malignant is the positive class",)
    if flag == "dermamnist":
        return ("886 of the 2,005 official test images have their lesion in training; the file "
                "holds no lesion ids, so no split of it can be honest",)  # fmt: skip
    return () if words else ("labels are the file's numbers; say which are malignant with --map",)


def recognise(tree: Tree) -> str:
    """Why a tree is a MedMNIST file, or ""."""
    names = tree.ending(".npz")
    if len(names) != 1:
        return ""
    try:
        with zipfile.ZipFile(io.BytesIO(tree.read(names[0]))) as archive:
            members = set(archive.namelist())
    except zipfile.BadZipFile:
        return ""
    wanted = {f"{k}_{what}.npy" for k in KEYS for what in ("images", "labels")}
    return f"{names[0]} holds train_images, train_labels ..." if wanted <= members else ""


SOURCE = Source(
    name="medmnist",
    title="MedMNIST",
    find=find,
    recognise=recognise,
    licence="CC BY 4.0 (DermaMNIST: CC BY-NC 4.0)",
    citation="Yang et al.: MedMNIST v2, Sci Data 10, 41 (2023)",
    modality="unknown",
)
