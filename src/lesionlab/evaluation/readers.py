"""Human readers beside a model: pooled votes, published points, and the paired difference.

Pooled votes are one reader: of an image, the share of votes for the malignant classes. Each
image counts once (`weight="image"`), as it does for the model, or by its number of votes
(`weight="read"`), as published pooled numbers do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.data.id_matching import match_ids
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.bootstrap import RESAMPLING, Resampling, bootstrap
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.reader_pairs import (
    AT_SPECIFICITY,
    Weight,
    difference_measure,
    difference_statistics,
    model_measures,
    pair,
    reader_measures,
)
from lesionlab.evaluation.votes import Votes

SCHEMA_VERSION = 1


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
