"""DDI, Fitzpatrick17k and Derm7pt: headers and published counts from memory, but for the second.

The header of Fitzpatrick17k was seen in a copy. Where a copy differs, `import csv` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data import tables
from lesionlab.data.file_kinds import stem_of
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.taxonomy import malignant_of
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

PAIRS = {"12": "I-II", "34": "III-IV", "56": "V-VI"}  # DDI states pairs of skin types
# Words of Derm7pt's `diagnosis` that begin so -> the class of Kawahara et al. 2019.
DERM7PT = (("basal cell carcinoma", "BCC"), ("melanoma", "MEL"), ("seborrheic keratosis", "SK"))


def _ddi(tree: Tree, options: Mapping[str, Any]) -> Found:
    name = common.one_table(tree, tree.with_columns("DDI_file", "malignant"), "ddi_metadata.csv")
    table, notes = common.read_table(tree, name, "DDI_file")
    words = {"true": "malignant", "1": "malignant", "false": "benign", "0": "benign"}
    labels = table["malignant"].str.lower().map(words)
    if labels.isna().any():
        odd = table.loc[labels.isna(), "malignant"].iloc[0]
        raise BadInput(f"malignant is '{odd}', neither True nor False", where=name)
    table = table.assign(label=labels).drop(columns="malignant")
    table = common.standard(table, {"skin_type": "skin_tone"}, name)
    if "skin_type" in table:
        table["skin_type"] = table["skin_type"].replace(PAIRS)
    table, rejected, left_out = common.match_images(table, tree, name)
    return Found(table, tree.read, ("benign", "malignant"), ("malignant",), tuple(rejected),
                 (*notes, *left_out))  # fmt: skip


def _fitzpatrick17k(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`label_column` chooses among the three columns of labels."""
    known = tree.with_columns("md5hash", "three_partition_label")
    name = common.one_table(tree, known, "fitzpatrick17k.csv")
    table, notes = common.read_table(tree, name, "md5hash")
    column = str(options.get("label_column") or "three_partition_label")
    tables.need_columns(table, [column], name)
    if column != "label" and "label" in table:
        table = table.rename(columns={"label": "fine_label"})
    table = table.rename(columns={column: "label"})
    skin = "fitzpatrick" if "fitzpatrick" in table else "fitzpatrick_scale"
    table = common.standard(table, {"skin_type": skin}, name)
    table["label"] = common.one_spelling(table["label"])
    table, rejected, left_out = common.match_images(table, tree, name)
    classes = tuple(sorted(set(table["label"])))
    return Found(table, tree.read, classes, malignant_of(classes), tuple(rejected),
                 (*notes, *left_out, f"labels: {column}"))  # fmt: skip


def _derm7pt(tree: Tree, options: Mapping[str, Any]) -> Found:
    """The dermoscopic image of each case, with the published split where its files are there."""
    name = common.one_table(tree, tree.with_columns("case_num", "derm", "clinic"), "meta.csv")
    table, notes = tables.read_csv(tree.read(name), name)
    tables.need_columns(table, ["diagnosis"], name)
    table["official_split"] = _indexed(tree, len(table))
    table = table.assign(label=table["diagnosis"].map(_class_of), lesion_id=table["case_num"])
    columns = {"sex": "sex", "site": "location"}
    table = common.standard(table.assign(image=table["derm"]), columns, name)
    paths = {p.lower(): p for p in tree.images}
    ends = {"/".join(p.split("/")[-2:]): full for p, full in paths.items()}
    table["file"] = table["image"].str.strip().str.lower().map(ends)
    lost = int(table["file"].isna().sum())
    table = table[table["file"].notna()].drop(columns="image").reset_index(drop=True)
    table["image_id"] = [stem_of(f) for f in table["file"]]
    left = f"{lost} cases without their dermoscopic image left out" if lost else ""
    clinical = "the clinical image of each case is left out: lesionlab import csv reads it with "
    clinical += "--image-column clinic --label-column diagnosis"
    if (table["official_split"] == "").all():
        table = table.drop(columns="official_split")
    classes = tuple(sorted(set(table["label"])))
    return Found(table, tree.read, classes, tuple(c for c in classes if c in ("BCC", "MEL")), (),
                 (*notes, *filter(None, (left, clinical))))  # fmt: skip


def _class_of(diagnosis: str) -> str:
    text = diagnosis.strip().lower()
    if text.endswith("nevus"):
        return "NEV"
    return next((code for start, code in DERM7PT if text.startswith(start)), "MISC")


def _indexed(tree: Tree, n: int) -> pd.Series:
    """The part of each row by `train_indexes.csv` and the like: row numbers from 0."""
    parts = pd.Series("", range(n), dtype=object)
    for name in tree.named(r"(train|valid|test)_indexes\.csv"):
        table, _ = tables.read_csv(tree.read(name), name)
        rows = tables.numbers(table.iloc[:, -1], "indexes", name).astype(int)
        if not rows.between(0, n - 1).all():
            raise BadInput(f"a row number is outside 0 to {n - 1}", where=name)
        parts[rows.to_numpy()] = common.part_of(name)
    return parts


DDI = Source(
    name="ddi",
    title="DDI",
    find=_ddi,
    recognise=columns_test("DDI_file", "skin_tone", "malignant"),
    licence="Stanford AIMI agreement (research, not commercial)",
    citation="Daneshjou et al.: Disparities in dermatology AI, Sci Adv 8, eabq6147 (2022)",
    modality="clinical",
    expected={"images": 656, "classes": {"benign": 485, "malignant": 171}},
    forbidden=("disease", "DDI_ID"),
)
FITZPATRICK17K = Source(
    name="fitzpatrick17k",
    title="Fitzpatrick17k",
    find=_fitzpatrick17k,
    recognise=columns_test("md5hash", "three_partition_label"),
    licence="CC BY-NC-SA 3.0 (annotations; images belong to their atlases)",
    citation="Groh et al.: Evaluating deep neural networks with Fitzpatrick 17k, CVPRW 2021",
    modality="clinical",
    forbidden=("fine_label", "nine_partition_label", "three_partition_label", "qc", "url",
               "url_alphanum"),
    options={"label_column": None},
)  # fmt: skip
DERM7PT_SOURCE = Source(
    name="derm7pt",
    title="Derm7pt",
    find=_derm7pt,
    recognise=columns_test("case_num", "diagnosis", "derm", "clinic"),
    licence="own terms (research)",
    citation="Kawahara et al.: Seven-point checklist and skin lesion classification, "
    "IEEE JBHI 23, 538 (2019)",
    expected={"images": 1011},
    forbidden=("diagnosis", "management", "level_of_diagnostic_difficulty", "seven_point_score"),
)
