"""Label shortcuts: how well things that are not the lesion tell its label.

For each set of features an extremely randomised forest (Geurts, Ernst, Wehenkel 2006) predicts
the label out of fold, folds by group. The measure is the area under the ROC curve of each class
against the rest, averaged over classes: 0.5 is chance, whatever the class counts. Groups are
resampled for the interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold

from lesionlab.array_types import Floats, Ints
from lesionlab.data.audit.artefacts import INDICES
from lesionlab.data.audit.findings import Finding, Grid
from lesionlab.data.audit.material import Material
from lesionlab.data.audit.measure import MEAN, RIM
from lesionlab.data.randomness import philox
from lesionlab.progress import SILENT, Progress

FOLDS = 5
MINIMUM_GROUPS = 10  # groups of a class, below which it is left out
MOST = 12_000  # rows looked at; beyond, whole groups are drawn
REPLICATES = 200
SUSPECT = 0.65  # lower end of the interval from which on a finding is a warning
COMMON = 20  # words of a column; rarer ones are one class of their own


@dataclass(frozen=True)
class Shortcut:
    """Features by a name; `innocent` ones may well tell something of the lesion itself."""

    name: str
    columns: tuple[str, ...]
    innocent: bool = False


SHORTCUTS = (
    Shortcut("age, sex, site, skin type", ("age", "sex", "site", "skin_type"), innocent=True),
    Shortcut("source", ("source",)),
    Shortcut("image size", ("width", "height")),
    Shortcut("file size", ("file_bytes", "bytes_per_pixel")),
    Shortcut("images of the patient or lesion", ("group_size",)),
    Shortcut("mean colour", MEAN, innocent=True),
    Shortcut("border colour", RIM),
    Shortcut("artefact indices", INDICES),
)


def check_shortcuts(material: Material, progress: Progress = SILENT) -> Iterator[Finding]:
    """How well each of `SHORTCUTS` predicts the label."""
    rows, classes = _rows(material)
    if len(classes) < 2:
        yield Finding(
            "shortcuts",
            "note",
            "Label shortcuts: too few to say",
            f"Fewer than two classes have {MINIMUM_GROUPS} groups.",
        )
        return
    features = _features(material).iloc[rows]
    labels = material.table["label"].to_numpy(str)[rows]
    groups = material.groups[rows]
    results = [
        {"name": s.name, **measured(features[list(s.columns)], labels, groups, classes)}
        for s in progress(SHORTCUTS, "testing for shortcuts", len(SHORTCUTS))
    ]
    yield _finding(results, classes, len(rows))


def _rows(material: Material) -> tuple[Ints, tuple[str, ...]]:
    """The rows to use and the classes with enough groups."""
    labels = material.table["label"].to_numpy(str)
    pairs = pd.DataFrame({"label": labels, "group": material.groups}).drop_duplicates()
    counts = pairs["label"].value_counts()
    classes = tuple(c for c in material.dataset.info.classes if counts.get(c, 0) >= MINIMUM_GROUPS)
    readable = (material.measured.table["reason"] == "").to_numpy()
    rows = np.flatnonzero(np.isin(labels, classes) & readable)
    if len(rows) > MOST:
        draw = philox(0, "audit rows")
        order = draw.permutation(int(material.groups.max()) + 1)[material.groups[rows]]
        rows = rows[order < np.sort(order)[MOST]]
    return rows.astype(np.int64), classes


def _features(material: Material) -> pd.DataFrame:
    facts, table = material.measured.table, material.table
    sizes = pd.Series(material.groups).map(pd.Series(material.groups).value_counts())
    return pd.DataFrame(
        {
            **{c: facts[c].to_numpy(float) for c in (*MEAN, *RIM, *INDICES)},
            "width": facts["width"].to_numpy(float),
            "height": facts["height"].to_numpy(float),
            "file_bytes": facts["file_bytes"].to_numpy(float),
            "bytes_per_pixel": (facts["file_bytes"] / (facts["width"] * facts["height"])).to_numpy(
                float
            ),
            "group_size": sizes.to_numpy(float),
            "age": table["age"].to_numpy(float),
            **{c: table[c].to_numpy(object) for c in ("sex", "site", "skin_type", "source")},
        },
        index=table.index,
    )


def encoded(columns: pd.DataFrame) -> Floats:
    """(N, F) numbers: words become indicator columns, an unknown number the median and a flag."""
    parts: list[Floats] = []
    for name in columns:
        values = columns[name]
        if values.dtype.kind == "f":
            unknown = values.isna()
            parts.append(values.fillna(0.0 if unknown.all() else values.median()).to_numpy(float))
            parts.append(unknown.to_numpy(float))
            continue
        common = values.value_counts().index[:COMMON]
        parts += [(values == word).to_numpy(float) for word in common]
    return np.column_stack(parts)


def measured(
    columns: pd.DataFrame, labels: npt.NDArray[np.str_], groups: Ints, classes: tuple[str, ...]
) -> dict[str, Any]:
    """`{value, low, high, n, method, by_class}` of a set of features."""
    x = encoded(columns)
    y = np.searchsorted(np.array(sorted(classes)), labels)
    n = len(np.unique(groups))
    if (x == x[0]).all():
        return {
            "value": 0.5,
            "low": 0.5,
            "high": 0.5,
            "n": n,
            "method": "all images alike",
            "by_class": dict.fromkeys(classes, 0.5),
        }
    probability = _out_of_fold(x, y, groups)
    draws = _resampled(y, probability, groups)
    low, high = np.nanquantile(np.nanmean(draws[1:], axis=1), [0.025, 0.975])
    return {
        "value": float(np.nanmean(draws[0])),
        "low": float(low),
        "high": float(high),
        "n": n,
        "method": f"mean AUC over classes, {FOLDS} folds by group, {REPLICATES} bootstrap "
        "replicates of groups",
        "by_class": {c: float(v) for c, v in zip(sorted(classes), draws[0], strict=True)},
    }


def _out_of_fold(x: Floats, y: Ints, groups: Ints) -> Floats:
    """(N, K) probabilities of each row from a forest that has not seen its group."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    result = np.zeros((len(y), int(y.max()) + 1))
    for train, test in folds.split(x, y, groups):
        forest = ExtraTreesClassifier(
            60,
            min_samples_leaf=max(3, len(y) // 500),
            class_weight="balanced",
            random_state=0,
            n_jobs=-1,
        ).fit(x[train], y[train])
        result[np.ix_(test, forest.classes_)] = forest.predict_proba(x[test])
    return result


def _resampled(y: Ints, probability: Floats, groups: Ints) -> Floats:
    """(1 + REPLICATES, K) AUC of each class against the rest; the first row is the sample's."""
    codes = np.unique(groups, return_inverse=True)[1]
    n = int(codes.max()) + 1
    draw = philox(0, "audit bootstrap")
    weights = draw.multinomial(n, np.full(n, 1 / n), size=REPLICATES)[:, codes]
    each = np.vstack([np.ones((1, len(codes)), np.int64), weights]).astype(np.float32)
    columns = range(probability.shape[1])
    return np.column_stack([_auc(y == k, probability[:, k], each) for k in columns])


def _auc(
    positive: npt.NDArray[np.bool_], score: Floats, weights: npt.NDArray[np.float32]
) -> Floats:
    """(R,) area under the ROC curve for R weightings of the rows; ties count one half."""
    order = np.argsort(score, kind="stable")
    ties = np.unique(score[order], return_index=True)[1]
    up = np.add.reduceat((weights * positive)[:, order], ties, axis=1, dtype=np.float64)
    down = np.add.reduceat((weights * ~positive)[:, order], ties, axis=1, dtype=np.float64)
    below = np.cumsum(down, axis=1) - down / 2
    pairs = up.sum(1) * down.sum(1)
    area: Floats = np.where(pairs > 0, (up * below).sum(1) / np.maximum(pairs, 1e-12), np.nan)
    return area


def _finding(results: list[dict[str, Any]], classes: tuple[str, ...], n: int) -> Finding:
    guilty = {s.name for s in SHORTCUTS if not s.innocent}
    suspect = [r["name"] for r in results if r["name"] in guilty and r["low"] > SUSPECT]
    best = max(results, key=lambda r: float(r["value"]))
    rows = tuple(
        (
            r["name"],
            f"{r['value']:.3f} ({r['low']:.3f} to {r['high']:.3f})",
            *(f"{r['by_class'][c]:.2f}" for c in classes),
        )
        for r in sorted(results, key=lambda r: -float(r["value"]))
    )
    told = f"Suspicious: {', '.join(suspect)}. " if suspect else ""
    return Finding(
        "shortcuts",
        "warning" if suspect else "note",
        "Label shortcuts",
        f"{told}How well features other than the lesion predict the label: {best['name']} alone "
        "reach "
        f"a mean AUC of {best['value']:.2f} (0.5 is chance).",
        len(suspect),
        len(results),
        "A network uses the easiest cue. Ink marks raised the false positives of one network by "
        "about "
        "40 %; others still worked with 70 % of the lesion covered; and winning entries of "
        "competitions were fed file size and images per patient.",
        "crop, re-encode and resize all images in the same way before import; also report the "
        "model with the "
        "lesion masked"
        if suspect
        else "",
        grids=(
            Grid(
                ("feature", "mean AUC (95 % CI)", *classes),
                rows,
                f"Out of fold, {n:,} images, folds and intervals by group. The class columns "
                "hold the AUC of each class versus the rest.",
            ),
        ),
        data={"shortcuts": results},
    )
