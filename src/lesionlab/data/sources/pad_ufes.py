"""PAD-UFES-20: 2,298 smartphone images of 1,373 patients (Pacheco et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesionlab.data import tables
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source, columns_test
from lesionlab.data.tree import Tree

CLASSES = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
# The misspellings are the table's own.
COLUMNS = ("patient_id", "lesion_id", "gender", "fitspatrick", "region", "diagnostic", "img_id",
           "biopsed")  # fmt: skip
NAMES = {"age": "age", "sex": "gender", "site": "region", "skin_type": "fitspatrick",
         "label": "diagnostic"}  # fmt: skip


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of `metadata.csv`; `img_id` names the file."""
    name = common.one_table(tree, tree.with_columns(*COLUMNS), "metadata.csv")
    table, notes = common.read_table(tree, name, "img_id")
    tables.need_columns(table, [c for c in COLUMNS if c != "img_id"], name)
    common.check_labels(table["diagnostic"], CLASSES, name)
    table = common.standard(table, NAMES, name)
    table, rejected, left_out = common.match_images(table, tree, name)
    return Found(
        rows=table,
        read=tree.read,
        classes=CLASSES,
        malignant=("ACK", "BCC", "MEL", "SCC"),  # as the taxonomy has it: see taxonomy.py on AK
        rejected=tuple(rejected),
        notes=(*notes, *left_out, "ACK counts as malignant here, as AKIEC does in ISIC 2018"),
    )


SOURCE = Source(
    name="pad-ufes-20",
    title="PAD-UFES-20",
    find=find,
    recognise=columns_test(*COLUMNS),
    licence="CC BY 4.0",
    citation="Pacheco et al.: PAD-UFES-20, Data in Brief 32, 106221 (2020)",
    modality="clinical",
    expected={"images": 2298, "patients": 1373, "lesions": 1641,
              "classes": {"ACK": 730, "BCC": 845, "MEL": 52, "NEV": 244, "SCC": 192, "SEK": 235}},
    forbidden=("biopsed",),
)  # fmt: skip
