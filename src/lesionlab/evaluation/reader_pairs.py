"""A model and its readers on the images that both saw: paired rows, numbers, and differences.

An image counts once (`weight="image"`), as it does for the model, or by its number of votes
(`weight="read"`), as published pooled numbers do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.data.id_matching import match_ids
from lesionlab.data.taxonomy import counterparts, malignant_of
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation import ranking
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.confusion import ratio
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    MOST_UNDEFINED,
    Measure,
    effective_groups,
    enough,
    measure,
    too_few,
    weighted_mean_measure,
)
from lesionlab.evaluation.limits import (
    correlations,
    difference_limits,
    not_narrower,
    share_limits,
    spread_of_replicates,
)
from lesionlab.evaluation.metric_table import RANKING_METRICS
from lesionlab.evaluation.metrics import decide
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.votes import Votes

Weight = Literal["image", "read"]
Flags = npt.NDArray[np.bool_]

AT_SPECIFICITY = "sensitivity_at_reader_specificity"
AT_SENSITIVITY = "specificity_at_reader_sensitivity"


@dataclass(frozen=True)
class Paired:
    """A model and its readers on N images that both saw.

    `score (N,)` is the malignant score, `share (N,)` the share of malignant votes, `reads (N,)`
    the number of votes. `right` and `hit (N,)` are the model's and the readers' shares of right
    classes; None where their classes do not answer to each other.
    """

    y_true: Ints
    malignant: Flags
    score: Floats
    share: Floats
    reads: Floats
    right: Floats | None
    hit: Floats | None
    codes: Ints
    n_groups: int


def pair(p: Predictions, votes: Votes, malignant: tuple[str, ...], name: str) -> Paired:
    """The labelled predictions that have votes, with them; see `compare_with_readers`."""
    unknown = [c for c in malignant if c not in p.classes]
    if unknown or not malignant:
        what = f"malignant class '{unknown[0]}' is not predicted" if unknown else "no class"
        remedy = nearest(unknown[0], p.classes) if unknown else "name the malignant classes"
        raise BadInput(what, where=name, remedy=remedy)
    match = match_ids(p.image_id.tolist(), votes.image_id.tolist())
    rows = np.flatnonzero(match.found & p.is_labelled)
    if not len(rows):
        raise BadInput(
            "no labelled image has votes",
            where=name,
            remedy=f"compare '{p.image_id[0]}' with '{votes.image_id[0]}'",
        )
    shared, at = p.take(rows), match.places[rows]
    counts, theirs = votes.counts[at], votes.y_true[at]
    mask = np.isin(np.array(p.classes, dtype=object), list(malignant))
    columns, answer = vote_columns(votes.classes, p.classes, malignant)
    is_malignant = mask[shared.y_true]
    if is_malignant.all() or not is_malignant.any():
        raise BadInput("the shared images are all malignant, or all benign", where=name)
    wrong = np.flatnonzero((theirs >= 0) & (columns[theirs] != is_malignant))
    if len(wrong):
        raise BadInput(
            f"{len(wrong)} image(s) are malignant in one truth and benign in the other, the first "
            f"is '{shared.image_id[wrong[0]]}'",
            where=name,
        )
    reads = counts.sum(axis=1)
    right = hit = None
    if answer is not None:
        right = (decide(shared.y_prob) == shared.y_true).astype(np.float64)
        hit = counts[np.arange(len(at)), answer[shared.y_true]] / reads
    codes, n_groups = group_codes(shared.groups)
    share = counts[:, columns].sum(axis=1) / reads
    score = score_of(shared.y_prob, p.classes, malignant)
    return Paired(shared.y_true, is_malignant, score, share, reads, right, hit, codes, n_groups)


def vote_columns(
    votes: tuple[str, ...], classes: tuple[str, ...], malignant: tuple[str, ...]
) -> tuple[Flags, Ints | None]:
    """Which vote classes are malignant; and (K,) the vote class of each class of the model.

    The latter is None where they do not answer one to one; then the taxonomy says which of the
    readers' classes are malignant.
    """
    found = counterparts(classes, votes)
    matched = {c: v for c, v in found.items() if v is not None}
    if len(matched) == len(classes) == len(votes) == len(set(matched.values())):
        named = {matched[c] for c in malignant}
        answer = np.array([votes.index(matched[c]) for c in classes], np.int64)
        return np.array([v in named for v in votes]), answer
    known = set(malignant_of(votes))
    if not known:
        raise BadInput(f"which of the readers' classes are malignant? ({', '.join(votes)})")
    return np.array([v in known for v in votes]), None


def reader_measures(data: Paired, weight: Weight) -> dict[str, Measure]:
    """The pooled reader's sensitivity, specificity and, where classes answer, accuracy."""
    result = {
        "sensitivity": mean_share(data.share, data.malignant, data, weight),
        "specificity": mean_share(1 - data.share, ~data.malignant, data, weight),
    }
    if data.hit is not None:
        everyone = np.ones(len(data.hit), bool)
        result["accuracy"] = mean_share(data.hit, everyone, data, weight)
    return result


def model_measures(data: Paired, weight: Weight, threshold: float | None) -> dict[str, Measure]:
    """The model's numbers on the same images, by the same weights."""
    result = {}
    if threshold is not None:
        called = (data.score >= threshold).astype(np.float64)
        result["sensitivity"] = mean_share(called, data.malignant, data, weight)
        result["specificity"] = mean_share(1 - called, ~data.malignant, data, weight)
    if data.right is not None:
        everyone = np.ones(len(data.right), bool)
        result["accuracy"] = mean_share(data.right, everyone, data, weight)
    return result


def mean_share(part: Floats, rows: Flags, data: Paired, weight: Weight) -> Measure:
    """The weighted mean of shares over some images; votes that agree on an image are one image."""
    whole = _weights(data, weight) * rows
    return weighted_mean_measure(part, whole, data.codes, needed=MINIMUM_GROUPS["proportion"])


def _weights(data: Paired, weight: Weight) -> Floats:
    return data.reads if weight == "read" else np.ones(len(data.reads))


def difference_statistics(
    data: Paired, weight: Weight, threshold: float | None
) -> Callable[[Floats], dict[str, Floats]]:
    """A function of group counts (b, G): of each number (b, 2), model and pooled reader."""
    w = _weights(data, weight)
    ranked = ranking.rank(data.malignant, data.score, data.codes, w)
    called = None if threshold is None else (data.score >= threshold).astype(np.float64)
    everyone = np.ones(len(w), bool)

    def mean(counts: Floats, part: Floats, rows: Flags) -> Floats:
        a = np.bincount(data.codes, part * w * rows, data.n_groups)
        d = np.bincount(data.codes, w * rows, data.n_groups)
        return ratio(counts @ a, counts @ d)

    def of(counts: Floats) -> dict[str, Floats]:
        sensitivity = mean(counts, data.share, data.malignant)
        specificity = mean(counts, 1 - data.share, ~data.malignant)
        c = ranking.ranked_counts(ranked, np.ascontiguousarray(counts.T))
        found = {
            AT_SPECIFICITY: [_best_sensitivity(c, specificity), sensitivity],
            AT_SENSITIVITY: [_best_specificity(c, sensitivity), specificity],
        }
        if called is not None:
            found["sensitivity"] = [mean(counts, called, data.malignant), sensitivity]
            found["specificity"] = [mean(counts, 1 - called, ~data.malignant), specificity]
        if data.right is not None and data.hit is not None:
            both = (data.right, data.hit)
            classes = [data.y_true == k for k in np.unique(data.y_true)]
            found["accuracy"] = [mean(counts, v, everyone) for v in both]
            found["mean_recall"] = [
                np.mean([mean(counts, v, rows) for rows in classes], axis=0) for v in both
            ]
        return {key: np.stack(pair, axis=1) for key, pair in found.items()}

    return of


def _best_sensitivity(c: ranking.RankedCounts, specificity: Floats) -> Floats:
    """The highest sensitivity of a threshold with at least this specificity, both (b,)."""
    allowed = c.fp <= c.negatives * (1 - specificity) + 1e-9
    return ratio(np.where(allowed, c.tp, 0.0).max(axis=0, initial=0.0), c.positives)


def _best_specificity(c: ranking.RankedCounts, sensitivity: Floats) -> Floats:
    """The highest specificity of a threshold with at least this sensitivity, both (b,)."""
    allowed = c.tp >= c.positives * sensitivity - 1e-9
    fewest = np.where(allowed, c.fp, c.negatives).min(axis=0)
    return 1 - ratio(fewest, c.negatives)


def difference_measure(data: Paired, values: Floats, drawn: Floats) -> Measure:
    """Model minus reader, from the interval of each and their correlation, as models compare.

    `values (2,)` are the model's and the reader's, `drawn (B, 2)` their replicates.
    """
    sides = (np.bincount(data.codes[s]) for s in (data.malignant, ~data.malignant))
    fewest, n = min(effective_groups(s.astype(np.float64)) for s in sides), len(data.share)
    value, defined = float(values[0] - values[1]), ~np.isnan(drawn).any(axis=1)
    needed = RANKING_METRICS["sensitivity_at_specificity_80"].minimum
    if not enough(fewest, needed) or defined.sum() < (1 - MOST_UNDEFINED) * len(drawn):
        return too_few(value, n, fewest, needed)
    model, reader = (
        share_limits(float(v), spread_of_replicates(d), fewest)
        for v, d in zip(values, drawn.T, strict=True)
    )
    correlation = float(correlations(drawn)[0, 1])
    found = difference_limits((float(values[0]), float(values[1])), model, reader, correlation)
    gap = spread_of_replicates(drawn[:, 0] - drawn[:, 1])
    found = not_narrower(found, value, gap, fewest)
    method = f"{found.method}, {len(drawn)} resamples of {data.n_groups} groups"
    return measure(value, found.low, found.high, n, method)
