"""Model minus reader: the interval holds where a strong model makes next to no error."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlab.evaluation.bootstrap import bootstrap
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.limits import wilson
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.reader_pairs import (
    AT_SPECIFICITY,
    Paired,
    difference_measure,
    difference_statistics,
    pair,
)
from lesionlab.evaluation.votes import Votes

CLASSES = ("benign", "malignant")


def studied(
    rng: np.random.Generator, distance: float, reader: tuple[float, float], n: int = 80
) -> Paired:
    """A model whose scores lie `distance` SD apart, and four readers of this sensitivity."""
    y = np.arange(n) % 2
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + distance * (y - 0.5))))
    ids, blank = np.array([f"i{k}" for k in range(n)], object), np.full(n, "", object)
    table = Predictions(ids, blank, blank, CLASSES, y, np.stack([1 - p, p], axis=1))
    yes = rng.binomial(4, np.where(y == 1, reader[0], 1 - reader[1])).astype(np.float64)
    votes = Votes(ids, CLASSES, np.stack([4 - yes, yes], axis=1), y)
    return pair(table, votes, ("malignant",), "readers")


def at_specificity(data: Paired, resamples: int = 200) -> Measure:
    statistics = difference_statistics(data, "image", None)
    seen = statistics(np.ones((1, data.n_groups)))[AT_SPECIFICITY][0]
    drawn = bootstrap(statistics, data.n_groups, resamples=resamples, seed=0)[AT_SPECIFICITY]
    return difference_measure(data, seen, drawn)


def test_both_without_error_still_leave_a_difference_open() -> None:
    """40 of 40 by model and readers: each alone may be as low as Wilson's 0.912."""
    found = at_specificity(studied(np.random.default_rng(0), 20.0, (1.0, 1.0)))
    low = wilson(1.0, 40)[0]
    assert found.value == 0.0
    assert found.low == pytest.approx(low - 1, abs=1e-9)
    assert found.high == pytest.approx(1 - low, abs=1e-9)


def test_the_statistics_are_those_of_both_and_their_difference() -> None:
    data = studied(np.random.default_rng(1), 2.0, (0.8, 0.7))
    for model, reader in (v[0] for v in difference_statistics(data, "image", 0.5)(
        np.ones((1, data.n_groups))
    ).values()):  # fmt: skip
        assert 0 <= model <= 1
        assert 0 <= reader <= 1
    found = at_specificity(data)
    model, reader = difference_statistics(data, "image", None)(np.ones((1, data.n_groups)))[
        AT_SPECIFICITY
    ][0]
    assert found.value == pytest.approx(model - reader)


def test_unequal_patients_count_by_their_effective_number() -> None:
    """Nineteen patients, one of whom has most of the images, are too few."""
    data = studied(np.random.default_rng(2), 2.0, (0.8, 0.7))
    codes = np.minimum(np.arange(80), 37)
    few = Paired(**{**vars(data), "codes": codes, "n_groups": 38})
    assert at_specificity(few).method.startswith("too few to say")


@pytest.mark.slow
def test_the_interval_covers_a_strong_model_on_80_images() -> None:
    """A t interval with the bootstrap's spread covered in 62 % of such studies."""
    rng, covers, studies = np.random.default_rng(3), 0, 200
    distance, (sensitivity, specificity) = 3.6, (0.9, 0.8)
    from scipy.stats import norm

    true = float(norm.sf(norm.ppf(specificity) - distance)) - sensitivity
    for _ in range(studies):
        found = at_specificity(studied(rng, distance, (sensitivity, specificity)))
        assert found.low is not None
        assert found.high is not None
        covers += found.low <= true <= found.high
    assert covers >= 0.92 * studies
