"""Human readers beside a model: pooled votes, published points, and the paired difference.

Pooled votes are one reader: of an image, the share of votes for the malignant classes. Each
image counts once (`weight="image"`), as it does for the model, or by its number of votes
(`weight="read"`), as published pooled numbers do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.data.id_matching import match_ids
from lesionlab.data.taxonomy import counterparts, malignant_of
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation import ranking
from lesionlab.evaluation.bootstrap import RESAMPLING, Resampling, bootstrap, group_codes
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.confusion import ratio
from lesionlab.evaluation.intervals import (
    MINIMUM_GROUPS,
    MOST_UNDEFINED,
    Measure,
    correlations,
    difference_limits,
    effective_groups,
    logit_limits,
    measure,
    spread_of_replicates,
    too_few,
    weighted_mean_measure,
)
from lesionlab.evaluation.metric_table import RANKING_METRICS
from lesionlab.evaluation.metrics import decide
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.votes import Votes

Weight = Literal["image", "read"]
Flags = npt.NDArray[np.bool_]
SCHEMA_VERSION = 1
AT_SPECIFICITY = "sensitivity_at_reader_specificity"
AT_SENSITIVITY = "specificity_at_reader_sensitivity"


@dataclass(frozen=True)
class ReaderPoint:
    """A point on the ROC plot. It is drawn solid only where `same_images` is true."""

    name: str
    sensitivity: Measure
    specificity: Measure
    same_images: bool
    readers: int | None
    source: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "name": self.name,
            "sensitivity": self.sensitivity.to_json(),
            "specificity": self.specificity.to_json(),
            "same_images": self.same_images,
            "readers": self.readers,
            "source": self.source,
        }


@dataclass(frozen=True)
class ReaderComparison:
    """A model against the pooled reader, on the images that both saw.

    `difference` is model minus reader, by name. `beaten` is (readers below the model's curve,
    readers with both kinds of images), None where votes are not told apart by reader.
    """

    point: ReaderPoint
    weight: Weight
    images: int
    groups: int
    reads: int
    without_votes: int
    reader: Mapping[str, Measure]
    model: Mapping[str, Measure]
    difference: Mapping[str, Measure]
    statement: str
    individuals: tuple[ReaderPoint, ...]
    beaten: tuple[int, int] | None
    notes: tuple[str, ...] = ()  # ids that the votes spell otherwise

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "point": self.point.to_json(),
            "weight": self.weight,
            "images": self.images,
            "groups": self.groups,
            "reads": self.reads,
            "without_votes": self.without_votes,
            "reader": {k: m.to_json() for k, m in self.reader.items()},
            "model": {k: m.to_json() for k, m in self.model.items()},
            "difference": {k: m.to_json() for k, m in self.difference.items()},
            "statement": self.statement,
            "individuals": [p.to_json() for p in self.individuals],
            "beaten": self.beaten,
            "notes": list(self.notes),
        }


# Name, study, sensitivity, specificity, readers, images (0: not given here). Pooled, published
# without intervals, and on images that are not the user's: their points are always hollow.
PUBLISHED: tuple[tuple[str, str, float, float, int, int], ...] = (
    ("8 dermatologists, ISIC 2016 subset", "isic2016", 0.82, 0.59, 8, 100),
    ("8 dermatologists and 9 residents, ISIC 2017 subset", "isic2017", 0.760, 0.726, 17, 150),
    ("157 dermatologists, MClass-D", "mclass-d", 0.741, 0.600, 157, 100),
    ("58 dermatologists, Haenssle 2018", "haenssle2018", 0.866, 0.713, 58, 0),
    ("58 dermatologists with clinical data, Haenssle 2018", "haenssle2018", 0.889, 0.757, 58, 0),
)


def published_points(study: str | None = None) -> tuple[ReaderPoint, ...]:
    """Published pooled readers, of one study or of all; `BadInput` for an unknown study.

    >>> [(p.readers, p.same_images) for p in published_points("mclass-d")]
    [(157, False)]
    """
    known = sorted({row[1] for row in PUBLISHED})
    if study is not None and study not in known:
        raise BadInput(f"no published readers of '{study}'", remedy=nearest(study, known))
    points = []
    for name, where, sensitivity, specificity, readers, n in PUBLISHED:
        if study in (None, where):
            both = [
                Measure(v, None, None, n, "as published, without interval")
                for v in (sensitivity, specificity)
            ]
            points.append(ReaderPoint(name, both[0], both[1], False, readers, f"study {where}"))
    return tuple(points)


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


def compare_with_readers(
    predictions: Predictions,
    votes: Votes,
    *,
    malignant: tuple[str, ...],
    held_out: bool,
    name: str = "pooled readers",
    threshold: float | None = None,
    weight: Weight = "image",
    resampling: Resampling = RESAMPLING,
) -> ReaderComparison:
    """Lay pooled readers beside a model, on the images that both saw.

    `malignant` are the model's malignant classes. `held_out` says that training saw none of the
    images (validation, test or out-of-fold predictions); without it the comparison is refused.
    `threshold` (positive at score >= it) adds the model's own operating point. Raises `BadInput`
    where no image is shared, the truths contradict each other, or only one side occurs.
    """
    if not held_out:
        raise BadInput(
            "readers can only be compared with predictions of images that training did not see",
            where=name,
            remedy="give validation, test or out-of-fold predictions, and say so: --held-out",
        )
    data = pair(predictions, votes, malignant, name)
    statistics = difference_statistics(data, weight, threshold)
    observed = statistics(np.ones((1, data.n_groups)))
    drawn = bootstrap(
        statistics, data.n_groups, resamples=resampling.resamples, seed=resampling.seed
    )
    reader, model = reader_measures(data, weight), model_measures(data, weight, threshold)
    difference = {
        key: difference_measure(data, both[0], drawn[key]) for key, both in observed.items()
    }
    without = len(predictions) - len(data.share)
    point = ReaderPoint(
        name,
        reader["sensitivity"],
        reader["specificity"],
        without == 0,
        len(votes.readers) or None,
        f"votes on {len(data.share)} of {len(predictions)} images",
    )
    individuals, beaten = _individuals(predictions, votes, malignant)
    return ReaderComparison(
        point,
        weight,
        len(data.share),
        data.n_groups,
        int(data.reads.sum()),
        without,
        reader,
        model,
        difference,
        statement(name, reader["specificity"], difference[AT_SPECIFICITY]),
        individuals,
        beaten,
        match_ids(predictions.image_id.tolist(), votes.image_id.tolist()).notes(),
    )


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
    """Model minus reader: MOVER from the interval of each and their correlation.

    `values (2,)` are the model's and the reader's, `drawn (B, 2)` their replicates. The spread
    of the difference alone would vanish where a strong model makes next to no error.
    """
    sides = (np.bincount(data.codes[s]) for s in (data.malignant, ~data.malignant))
    fewest, n = min(effective_groups(s.astype(np.float64)) for s in sides), len(data.share)
    value, defined = float(values[0] - values[1]), ~np.isnan(drawn).any(axis=1)
    needed = RANKING_METRICS["sensitivity_at_specificity_80"].minimum
    if fewest < needed - 1e-9 or defined.sum() < (1 - MOST_UNDEFINED) * len(drawn):
        return too_few(value, n, fewest, needed)
    model, reader = (
        logit_limits(float(v), spread_of_replicates(d), fewest)
        for v, d in zip(values, drawn.T, strict=True)
    )
    correlation = float(correlations(drawn)[0, 1])
    found = difference_limits((float(values[0]), float(values[1])), model, reader, correlation)
    method = f"{found.method}, {len(drawn)} resamples of {data.n_groups} groups"
    return measure(value, found.low, found.high, n, method)


def statement(name: str, specificity: Measure, d: Measure) -> str:
    """The paired difference in words."""
    at = f"at the specificity of {name} ({specificity.value or 0:.3f})"
    if d.value is None or d.low is None or d.high is None:
        return f"{at}: too few images to say how the model's sensitivity differs"
    text = (
        f"{at}, the model's sensitivity differs from the pooled reader by {d.value:+.3f} "
        f"(95 % interval {d.low:+.3f} to {d.high:+.3f})"
    )
    return text if d.low > 0 or d.high < 0 else f"{text}: not distinguishable"


def _individuals(
    p: Predictions, votes: Votes, malignant: tuple[str, ...]
) -> tuple[tuple[ReaderPoint, ...], tuple[int, int] | None]:
    """Each reader's own point, and how many of them lie below the model's curve."""
    points, below = [], 0
    for name, own in votes.readers.items():
        try:
            data = pair(p, own, malignant, name)
        except BadInput:
            continue  # this reader saw no shared image, or images of one side only
        found = reader_measures(data, "image")
        both = difference_statistics(data, "image", None)(np.ones((1, data.n_groups)))
        model, reader = both[AT_SPECIFICITY][0]
        below += bool(model > reader)
        points.append(
            ReaderPoint(
                name,
                found["sensitivity"],
                found["specificity"],
                len(data.share) == len(p),
                1,
                f"{len(data.share)} of {len(p)} images",
            )
        )
    return tuple(points), (below, len(points)) if votes.readers else None
