"""The ABCD numbers of the lesions of the explained part. Needs the extra `train`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.api.explain_case import ExplainSession
from lesionlab.data.abcd import NAMES, abcd_table
from lesionlab.data.images import open_image
from lesionlab.reporting.language import Language

ON_CARD = ("asymmetry", "border_irregularity", "colour_variegation", "diameter")


def lesion_numbers(case: ExplainSession) -> pd.DataFrame | None:
    """`image_id`, the numbers, `label`: a row an image of the part; None without masks.

    The pixels are those of the original images, and so are the lengths.
    """
    masks = case.masks
    if masks is None or not masks.known[case.rows].any():
        return None
    table = case.dataset.table
    progress = iter(case.progress(range(len(case.rows)), "lesion geometry", len(case.rows)))

    def picture(i: int) -> npt.NDArray[np.uint8]:
        path = case.dataset.image_path(str(table["path"].iloc[case.rows[i]]))
        return np.asarray(open_image(path).convert("RGB"))

    def mask(i: int) -> npt.NDArray[np.bool_] | None:
        next(progress, None)
        row = int(case.rows[i])
        return masks.original(row) if masks.known[row] else None

    ids = [str(v) for v in table["image_id"].iloc[case.rows]]
    found = abcd_table(ids, picture, mask)
    next(progress, None)
    return found.assign(label=table["label"].iloc[case.rows].to_numpy())


def lesions_by_class(
    classes: tuple[str, ...], lesions: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Quartiles of each number by class."""
    if lesions is None:
        return []
    rows = []
    for name in classes:
        mine = lesions[(lesions["label"] == name) & lesions["area"].notna()]
        quartiles = {
            k: [None if pd.isna(v) else float(v) for v in mine[k].quantile([0.25, 0.5, 0.75])]
            for k in NAMES
        }
        rows.append({"label": name, "n": len(mine), **quartiles})
    return rows


def lesion_of(lesions: pd.DataFrame | None, row: int) -> dict[str, float] | None:
    """The numbers of the image in a row of the predictions; None where it has no lesion's mask."""
    if lesions is None or pd.isna(lesions["area"].iloc[row]):
        return None
    return {k: float(lesions[k].iloc[row]) for k in NAMES}


def card_facts(lesion: dict[str, float] | None, words: Language) -> list[tuple[str, str]]:
    """Name and value of the numbers that stand on a case's card; [] without a mask."""
    if lesion is None:
        return []
    names = [words.name("abcd", k) for k in ON_CARD]
    # The other names on a card begin small.
    return [(n[:1].lower() + n[1:], _text(lesion[k])) for n, k in zip(names, ON_CARD, strict=True)]


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"
