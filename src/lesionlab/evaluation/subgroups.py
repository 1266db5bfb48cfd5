"""Does it work alike for everybody? One metric and calibration by age, sex, site, skin tone ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.data.clinical_metadata import AGE_BANDS
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.bootstrap import Resampling, group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    Measure,
    proportion_measure,
    too_few,
    weighted_mean_measure,
)
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import Primary, measured, primary_of

SCHEMA_VERSION = 1
UNKNOWN = "unknown"
RESAMPLING = Resampling(1000)
MOST_LEVELS = 12  # the rarest further ones are counted together as "other"
SIDES = (256, 512, 1024, 2048)  # shorter side of the image in pixels


@dataclass(frozen=True)
class Subgroup:
    """One level of an attribute.

    Where either kind of case has fewer than the stated number of groups, no number has an
    interval and `note` is "too few to say". `calibration` is the observed minus the predicted
    share of malignant cases (0: right on average; above 0: the risk is understated).
    `sensitivity` and `specificity` are those at the threshold, None without one.
    """

    level: str
    n: int
    groups: int
    positives: int
    metric: Measure
    calibration: Measure
    predicted: float | None
    observed: float | None
    sensitivity: Measure | None
    specificity: Measure | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            name: value.to_json() if isinstance(value, Measure) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Attribute:
    """All levels of one attribute, with the same numbers for everybody beside them."""

    name: str
    metric: str
    minimum: int
    everybody: Subgroup
    levels: tuple[Subgroup, ...]
    unknown: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "metric": self.metric,
            "fewest": self.minimum,
            "everybody": self.everybody.to_json(),
            "levels": [s.to_json() for s in self.levels],
            "unknown": self.unknown,
        }


def subgroups(
    predictions: Predictions,
    metadata: pd.DataFrame,
    *,
    malignant: tuple[str, ...],
    attributes: Sequence[str] | None = None,
    metric: str | None = None,
    threshold: float | None = None,
    minimum: int = MINIMUM_GROUPS["subgroup"],
    resampling: Resampling = RESAMPLING,
) -> tuple[Attribute, ...]:
    """The metric, its interval and calibration in every subgroup.

    `metadata` is indexed by image_id, with any of the manifest's columns age, sex, site,
    skin_type, source, width and height. An attribute with a single known level is left out,
    unless `attributes` asks for it. `metric` is one of `primary.PRIMARIES` (default: the AUC of
    the malignant score, or where no class is malignant the mean AUC); `threshold` adds sensitivity
    and specificity of the malignant score at >= it. Raises `BadInput` for an image without a row,
    a repeated row, or an attribute that is not known.
    """
    table = _rows_of(predictions, metadata)
    names = tuple(LEVELS) if attributes is None else tuple(attributes)
    for name in names:
        if name not in LEVELS:
            raise BadInput(f"no subgroup '{name}'", remedy=nearest(name, LEVELS))
    labelled = predictions.is_labelled
    data, table = predictions.take(labelled), table[labelled]
    if metric is None:
        metric = "malignant_roc_auc" if malignant else "roc_auc"
    primary = primary_of(metric, data.classes, malignant)
    mask = np.isin(np.array(data.classes, dtype=object), list(malignant))
    options = _Options(primary, malignant, mask, threshold, minimum, resampling)
    everybody = _measured(data, "all", options)
    found = []
    for name in resampling.progress(names, "subgroups", len(names)):
        level = LEVELS[name](table)
        known = [v for v in _ordered(level) if v != UNKNOWN]
        if attributes is None and len(known) < 2:
            continue
        rows = tuple(_measured(data.take(level == v), v, options) for v in _ordered(level))
        unknown = int((level == UNKNOWN).sum())
        found.append(Attribute(name, metric, minimum, everybody, rows, unknown))
    return tuple(found)


@dataclass(frozen=True)
class _Options:
    primary: Primary
    malignant: tuple[str, ...]
    mask: npt.NDArray[np.bool_]
    threshold: float | None
    minimum: int
    resampling: Resampling


def _rows_of(predictions: Predictions, metadata: pd.DataFrame) -> pd.DataFrame:
    repeated = metadata.index[metadata.index.duplicated()]
    if len(repeated):
        raise BadInput(f"image '{repeated[0]}' has two rows of metadata", remedy="keep one")
    missing = [i for i in predictions.image_id if i not in metadata.index]
    if missing:
        raise BadInput(
            f"{len(missing)} image(s) have no row of metadata, the first is '{missing[0]}'",
            remedy="give the metadata of every image; empty cells are allowed",
        )
    return metadata.loc[list(predictions.image_id)]


Levels = npt.NDArray[np.object_]


def _words(column: str) -> Callable[[pd.DataFrame], Levels]:
    """The source's own words, blank as unknown, the rarest joined as "other"."""

    def of(table: pd.DataFrame) -> Levels:
        if column not in table.columns:
            return np.full(len(table), UNKNOWN, dtype=object)
        text = table[column].fillna("").astype(str).str.strip()
        text = text.where(~text.str.lower().isin({"", "unknown", "nan", "none"}), UNKNOWN)
        counts = text[text != UNKNOWN].value_counts()
        rare = set(counts.index[MOST_LEVELS:])
        return np.asarray(text.where(~text.isin(rare), "other"), dtype=object)

    return of


def _bands(values: pd.Series, edges: Sequence[int], unit: str) -> Levels:
    """Numbers as bands `low-high`; NaN and negative numbers as unknown."""
    names = [f"{low}-{high - 1}{unit}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]}{unit} and over")
    numbers = pd.to_numeric(values, errors="coerce").to_numpy("float64")
    known = numbers >= edges[0]
    place = np.searchsorted(edges, np.where(known, numbers, edges[0]), side="right") - 1
    return np.where(known, np.array(names, dtype=object)[place], UNKNOWN).astype(object)


def _ages(table: pd.DataFrame) -> Levels:
    if "age" not in table.columns:
        return np.full(len(table), UNKNOWN, dtype=object)
    return _bands(table["age"], AGE_BANDS, "")


def _sizes(table: pd.DataFrame) -> Levels:
    """Bands of the shorter side of the original image."""
    if not {"width", "height"} <= set(table.columns):
        return np.full(len(table), UNKNOWN, dtype=object)
    sides = table[["width", "height"]].apply(pd.to_numeric, errors="coerce")
    shorter = sides.min(axis=1, skipna=False).replace(0, np.nan)
    return _bands(shorter, (1, *SIDES), " px")


# attribute -> the level of each row; the names are those of the report.
LEVELS: Mapping[str, Callable[[pd.DataFrame], Levels]] = {
    "age": _ages,
    "sex": _words("sex"),
    "site": _words("site"),
    "skin_type": _words("skin_type"),
    "source": _words("source"),
    "image_size": _sizes,
}


def _ordered(level: Levels) -> list[str]:
    """Levels in reading order: bands by their number, the rest by name; unknown last."""

    def key(value: str) -> tuple[int, float, str]:
        number = value.split("-")[0].split(" ")[0].removesuffix("px")
        rank = {UNKNOWN: 2, "other": 1}.get(value, 0)
        return rank, float(number) if number.isdigit() else float("inf"), value

    return sorted({str(v) for v in level}, key=key)


def _measured(data: Predictions, level: str, o: _Options) -> Subgroup:
    codes, n_groups = group_codes(data.groups)
    is_malignant = o.mask[data.y_true]
    kinds = [is_malignant, ~is_malignant] if o.malignant else _classes(data)
    scarcer = min((len(np.unique(codes[rows])) for rows in kinds), default=0)
    score = score_of(data.y_prob, data.classes, o.malignant) if o.malignant else np.zeros(len(data))
    needed = o.minimum if scarcer >= o.minimum else n_groups + 1  # few of a kind: no interval
    shown = bool(o.malignant) and len(data) > 0
    no_gap = Measure(None, None, None, len(data), "undefined: no malignant class")
    gap = is_malignant - score
    at: tuple[Measure | None, Measure | None] = (None, None)
    if shown and o.threshold is not None:
        at = _at_threshold(is_malignant, score >= o.threshold, codes, scarcer >= o.minimum)
    return Subgroup(
        level,
        len(data),
        n_groups,
        int(is_malignant.sum()),
        _metric(data, scarcer, o),
        weighted_mean_measure(gap, np.ones(len(gap)), codes, needed=needed, bounds=(-1.0, 1.0))
        if shown
        else no_gap,
        float(score.mean()) if shown else None,
        float(is_malignant.mean()) if shown else None,
        *at,
        "" if scarcer >= o.minimum else "too few to say",
    )


def _classes(data: Predictions) -> list[npt.NDArray[np.bool_]]:
    return [data.y_true == k for k in np.unique(data.y_true)]


def _at_threshold(
    is_malignant: npt.NDArray[np.bool_],
    called: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int64],
    enough: bool,
) -> tuple[Measure, Measure]:
    both = (
        proportion_measure(called, is_malignant, codes),
        proportion_measure(~called, ~is_malignant, codes),
    )
    if enough:
        return both
    first, second = (replace(m, low=None, high=None, method="too few to say") for m in both)
    return first, second


def _metric(data: Predictions, scarcer: int, o: _Options) -> Measure:
    """The metric with its interval, or its value alone, or nothing, with the reason."""
    if len(np.unique(data.y_true)) < 2 or scarcer == 0:
        return Measure(None, None, None, len(data), "undefined: one kind of case only")
    resamples = o.resampling.resamples if scarcer >= o.minimum else 20
    seed = o.resampling.seed
    found = measured(data, o.primary, o.malignant, resamples=resamples, seed=seed)
    result = o.primary.measure(found)
    if scarcer < o.minimum and result.value is not None:
        return too_few(result.value, len(data), scarcer, o.minimum)
    return result
