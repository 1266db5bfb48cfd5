"""Sets that come from the ISIC Archive: its own `metadata.csv`, MILK10k and BCN20000."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data import tables
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.split_names import PARTS
from lesionlab.data.taxonomy import malignant_of
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted, nearest

# Known only after the diagnosis, or telling how the data were collected.
FORBIDDEN = ("attribution", "copyright_license", "diagnosis_confirm_type", "concomitant_biopsy",
             "melanocytic", "benign_malignant", "diagnosis", "mel_class", "mel_mitotic_index",
             "mel_thick_mm", "mel_type", "mel_ulcer", "nevus_type", "family_hx_mm",
             "personal_hx_mm", *(f"diagnosis_{n}" for n in range(1, 6)),
             "diagnosis_full", "invasion_thickness_interval")  # fmt: skip
LABELS = ("diagnosis_1", "benign_malignant", "diagnosis")
MILK_CLASSES = ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA",
                "VASC")  # fmt: skip
COLUMNS = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general",
           "skin_type": "fitzpatrick_skin_type"}  # fmt: skip


def find_archive(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`label_column` is the field to predict; by default the coarsest diagnosis there is."""
    name = common.one_table(tree, _archive_tables(tree), "metadata.csv with isic_id")
    table, notes = common.read_table(tree, name, "isic_id")
    column = options.get("label_column") or next((c for c in LABELS if c in table), "")
    if column not in table.columns:
        raise BadInput(f"column '{column or LABELS[0]}' is missing", where=name,
                       remedy=nearest(column or LABELS[0], list(table.columns)))  # fmt: skip
    table["label"] = tables.blank_unknown(table[column])
    known = table["label"] != ""
    lost = int((~known).sum())
    table = common.standard(table[known].reset_index(drop=True), COLUMNS, name)
    table, rejected, left_out = common.match_images(table, tree, name)
    classes = tuple(sorted(set(table["label"])))
    return Found(
        rows=table,
        read=tree.read,
        classes=classes,
        malignant=malignant_of(classes),
        rejected=tuple(rejected),
        notes=(*notes, *left_out, f"labels are the column {column}",
               *[f"{counted(lost, 'image')} without {column} left out"][:lost]),
        modality=_modality(table),
    )  # fmt: skip


def _archive_tables(tree: Tree) -> list[str]:
    found = tree.with_columns("isic_id", "attribution", "copyright_license")
    return [
        n for n in found if not {"target", "tbp_lv_A", "lesion_id,MONET"} & set(tree.headers[n])
    ]


def _modality(table: pd.DataFrame) -> str:
    if "image_type" not in table:
        return ""
    kinds = set(table["image_type"].str.lower().str.split(":").str[0].str.strip()) - {""}
    words = {"dermoscopic": "dermoscopy", "clinical": "clinical"}
    return words.get(next(iter(kinds)), "") if len(kinds) == 1 else "mixed" if kinds else ""


def _recognise_archive(tree: Tree) -> str:
    if tree.with_columns("lesion_id", "isic_id", "image_type", "skin_tone_class"):
        return ""  # MILK10k
    names = _archive_tables(tree)
    return f"{names[0]} has the columns isic_id, attribution, copyright_license" if names else ""


def find_milk10k(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One-hot truth by lesion, and two images of each: a close-up and a dermoscopic one."""
    truth = common.one_table(tree, tree.with_columns("lesion_id", *MILK_CLASSES), "ground truth")
    names = tree.with_columns("lesion_id", "isic_id", "image_type")
    meta = common.one_table(tree, names, "MILK10k_Training_Metadata.csv")
    labels, notes = common.read_table(tree, truth, "lesion_id")
    labels["label"] = common.one_hot(labels, MILK_CLASSES, truth)
    table, more = common.read_table(tree, meta, "isic_id")
    table["label"] = table["lesion_id"].map(labels.set_index("image_id")["label"]).fillna("")
    lost = int((table["label"] == "").sum())
    table = table[table["label"] != ""].reset_index(drop=True)
    table = common.standard(table, {**COLUMNS, "site": "site"}, meta)
    table, rejected, left_out = common.match_images(table, tree, meta)
    return Found(
        rows=table,
        read=tree.read,
        classes=MILK_CLASSES,
        malignant=malignant_of(MILK_CLASSES),
        rejected=tuple(rejected),
        notes=(*notes, *more, *left_out,
               *[f"{counted(lost, 'image')} of lesions without truth"][:lost],
               "skin_tone_class (0 to 5) is the set's own scale, not Fitzpatrick's"),
    )  # fmt: skip


BCN_COLUMNS = ("bcn_filename", "diagnosis", "lesion_id", "capture_date", "split")


def find_bcn(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split`."""
    name = common.one_table(tree, tree.with_columns(*BCN_COLUMNS), "bcn_20k table")
    table, notes = common.read_table(tree, name, "bcn_filename")
    table = table.rename(columns={"diagnosis": "label", "split": "official_split"})
    table["official_split"] = table["official_split"].str.lower().map(PARTS).fillna("")
    table["label"] = tables.blank_unknown(table["label"])
    known = table["label"] != ""
    table = common.standard(table[known].reset_index(drop=True), COLUMNS, name)
    table, rejected, left_out = common.match_images(table, tree, name)
    classes = tuple(sorted(set(table["label"])))
    lost = int((~known).sum())
    return Found(
        rows=table,
        read=tree.read,
        classes=classes,
        malignant=malignant_of(classes),
        rejected=tuple(rejected),
        notes=(
            *notes,
            *left_out,
            *[f"{counted(lost, 'image')} without a diagnosis left out"][:lost],
        ),
    )


ARCHIVE = Source(
    name="isic-archive",
    title="ISIC Archive",
    find=find_archive,
    recognise=_recognise_archive,
    licence="by image: see the column copyright_license (CC0, CC BY or CC BY-NC)",
    citation="International Skin Imaging Collaboration, isic-archive.com; cite each attribution",
    forbidden=FORBIDDEN,
    options={"label_column": None},
)
MILK10K = Source(
    name="milk10k",
    title="MILK10k (ISIC 2025)",
    find=find_milk10k,
    recognise=columns_test("lesion_id", *MILK_CLASSES),
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="MILK study team: MILK10k, ISIC Archive (2025)",
    modality="mixed",
    expected={"images": 10480, "lesions": 5240},
    forbidden=FORBIDDEN,
)
BCN20000 = Source(
    name="bcn20000",
    title="BCN20000",
    find=find_bcn,
    recognise=columns_test(*BCN_COLUMNS),
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Hernandez-Perez et al.: BCN20000, Sci Data 11, 641 (2024)",
    expected={"images": 18946},
    forbidden=("capture_date",),
)
