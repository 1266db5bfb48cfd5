"""PH2: 200 dermoscopy images with lesion masks (Mendonca et al. 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Source
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

LABELS = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
FIELDS = ("asymmetry", "pigment_network", "dots_globules", "streaks", "regression_areas",
          "blue_whitish_veil")  # fmt: skip


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of `PH2_dataset.txt`; the image is `IMDxxx.bmp`, the mask `IMDxxx_lesion.bmp`."""
    names = tree.named(r"PH2_dataset\.txt")
    name = common.one_table(tree, names, "PH2_dataset.txt")
    table = parse(tree.read(name).decode("latin-1"), name)
    masks = common.images_by_stem(tree, tree.named(r"IMD\d+_lesion\.(bmp|png)"))
    table, rejected, notes = common.match_images(table, tree, name, r"_(lesion|roi|R\d+_Label\d*)$")
    table["mask_file"] = (table["image_id"] + "_lesion").map(masks).fillna("")
    if (table["mask_file"] == "").all():
        table = table.drop(columns="mask_file")
    return Found(
        rows=table,
        read=tree.read,
        classes=tuple(LABELS.values()),
        malignant=("melanoma",),
        rejected=tuple(rejected),
        notes=tuple(notes),
    )


def parse(text: str, where: str) -> pd.DataFrame:
    """The table between `||`: name, clinical diagnosis, and the dermoscopic structures."""
    rows = []
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("||")]
        if not cells[0].startswith("IMD") or len(cells) < 3:
            continue
        if cells[2] not in LABELS:
            raise BadInput(f"diagnosis '{cells[2]}' of {cells[0]} is not 0, 1 or 2", where=where)
        found = [c.strip() for cell in cells[3:] for c in cell.split("|")]
        rows.append({"image_id": cells[0], "label": LABELS[cells[2]], "histology": cells[1],
                     **dict(zip(FIELDS, found, strict=False))})  # fmt: skip
    if not rows:
        raise BadInput("no rows such as '|| IMD003 || ... ||'", where=where)
    return pd.DataFrame(rows).fillna("")


def recognise(tree: Tree) -> str:
    """Why a tree is PH2, or ""."""
    names = tree.named(r"PH2_dataset\.txt")
    return f"it holds {names[0]}" if names else ""


SOURCE = Source(
    name="ph2",
    title="PH2",
    find=find,
    recognise=recognise,
    licence="research and education only (ADDI project)",
    citation="Mendonca et al.: PH2, a dermoscopic image database, EMBC 2013",
    expected={"images": 200,
              "classes": {"common nevus": 80, "atypical nevus": 80, "melanoma": 40}},
    # The structures are a dermatologist's reading; histology is the answer.
    forbidden=("histology", *FIELDS),
)  # fmt: skip
