"""The ISIC challenges of 2020 and 2024: benign or malignant, with patients."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab import extras
from lesionlab.data import tables
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source, columns_test
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted

CLASSES = ("benign", "malignant")
COLUMNS_2020 = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general_challenge"}
COLUMNS_2024 = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general"}
IDDX = tuple(f"iddx_{n}" for n in range(1, 6))


def find_2020(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`image_name,patient_id,...,diagnosis,benign_malignant,target`; known twins are united."""
    names = tree.with_columns("image_name", "patient_id", "target")
    name = common.one_table(tree, _newest(names), "ISIC_2020_Training_GroundTruth.csv")
    table, notes = common.read_table(tree, name, "image_name")
    table["label"] = _binary(table["target"], name)
    table = common.standard(table.drop(columns="target"), COLUMNS_2020, name)
    table["twin_group"] = _twins(tree, table["image_id"])
    table, rejected, left_out = common.match_images(table, tree, name)
    return Found(table, tree.read, CLASSES, ("malignant",), tuple(rejected), (*notes, *left_out))


def _newest(names: list[str]) -> list[str]:
    """The second version of the truth adds lesion ids: prefer it."""
    return [n for n in names if "_v2" in n.lower()] or names


def _binary(values: pd.Series, where: str) -> pd.Series:
    numbers = tables.numbers(values, "target", where)
    odd = ~numbers.isin((0, 1))
    if odd.any():
        row = int(odd.to_numpy().argmax())
        raise BadInput(f"target '{values.iloc[row]}' in row {row + 2} is not 0 or 1", where=where)
    return numbers.map({0.0: "benign", 1.0: "malignant"})


def _twins(tree: Tree, ids: pd.Series) -> pd.Series:
    """Names for the groups of `ISIC_2020_Training_Duplicates.csv`; "" where there is no twin."""
    both = ["image_name_1", "image_name_2"]
    pairs = [
        (str(a), str(b))
        for name in tree.with_columns(*both)
        for a, b in tables.read_csv(tree.read(name), name)[0][both].to_numpy()
    ]
    known = sorted({i for pair in pairs for i in pair})
    if not known:
        return pd.Series("", ids.index)
    at = {image_id: n for n, image_id in enumerate(known)}
    ends = np.array([[at[a], at[b]] for a, b in pairs])
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(known),) * 2)
    group = connected_components(graph, directed=False)[1]
    first = {g: known[int(np.flatnonzero(group == g)[0])] for g in set(group)}
    return ids.map({i: f"twin:{first[group[n]]}" for i, n in at.items()}).fillna("")


def find_2024(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Images in a folder, or JPEG bytes in `train-image.hdf5` keyed by id (extra `hdf5`)."""
    names = tree.with_columns("isic_id", "patient_id", "target")
    truths = tree.with_columns("isic_id", "malignant")
    name = common.one_table(tree, names or truths, "train-metadata.csv with a target")
    table, notes = common.read_table(tree, name, "isic_id")
    column = "target" if "target" in table else "malignant"
    table["label"] = _binary(table[column], name)
    table = common.standard(table.drop(columns=column), COLUMNS_2024, name)
    stored = tree.ending(".hdf5", ".h5")
    if not stored:
        table, rejected, left_out = common.match_images(table, tree, name)
        read: Callable[[str], bytes] = tree.read
    else:
        keys, read = open_hdf5(tree, stored[0])
        known = table["image_id"].isin(keys)
        rejected = [Rejected(i, f"not in {stored[0]}") for i in table.loc[~known, "image_id"]]
        table = table[known].assign(file=table["image_id"] + ".jpg").reset_index(drop=True)
        extra = len(keys) - len(table)
        left_out = [f"{counted(extra, 'image')} of {stored[0]} not named in {name}"] * (extra > 0)
    return Found(table, read, CLASSES, ("malignant",), tuple(rejected), (*notes, *left_out))


def open_hdf5(tree: Tree, name: str) -> tuple[set[str], Callable[[str], bytes]]:
    """The keys of an HDF5 file of encoded images, and a reader by `<key>.jpg`."""
    extras.need("hdf5", "an HDF5 file", name)
    import h5py

    path = tree.entries[name].path
    try:
        stored = h5py.File(path if path is not None else io.BytesIO(tree.read(name)), "r")
        keys = set(stored.keys())
    except OSError as error:
        raise BadInput(f"not a readable HDF5 file ({error})", where=name) from None
    lock = threading.Lock()

    def read(file: str) -> bytes:
        with lock:
            value = stored[file.removesuffix(".jpg")][()]
        return bytes(value.tobytes() if isinstance(value, np.ndarray) else value)

    return keys, read


ISIC2020 = Source(
    name="isic2020",
    title="ISIC 2020",
    find=find_2020,
    recognise=columns_test("image_name", "patient_id", "benign_malignant", "target"),
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Rotemberg et al.: A patient-centric dataset, Sci Data 8, 34 (2021)",
    expected={"images": 33126, "patients": 2056,
              "classes": {"benign": 32542, "malignant": 584}},
    forbidden=("diagnosis", "benign_malignant"),
)  # fmt: skip
ISIC2024 = Source(
    name="isic2024",
    title="ISIC 2024 (SLICE-3D)",
    find=find_2024,
    recognise=columns_test("isic_id", "patient_id", "tbp_lv_A", "target"),
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Kurtansky et al.: The SLICE-3D dataset, Sci Data 11, 884 (2024)",
    modality="total body photograph",
    expected={"images": 401059, "patients": 1042,
              "classes": {"benign": 400666, "malignant": 393}},
    forbidden=("iddx_full", *IDDX, "mel_mitotic_index", "mel_thick_mm",
               "tbp_lv_dnn_lesion_confidence", "attribution", "copyright_license"),
)  # fmt: skip
