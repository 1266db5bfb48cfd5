"""The ISIC challenges of 2016 to 2019: ground-truth tables beside folders of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lesionlab.data import tables
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

SUPERPIXELS = r"_superpixels$"  # ISIC 2017 lays them beside the images
META = {"age": "age_approximate", "sex": "sex", "site": "anatom_site_general"}
META_2019 = {**META, "age": "age_approx"}
CLASSES_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CLASSES_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
# images of each class by part, as published
COUNTS_2016 = {"train": {"benign": 727, "malignant": 173}}
COUNTS_2017 = {
    "train": {"melanoma": 374, "nevus": 1372, "seborrheic_keratosis": 254},
    "valid": {"melanoma": 30, "nevus": 78, "seborrheic_keratosis": 42},
    "test": {"melanoma": 117, "nevus": 393, "seborrheic_keratosis": 90},
}
COUNTS_2018 = {"train": {"MEL": 1113, "NV": 6705, "BCC": 514, "AKIEC": 327, "BKL": 1099,
                         "DF": 115, "VASC": 142}}  # fmt: skip
COUNTS_2019 = {"train": {"MEL": 4522, "NV": 12875, "BCC": 3323, "AK": 867, "BKL": 2624,
                         "DF": 239, "VASC": 253, "SCC": 628, "UNK": 0}}  # fmt: skip


def expected_of(
    counts: Mapping[str, Mapping[str, int]], parts: Sequence[str]
) -> dict[str, Any] | None:
    """The published counts of the parts at hand; {} where they are not known."""
    if not set(parts) <= set(counts):
        return {}
    total = pd.DataFrame({p: counts[p] for p in set(parts)}).sum(axis=1).astype(int)
    return {"images": int(total.sum()), "classes": {k: v for k, v in total.items() if v}}


def _found(
    table: pd.DataFrame,
    tree: Tree,
    names: Sequence[str],
    notes: Sequence[str],
    classes: Sequence[str],
    malignant: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
) -> Found:
    where = ", ".join(n.rsplit("/", 1)[-1] for n in names)
    parts = sorted(set(table["official_split"]))
    table, rejected, left_out = common.match_images(table, tree, where, SUPERPIXELS)
    if parts == [""]:
        table = table.drop(columns="official_split")
    return Found(
        rows=table,
        read=tree.read,
        classes=tuple(classes),
        malignant=tuple(malignant),
        rejected=tuple(rejected),
        notes=(*notes, *left_out),
        expected=expected_of(counts, parts),
    )


def _joined(table: pd.DataFrame, tree: Tree, names: Sequence[str], id_column: str) -> pd.DataFrame:
    """Left-join further tables (metadata, lesion groupings) by image id."""
    for name in names:
        more, _ = common.read_table(tree, name, id_column)
        fresh = more[["image_id", *(c for c in more.columns if c not in table.columns)]]
        table = table.merge(fresh, on="image_id", how="left")
        shared = [c for c in more.columns if c in table.columns and c not in fresh.columns]
        for column in shared:  # a second part's rows fill what the first part's left open
            filled = table["image_id"].map(more.set_index("image_id")[column])
            table[column] = table[column].where(table[column].fillna("") != "", filled)
        table = table.fillna("")
    return table


def find_2016(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`ISBI2016_ISIC_Part3_{Training,Test}_GroundTruth.csv`, which have no header."""
    names = _truths_2016(tree)
    if not names:
        raise BadInput("no ISBI2016_ISIC_Part3_Training_GroundTruth.csv", where=tree.origin)
    table, notes = common.read_tables(tree, names, "image_id", header=("image_id", "label"))
    words = {"0": "benign", "1": "malignant", "0.0": "benign", "1.0": "malignant"}
    table["label"] = table["label"].str.lower().replace(words)
    classes = ("benign", "malignant")
    common.check_labels(table["label"], classes, names[0])
    return _found(table, tree, names, notes, classes, ("malignant",), COUNTS_2016)


def _truths_2016(tree: Tree) -> list[str]:
    return tree.named(r".*(2016).*part3b?_(training|test).*groundtruth.*\.csv")


def recognise_2016(tree: Tree) -> str:
    """Why a tree is ISIC 2016, or ""."""
    names = _truths_2016(tree)
    return f"{names[0]} is the ground truth of ISBI 2016, part 3" if names else ""


def find_2017(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`image_id,melanoma,seborrheic_keratosis`; neither is a nevus."""
    names = tree.with_columns("image_id", "melanoma", "seborrheic_keratosis")
    if not names:
        raise BadInput(
            "no ISIC-2017_..._Part3_GroundTruth.csv",
            where=tree.origin,
            remedy="for class folders without tables use: lesionlab import folder",
        )
    table, notes = common.read_tables(tree, names, "image_id")
    hits = {c: tables.numbers(table[c], c, names[0]) for c in ("melanoma", "seborrheic_keratosis")}
    table["nevus"] = (1 - hits["melanoma"] - hits["seborrheic_keratosis"]).astype(str)
    classes = ("melanoma", "nevus", "seborrheic_keratosis")
    table["label"] = common.one_hot(table, classes, ", ".join(names))
    table = table.drop(columns=[*classes])
    meta = tree.with_columns("image_id", "age_approximate", "sex")
    table = common.standard(_joined(table, tree, meta, "image_id"), META, ", ".join(meta))
    return _found(table, tree, names, notes, classes, ("melanoma",), COUNTS_2017)


def recognise_2017(tree: Tree) -> str:
    """Why a tree is ISIC 2017, or ""."""
    names = tree.with_columns("image_id", "melanoma", "seborrheic_keratosis")
    return f"{names[0]} has the columns image_id, melanoma, seborrheic_keratosis" if names else ""


def _one_hot_challenge(
    classes: tuple[str, ...], malignant: tuple[str, ...], counts: Mapping[str, Mapping[str, int]]
) -> Callable[[Tree, Mapping[str, Any]], Found]:
    def find(tree: Tree, options: Mapping[str, Any]) -> Found:
        names = _truths(tree, classes)
        if not names:
            header = ",".join(("image", *classes))
            raise BadInput(f"no ground truth with the columns {header}", where=tree.origin)
        table, notes = common.read_tables(tree, names, "image")
        for column in set(classes) - set(table.columns):
            table[column] = "0"  # UNK is left out of some copies
        table["label"] = common.one_hot(table, classes, ", ".join(names))
        table = table.drop(columns=[*classes])
        meta = [n for n in tree.with_columns("image") if n not in names]
        meta = [n for n in meta if {"lesion_id", "age_approx"} & set(tree.headers[n])]
        table = common.standard(_joined(table, tree, meta, "image"), META_2019, ", ".join(meta))
        present = tuple(c for c in classes if c != "UNK" or (table["label"] == "UNK").any())
        return _found(table, tree, names, notes, present, malignant, counts)

    return find


def _truths(tree: Tree, classes: tuple[str, ...]) -> list[str]:
    """The truth tables: all the classes (UNK may be absent), and no others."""
    wanted = {*classes, "UNK"}
    return [
        n for n in tree.with_columns("image", *(c for c in classes if c != "UNK"))
        if {c for c in tree.headers[n] if c.isupper()} <= wanted
    ]  # fmt: skip


def _recognise(classes: tuple[str, ...], year: str) -> Callable[[Tree], str]:
    def recognise(tree: Tree) -> str:
        names = _truths(tree, classes)
        return f"{names[0]} has the columns of ISIC {year}" if names else ""

    return recognise


LICENCE = "CC BY-NC 4.0 (non-commercial)"
FORBIDDEN = ("diagnosis_confirm_type", "score_weight", "validation_weight")

ISIC2016 = Source(
    name="isic2016",
    title="ISIC 2016 part 3",
    find=find_2016,
    recognise=recognise_2016,
    licence="CC0",
    citation="Gutman et al.: Skin lesion analysis toward melanoma detection, arXiv:1605.01397",
)
ISIC2017 = Source(
    name="isic2017",
    title="ISIC 2017 part 3",
    find=find_2017,
    recognise=recognise_2017,
    licence="CC0",
    citation="Codella et al.: Skin lesion analysis toward melanoma detection, ISBI 2018",
)
ISIC2018 = Source(
    name="isic2018",
    title="ISIC 2018 task 3",
    find=_one_hot_challenge(CLASSES_2018, ("MEL", "BCC", "AKIEC"), COUNTS_2018),
    recognise=_recognise(CLASSES_2018, "2018 task 3"),
    licence=LICENCE,
    citation="Codella et al.: Skin lesion analysis toward melanoma detection 2018, "
    "arXiv:1902.03368; Tschandl et al., Sci Data 5, 180161 (2018)",
    forbidden=FORBIDDEN,
)
ISIC2019 = Source(
    name="isic2019",
    title="ISIC 2019",
    find=_one_hot_challenge(CLASSES_2019, ("MEL", "BCC", "AK", "SCC"), COUNTS_2019),
    recognise=_recognise(CLASSES_2019, "2019"),
    licence=LICENCE,
    citation="Tschandl et al., Sci Data 5, 180161 (2018); Codella et al., ISBI 2018; "
    "Hernandez-Perez et al., Sci Data 11, 641 (2024)",
    forbidden=FORBIDDEN,
)
