"""Coverage of the paired difference's interval, and level of its test, by simulation.

    python bench/compare_coverage.py [--studies 200]

Two models score the images of G patients; both share each patient's difficulty (intra-cluster
correlation `icc`). A large population gives the true difference. Under `null` both models are
equally good, and the share of p <= 0.05 should be near 0.05. The table is in docs/scorers.md.
"""

from __future__ import annotations

import argparse

import numpy as np

from lesionlab.evaluation import metrics
from lesionlab.evaluation.compare import compare_predictions
from lesionlab.evaluation.predictions import Predictions

CELLS = [  # patients, images a patient, icc, share of positive patients
    (200, 1, 0.0, 0.2),
    (60, 3, 0.5, 0.5),
    (60, 3, 0.5, 0.2),
    (200, 3, 0.5, 0.1),
]
PRIMARIES = ("roc_auc", "balanced_accuracy")
SKILL = (1.6, 1.1)


def study(
    rng: np.random.Generator, g: int, m: int, icc: float, share: float, skill: tuple[float, float]
) -> list[tuple[str, Predictions]]:
    """Two models on the same images of g patients, m images each, one label a patient."""
    label = (rng.random(g) < share).astype(np.int64)
    label[:4] = (0, 0, 1, 1)
    group = np.repeat(np.arange(g), m)
    y = label[group]
    hard = np.sqrt(icc / 2) * rng.normal(size=g)[group]  # shared by both models
    ids = np.array([f"i{k}" for k in range(g * m)], dtype=object)
    owner = np.array([f"p{k}" for k in group], dtype=object)
    models = []
    for name, s in zip("ab", skill, strict=True):
        own = np.sqrt(icc / 2) * rng.normal(size=g)[group]
        z = s * (2 * y - 1) / 2 + hard + own + np.sqrt(1 - icc) * rng.normal(size=g * m)
        p = 1 / (1 + np.exp(-2 * z))
        prob = np.stack([1 - p, p], axis=1)
        blank = np.full(g * m, "", dtype=object)
        models.append((name, Predictions(ids, owner, blank, ("benign", "malignant"), y, prob)))
    return models


def truth(cell: tuple[int, int, float, float], primary: str) -> float:
    """The difference in a population of 40,000 patients with one image each."""
    models = study(np.random.default_rng(1), 40_000, 1, cell[2], cell[3], SKILL)
    values = []
    for _, p in models:
        decided = metrics.decide(p.y_prob)
        values.append(
            {
                "roc_auc": lambda p=p: metrics.roc_auc(p.y_true, p.y_prob[:, 1]),
                "balanced_accuracy": lambda p=p, d=decided: metrics.balanced_accuracy(p.y_true, d),
            }[primary]()
        )
    return values[0] - values[1]


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    studies = parser.parse_args().studies
    print("| patients x images | ICC | positive | metric | coverage | level | too few |")
    print("|---|---|---|---|---|---|---|")
    for cell in CELLS:
        for primary in PRIMARIES:
            wanted = truth(cell, primary)
            covered, rejected, silent = 0, 0, 0
            for number in range(studies):
                rng = np.random.default_rng([5, number])
                pair = compare_predictions(
                    study(rng, *cell, SKILL), primary=primary, resamples=400, seed=number
                ).pairs[0]
                d = pair.difference
                if d.low is None or d.high is None:
                    silent += 1
                else:
                    covered += d.low <= wanted <= d.high
                null = study(rng, *cell, (1.3, 1.3))
                rejected += (
                    compare_predictions(null, primary=primary, resamples=20, seed=number)
                    .pairs[0]
                    .p_value
                    <= 0.05
                )
            told = max(studies - silent, 1)
            g, m, icc, share = cell
            print(
                f"| {g} x {m} | {icc} | {share} | {primary} | {covered / told:.3f} | "
                f"{rejected / studies:.3f} | {silent / studies:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
