"""What is in a data set: counts by everything that the manifest knows, sizes and aspects."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.audit.findings import Grid, share
from lesionlab.data.audit.material import Material, lesion_keys
from lesionlab.data.split_names import SPLITS

AGES = (0, 20, 30, 40, 50, 60, 70, 80, 200)
MOST = 12  # words of a column that are shown
ASPECTS = (0.0, 0.5, 0.7, 0.9, 1.1, 1.3, 1.4, 1.6, 2.0, np.inf)  # width over height


def inventory(material: Material) -> dict[str, Any]:
    """`{images, patients, lesions, groups, classes, by: {column: {class: {word: n}}}, sizes,
    aspects}`; an unknown word is ""."""
    table, facts = material.table, material.measured.table
    classes = material.dataset.info.classes
    labels = table["label"].astype(str)
    keys = {
        "images": pd.Series(np.arange(len(table)), table.index).astype(str),
        "patients": table["patient_id"].astype(str),
        "lesions": lesion_keys(table),
        "groups": pd.Series(material.groups, table.index).astype(str),
    }
    totals = {name: int(k[k != ""].nunique()) for name, k in keys.items()}
    by_class = {
        c: {name: int(k[(k != "") & (labels == c)].nunique()) for name, k in keys.items()}
        for c in classes
    }
    columns = {
        "split": table["split"].astype(str),
        "source": table["source"].astype(str),
        "age": _bands(table["age"]),
        "sex": table["sex"].astype(str),
        "site": table["site"].astype(str),
        "skin_type": table["skin_type"].astype(str),
    }
    return {
        **totals,
        "classes": by_class,
        "by": {name: _crossed(values, labels, classes) for name, values in columns.items()},
        "sizes": _sizes(facts),
        "aspects": _aspects(facts),
    }


def _bands(age: pd.Series) -> pd.Series:
    names = [f"{a}–{b - 1}" for a, b in pairwise(AGES[:-1])] + [f"{AGES[-2]}+"]
    bands = pd.cut(age, list(AGES), right=False, labels=names)
    return pd.Series(bands.astype(object).where(bands.notna(), ""), age.index)


def _crossed(
    values: pd.Series, labels: pd.Series, classes: tuple[str, ...]
) -> dict[str, dict[str, int]]:
    """`{word: {class: n}}`, parts and age bands in their order, other words by frequency."""
    counts = pd.crosstab(values, labels)
    order = list(values.value_counts().index)
    if set(order) <= {*SPLITS, ""}:
        order = [p for p in (*SPLITS, "") if p in order]
    elif values.name == "age" or any("–" in str(w) for w in order):
        order = sorted(order, key=lambda w: (w == "", int(str(w).split("–")[0].rstrip("+") or 0)))
    return {str(w): {c: int(counts.loc[w].get(c, 0)) for c in classes} for w in order}


def _sizes(facts: pd.DataFrame) -> dict[str, int]:
    known = facts[facts["reason"] == ""]
    words = known["width"].astype(int).astype(str) + " x " + known["height"].astype(int).astype(str)
    return {str(k): int(n) for k, n in words.value_counts().items()}


def _aspects(facts: pd.DataFrame) -> dict[str, int]:
    known = facts[facts["reason"] == ""]
    counts, _ = np.histogram(known["width"] / known["height"], np.array(ASPECTS))
    names = [f"{a:g}–{b:g}" for a, b in pairwise(ASPECTS)]
    return {n.replace("–inf", "+"): int(k) for n, k in zip(names, counts, strict=True)}


def grids(stock: dict[str, Any]) -> list[Grid]:
    """The inventory as tables for a reader; columns of which nothing is known are left out."""
    classes = list(stock["classes"])
    units = ("images", "patients", "lesions", "groups")
    used = [u for u in units if stock[u]]
    rows = tuple((c, *(f"{stock['classes'][c][u]:,}" for u in used)) for c in classes)
    total = ("all", *(f"{stock[u]:,}" for u in used))
    result = [Grid(("class", *used), (*rows, total), "Classes")]
    for name, words in stock["by"].items():
        if set(words) != {""}:
            result.append(_column(name, words, classes, stock["images"]))
    return result


def _column(name: str, words: dict[str, dict[str, int]], classes: list[str], images: int) -> Grid:
    shown = list(words)[:MOST]
    rest = [w for w in words if w not in shown]
    entries = [(w or "unknown", words[w]) for w in shown]
    if rest:
        more = {c: sum(words[w][c] for w in rest) for c in classes}
        entries.append((f"{len(rest)} others", more))
    rows = tuple(
        (
            word,
            f"{sum(counts.values()):,} ({share(sum(counts.values()), images)})",
            *(f"{counts[c]:,}" for c in classes),
        )
        for word, counts in entries
    )
    title = name.replace("_", " ")
    return Grid((title, "images", *classes), rows, f"By {title}")
