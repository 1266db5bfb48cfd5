"""Does the interval of a paired difference hold the true one? Simulated, design by design.

    python bench/coverage_pairs.py --cache FOLDER              # all designs; resumes; 15 minutes
    python bench/coverage_pairs.py --cache FOLDER --only NAME  # one design
    python bench/coverage.py --cache FOLDER --write            # docs/coverage.md, this table too

Two models score the images of the same groups; of each score a share is common to both. The
probabilities are exact posteriors, so true values come from a large population. "Before" is the
interval of the first edition: DeLong +- 1.96 SE, or a t interval with the spread of the
bootstrap's differences. "False" counts sentences "a difference above ... is excluded" whose bound
is below the true difference. Minimums are left aside: what lies below them is in brackets.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from lesionlab import files
from lesionlab.evaluation import reader_pairs as readers
from lesionlab.evaluation.bootstrap import bootstrap
from lesionlab.evaluation.difference import (
    Difference,
    delong_applies,
    difference_of,
    simultaneous,
)
from lesionlab.evaluation.evaluate import cases_of
from lesionlab.evaluation.limits import Limits, correlations, mean_limits, t_quantile
from lesionlab.evaluation.measured import Measured
from lesionlab.evaluation.paired import delong_difference
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.primary import PRIMARIES, Primary, measured, primary_of
from lesionlab.evaluation.statistics import Statistics
from lesionlab.evaluation.votes import Votes

STUDIES, RESAMPLES = 1000, 400
CLASSES, POPULATION = ("benign", "malignant"), 300_000


@dataclass(frozen=True)
class Design:
    """Models on the same images. `auc` are their true AUCs; `common` is what they share."""

    name: str
    groups: int
    positive: int  # groups
    auc: tuple[float, ...]
    images: int = 1
    icc: float = 0.0
    common: float = 0.5
    tails: int | None = None  # degrees of freedom of t-distributed scores; None: normal


DESIGNS = (
    Design("strong, 30 of 60", 60, 30, (0.995, 0.9995)),
    Design("strong, alike", 60, 30, (0.995, 0.9995), common=0.9),
    Design("strong, 40 of 400", 400, 40, (0.995, 0.998)),
    Design("strong, 40, alike", 400, 40, (0.995, 0.998), common=0.8),
    Design("good, 40 of 400", 400, 40, (0.98, 0.99)),
    Design("6 of 200", 200, 6, (0.9, 0.95)),
    Design("15 of 100", 100, 15, (0.9, 0.99)),
    Design("40 of 200", 200, 40, (0.9, 0.95)),
    Design("equal, 100 of 200", 200, 100, (0.99, 0.99), common=0.8),
    Design("equal, 80 of 400", 400, 80, (0.9, 0.9), common=0.7),
    Design("groups of 3", 100, 25, (0.97, 0.99), images=3, icc=0.5),
    Design("equal, groups of 3", 60, 30, (0.9, 0.9), images=3, icc=0.5),
    Design("alike, 30 of 91", 91, 30, (0.8, 0.81), common=0.99),
    Design("alike, 100 of 200", 200, 100, (0.85, 0.86), common=0.98),
    Design("heavy tails", 400, 80, (0.98, 0.99), common=0.8, tails=5),
)
FIVE = Design("five equal models", 200, 60, (0.9,) * 5)
READER = (0.85, 0.7)  # sensitivity and specificity of each of four readers
READ_DESIGNS = (
    Design("readers, strong model", 80, 40, (0.995, 0.5)),
    Design("readers, good model", 80, 40, (0.95, 0.5)),
    Design("readers, 30 of 200", 200, 30, (0.97, 0.5)),
)


def draw(d: Design, rng: np.random.Generator, population: bool = False) -> list[Predictions]:
    """Both models' predictions of one study; of a population, with one image a group."""
    groups = POPULATION if population else d.groups
    images = 1 if population else d.images
    code = np.repeat(np.arange(groups), images)
    positive = round(groups * d.positive / d.groups)
    y = (np.arange(groups) < positive)[code].astype(np.int64)

    def noise() -> np.ndarray:
        each = (rng.normal(size=groups)[code], rng.normal(size=len(code)))
        if d.tails:
            each = (rng.standard_t(d.tails, groups)[code], rng.standard_t(d.tails, len(code)))
        return np.sqrt(d.icc) * each[0] + np.sqrt(1 - d.icc) * each[1]

    shared, prevalence = noise(), d.positive / d.groups
    models = []
    for auc in d.auc:
        distance = stats.norm.ppf(auc) * np.sqrt(2)
        x = np.sqrt(d.common) * shared + np.sqrt(1 - d.common) * noise() + distance * y
        p = expit(distance * x - distance**2 / 2 + logit(prevalence))
        models.append(table(code, y, p))
    return models


def table(code: np.ndarray, y: np.ndarray, p: np.ndarray) -> Predictions:
    """Predictions of two classes, grouped by lesion."""
    ids = np.array([f"i{k}" for k in range(len(y))], dtype=object)
    lesions = np.array([f"L{c}" for c in code], dtype=object)
    blank = np.full(len(y), "", dtype=object)
    return Predictions(ids, blank, lesions, CLASSES, y, np.stack([1 - p, p], axis=1))


def truths(d: Design) -> dict[str, float]:
    """The true difference in every metric."""
    found = []
    for p in draw(d, np.random.default_rng(1), population=True):
        c = cases_of(p, ("malignant",), None)
        values = Statistics(c, bands=False)(np.ones((1, c.n_groups)))
        found.append({k: float(v[0]) for k, v in values.items() if v.ndim == 1})
    first, second = ({name: of(m, name) for name in PRIMARIES} for m in found)
    return {name: first[name] - second[name] for name in PRIMARIES}


def of(values: dict[str, float], name: str) -> float:
    """One metric of a population, by the name that `compare` knows it by."""
    metric = primary_of(name, CLASSES, ("malignant",))
    return values[f"{metric.statistic}:{metric.scores[0]}" if metric.scores else name]


def before(metric: Primary, a: Measured, b: Measured, d: Difference) -> Limits:
    """The first edition's interval."""
    if delong_applies(metric, a.cases):
        (positive, x), (_, y) = (m.cases.scores[metric.scores[0]] for m in (a, b))
        value, error, _ = delong_difference(positive, x, y)
        return Limits(value - 1.96 * error, value + 1.96 * error, "DeLong")
    drawn = np.stack([c.drawn for c in d.components], axis=1)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    values = np.array([c.value for c in d.components])
    half = np.array([t_quantile(c.first.groups - 1) for c in d.components]) * drawn.std(0, ddof=1)
    return mean_limits(values, values - half, values + half, correlations(drawn))


def simulate(d: Design, studies: int) -> dict[str, Any]:
    """Counts by metric: intervals, covering ones, false exclusions; before and now."""
    true, rng, tally = truths(d), np.random.default_rng([3, *d.name.encode()]), {}
    enough: dict[str, int] = {}
    for s in range(studies):
        models = draw(d, rng)
        for name in PRIMARIES:
            metric = primary_of(name, CLASSES, ("malignant",))
            if name.startswith("malignant") and metric.statistic != "partial_auc_80":
                continue  # of two classes: the same as without
            a, b = (
                measured(p, metric, ("malignant",), resamples=RESAMPLES, seed=s) for p in models
            )
            stated = difference_of(metric, a, b)
            enough[name] = enough.get(name, 0) + int(stated.fewest >= stated.needed)
            found = replace(stated, needed=0)  # what would the interval be worth all the same?
            for kind, limits in (("now", found.limits()), ("before", before(metric, a, b, found))):
                count(tally.setdefault(f"{name}|{kind}", [0, 0, 0, 0.0]), limits, true[name], found)
    return {"design": asdict(d), "studies": studies, "true": true, "tally": tally, "enough": enough}


def count(row: list[Any], limits: Limits, true: float, d: Difference) -> None:
    """Add one study."""
    if np.isnan(limits.low + limits.high):
        return
    inside = limits.low - 1e-12 <= true <= limits.high + 1e-12
    excluded = d.discordant or limits.method == "DeLong"
    bound = max(abs(limits.low), abs(limits.high))
    row[0] += 1
    row[1] += int(inside)
    row[2] += int(excluded and limits.low <= 0 <= limits.high and abs(true) > bound)
    row[3] += float(limits.high - limits.low)


def simulate_readers(d: Design, studies: int) -> dict[str, Any]:
    """Model against four pooled readers, at their specificity."""
    rng, row = np.random.default_rng([4, *d.name.encode()]), [0, 0, 0, 0.0]
    sensitivity, specificity = READER
    cut = stats.norm.ppf(specificity)  # the negatives' scores are standard normal
    distance = stats.norm.ppf(d.auc[0]) * np.sqrt(2)
    true = float(stats.norm.sf(cut - distance)) - sensitivity
    old = [0, 0, 0, 0.0]
    for s in range(studies):
        p = draw(d, rng)[0]
        chance = np.where(p.y_true == 1, sensitivity, 1 - specificity)
        yes = rng.binomial(4, chance).astype(np.float64)
        votes = Votes(p.image_id, CLASSES, np.stack([4 - yes, yes], axis=1), p.y_true)
        data = readers.pair(p, votes, ("malignant",), "readers")
        statistics = readers.difference_statistics(data, "image", None)
        seen = statistics(np.ones((1, data.n_groups)))[readers.AT_SPECIFICITY][0]
        drawn = bootstrap(statistics, data.n_groups, resamples=RESAMPLES, seed=s)
        m = readers.difference_measure(data, seen, drawn[readers.AT_SPECIFICITY])
        spread = (drawn[readers.AT_SPECIFICITY] @ [1.0, -1.0]).std(ddof=1)
        half = t_quantile(min(d.positive, d.groups - d.positive) - 1) * spread
        value = float(seen[0] - seen[1])
        for tally, low, high in ((row, m.low, m.high), (old, value - half, value + half)):
            tally[0] += 1
            tally[1] += int(low - 1e-12 <= true <= high + 1e-12)
            tally[3] += float(high - low)
    tally = {"sensitivity at the readers' specificity|now": row}
    tally["sensitivity at the readers' specificity|before"] = old
    return {"design": asdict(d), "studies": studies, "true": {"readers": true}, "tally": tally}


def simulate_five(d: Design, studies: int) -> dict[str, Any]:
    """How often all ten intervals of five equal models hold 0: adjusted, and each at 95 %."""
    rng, tally = np.random.default_rng([6, *d.name.encode()]), {}
    pairs = list(itertools.combinations(range(len(d.auc)), 2))
    for s in range(studies):
        models = draw(d, rng)
        for name in ("roc_auc", "accuracy"):
            metric = primary_of(name, CLASSES, ("malignant",))
            found = [
                measured(p, metric, ("malignant",), resamples=RESAMPLES, seed=s) for p in models
            ]
            both = [(found[i], found[j], difference_of(metric, found[i], found[j]))
                    for i, j in pairs]  # fmt: skip
            level = simultaneous(0.95, len(pairs))
            now = [x.limits(level) for _, _, x in both]
            old = [before(metric, a, b, x) for a, b, x in both]
            for kind, limits in (("now", now), ("before", old)):
                row = tally.setdefault(f"{name}|{kind}", [0, 0, 0, 0.0])
                row[0] += 1
                row[1] += int(all(v.low <= 0 <= v.high for v in limits))
                row[3] += float(np.mean([v.high - v.low for v in limits]))
    return {"design": asdict(d), "studies": studies, "tally": tally}


def main() -> None:
    """Run what the cache lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished designs")
    parser.add_argument("--only", help="the name of one design")
    parser.add_argument("--studies", type=int, default=STUDIES)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    for d in (*DESIGNS, *READ_DESIGNS, FIVE):
        path = options.cache / f"pairs {d.name}.json"
        if options.only in (None, d.name) and not path.exists():
            start = time.process_time()
            run = simulate_five if d is FIVE else simulate
            run = simulate_readers if d in READ_DESIGNS else run
            files.write_json(path, run(d, options.studies))
            print(f"{d.name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
