"""Which way to fit a temperature is never worse than none? Simulated, design by design.

    python bench/coverage_temperature.py --cache FOLDER          # all designs; resumes; 5 minutes
    python bench/coverage_temperature.py --cache FOLDER --section  # of docs/coverage.md

The true probabilities are softmax(z + offset) with z of normal draws times `scale`; the network
gives T z, so that T is its true temperature. Labels follow the true probabilities. Each way is
fitted on n rows and measured by its expected log loss on 2,000 others (exact: the true
probabilities weigh the classes). An entry of a table is the excess over T = 1, which is what a
user has without any fit: below 0 is better. "gamma 3" is what `fit_temperature` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from coverage import HAM
from scipy.optimize import brentq, minimize_scalar

from lesionlab import files
from lesionlab.evaluation.calibration import TEMPERATURES, softmax

STUDIES, NEW = 200, 2000
LOW, HIGH = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Design:
    """`scale` 1.5: classes overlap; 8: nearly all rows right. `shifted`: trained in balance."""

    classes: int
    n: int
    temperature: float
    scale: float
    shifted: bool

    @property
    def offset(self) -> np.ndarray:
        prior = HAM if self.classes == 7 else np.array([0.9, 0.1])
        return np.log(prior * self.classes) if self.shifted else np.zeros(self.classes)


DESIGNS = [
    Design(k, n, t, s, f)
    for k, n, t, s, f in product(
        (2, 7), (30, 100, 1000), (0.5, 1.0, 1.5, 2.5), (1.5, 8.0), (False, True)
    )
]


def root(slope: Callable[[float], float]) -> float:
    """1 / b at the root of a rising slope, within the borders."""
    if slope(LOW) >= 0:
        return 1 / LOW
    if slope(HIGH) <= 0:
        return 1 / HIGH
    return float(1 / brentq(slope, LOW, HIGH, xtol=1e-10))


def with_prior(strength: float) -> Fit:
    """Gamma prior on b = 1 / T, with the mode of log b at 0: slope + strength (1 - 1 / b)."""

    def fit(z: np.ndarray, y: np.ndarray, offset: np.ndarray) -> float:
        z_true = z[np.arange(len(y)), y].sum()
        return root(lambda b: (softmax(z * b + offset) * z).sum() - z_true + strength * (1 - 1 / b))

    return fit


def smoothed(by_class: bool) -> Fit:
    """The target of the true class is (n + 1) / (n + K), that of each other one 1 / (n + K)."""

    def fit(z: np.ndarray, y: np.ndarray, offset: np.ndarray) -> float:
        k = z.shape[1]
        n = np.bincount(y, minlength=k)[y] if by_class else np.full(len(y), len(y))
        target = np.repeat(1 / (n + k), k).reshape(len(y), k)
        target[np.arange(len(y)), y] = (n + 1) / (n + k)
        return root(lambda b: ((softmax(z * b + offset) - target) * z).sum())

    return fit


def lognormal(sd: float) -> Fit:
    """Normal prior on log T: not convex in 1 / T above e."""

    def fit(z: np.ndarray, y: np.ndarray, offset: np.ndarray) -> float:
        def loss(log_t: float) -> float:
            p = softmax(z * np.exp(-log_t) + offset)[np.arange(len(y)), y]
            return float(-np.log(p.clip(1e-300)).sum() + (log_t / sd) ** 2 / 2)

        bounds = tuple(np.log(TEMPERATURES))
        return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))

    return fit


WAYS: dict[str, Fit] = {
    "ml": with_prior(0.0),
    "smooth class": smoothed(by_class=True),
    "smooth n": smoothed(by_class=False),
    "gamma 1": with_prior(1.0),
    "gamma 3": with_prior(3.0),
    "lognormal 1": lognormal(1.0),
    "lognormal .5": lognormal(0.5),
}


def excess(design: Design) -> dict[str, dict[str, float]]:
    """By way: mean excess loss over T = 1, its standard error, fitted T (quantiles), borders."""
    generator = np.random.default_rng(7)
    new = design.scale * generator.normal(size=(NEW, design.classes))
    truth = softmax(new + design.offset)

    def loss(t: float) -> float:
        p = softmax(design.temperature * new / t + design.offset)
        return float(-(truth * np.log(p.clip(1e-300))).sum(1).mean())

    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(STUDIES):
        z = design.scale * generator.normal(size=(design.n, design.classes))
        chance = generator.random(design.n)[:, None]
        y = (softmax(z + design.offset).cumsum(1)[:, :-1] < chance).sum(1)
        for name, fit in WAYS.items():
            found[name].append(fit(design.temperature * z, y, design.offset))
    none, best = loss(1.0), loss(design.temperature)
    return {"T = 1": {"loss": none, "best": best - none}} | {
        name: _summary(np.array(t), np.array([loss(v) for v in t]) - none)
        for name, t in found.items()
    }


def _summary(t: np.ndarray, over: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(t, [0.05, 0.5, 0.95])
    at = float(np.mean((t <= TEMPERATURES[0] * 1.001) | (t >= TEMPERATURES[1] * 0.999)))
    error = float(over.std() / np.sqrt(len(over)))
    return {"excess": float(over.mean()), "error": error, "worst": float(over.max()),
            "low": low, "median": median, "high": high, "border": at}  # fmt: skip


def results(cache: Path, run: bool) -> Iterator[tuple[Design, dict[str, dict[str, float]]]]:
    for design in DESIGNS:
        name = "-".join(str(v) for v in asdict(design).values())
        path = cache / f"temperature-{name}.json"
        if not path.is_file() and run:
            files.write_json(path, excess(design))
        if path.is_file():
            yield design, json.loads(path.read_text(encoding="utf-8"))


SECTION = """
## The fitted temperature

`bench/coverage_temperature.py`, {studies:,} studies for each of {designs} designs (2 and 7 classes,
true T 0.5 to 2.5, with and without a prior shift): log loss on new data over that of T = 1, mean
over the designs (in brackets the worst design's mean), and fits that ended at a border. "gamma 3"
is the product's prior, "ml" the first edition. Why: docs/decisions/0310.
"""
SHOWN = ("ml", "smooth class", "smooth n", "gamma 3")
OVERLAPPING = 1.5  # the scale of logits at which classes overlap; the other is nearly separate


def section(found: list[tuple[Design, dict[str, dict[str, float]]]]) -> str:
    """A row for each number of validation rows and each overlap of the classes."""
    lines = [SECTION.format(studies=STUDIES, designs=len(found)),
             "| rows | classes | best T | " + " | ".join(SHOWN) + " |",
             "|---:|---|---:|" + "---:|" * len(SHOWN)]  # fmt: skip
    for n, scale in sorted({(d.n, d.scale) for d, _ in found}):
        rows = [r for d, r in found if (d.n, d.scale) == (n, scale)]
        best = np.mean([r["T = 1"]["best"] for r in rows])
        cells = [_cell([r[way] for r in rows]) for way in SHOWN]
        overlap = "overlapping" if scale == OVERLAPPING else "nearly separate"
        lines.append(f"| {n} | {overlap} | {best:+.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: list[dict[str, float]]) -> str:
    values, border = [r["excess"] for r in rows], np.mean([r["border"] for r in rows])
    at_border = f", {border:.0%} at a border" if border > 0 else ""
    return f"{np.mean(values):+.3f} ({max(values):+.3f}{at_border})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--section", action="store_true", help="print the section of the page")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    found = list(results(asked.cache, run=not asked.section))
    print(section(found))


if __name__ == "__main__":
    main()
