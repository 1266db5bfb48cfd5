"""Does the lower bound of sensitivity keep its promise where patients have unequal shares?

    python bench/coverage_bounds.py --cache FOLDER            # all designs; resumes; a few minutes
    python bench/coverage_bounds.py --cache FOLDER --section  # its section of docs/coverage.md

A study draws the images of positive patients. An image's score is an effect of its patient (share
`icc` of the variance) plus noise, and true sensitivity is a formula. The threshold is chosen by
`choose_operating_point` with a target of 0.95, and by the same search with other effective
numbers. Counted: studies with a threshold, those whose true sensitivity is at least 0.95, and
the true sensitivity on average (nearer to 0.95: more specificity).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, ndtr

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.intervals import (
    ClusteredProportion,
    clustered_proportion,
    effective_groups,
)
from lesionlab.evaluation.limits import lower_bound
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.predictions import Predictions

STUDIES, TARGET, NEGATIVES = 1500, 0.95, 200
Array = np.ndarray


@dataclass(frozen=True)
class Design:
    """`sizes`: images a patient; `related`: correlation of a patient's score with -log(size)."""

    sizes: str
    patients: int
    icc: float = 0.0
    related: float = 0.0

    @property
    def name(self) -> str:
        """The design in words, also the name of its file."""
        related = f" related {self.related:g}" if self.related else ""
        return f"{self.sizes} n{self.patients} icc {self.icc:g}{related}"


SIZES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "equal 1": lambda g, n: np.ones(n, np.int64),
    "equal 3": lambda g, n: np.full(n, 3),
    "geometric 3": lambda g, n: g.geometric(1 / 3, n),
    "6 % hold half": lambda g, n: np.where(g.random(n) < 0.06, 16, 1),
    "5 giants": lambda g, n: np.where(np.arange(n) < 5, 20, 2),
    "lognormal": lambda g, n: np.maximum(np.exp(g.normal(0.5, 1, n)).round(), 1).astype(int),
}
ALIKE = (("equal 3", 80), ("geometric 3", 250), ("6 % hold half", 300), ("6 % hold half", 600),
         ("5 giants", 200), ("lognormal", 500))  # fmt: skip
UNLIKE = (("geometric 3", 250), ("6 % hold half", 300), ("lognormal", 500))
DESIGNS = (
    *(Design("equal 1", n) for n in (100, 300)),
    *(Design(s, n, icc) for icc in (0.2, 0.5, 0.8) for s, n in ALIKE),
    *(Design(s, n, icc, r) for icc in (0.5, 0.8) for r in (-0.5, 0.3, 0.6) for s, n in UNLIKE),
)
# How many independent cases the share at a threshold is worth; `low` is the share at a sensitivity
# of 80 %, where more errors tell more of their correlation; sizes are those of the patients.
Rule = Callable[[ClusteredProportion, ClusteredProportion, Array], float]
RULES: dict[str, Rule] = {
    "jackknife": lambda share, low, sizes: share.effective_n,
    "effective groups": lambda share, low, sizes: min(share.effective_n, effective_groups(sizes)),
    "jackknife at 80 %": lambda share, low, sizes: min(share.effective_n, low.effective_n),
    "largest patient": lambda share, low, sizes: min(share.effective_n, sizes.sum() / sizes.max()),
}


def standardised(design: Design, sizes: Array) -> Array:
    """log(size) with mean 0 and SD 1 over the patients of the population."""
    drawn = np.log(SIZES[design.sizes](np.random.default_rng(5), 100_000))
    return (np.log(sizes) - drawn.mean()) / drawn.std() if drawn.std() > 0 else 0.0 * sizes


def draw(design: Design, generator: np.random.Generator) -> tuple[Array, Array]:
    """Patient numbers and scores of the positive images of one study."""
    sizes = SIZES[design.sizes](generator, design.patients)
    own = generator.normal(size=design.patients)
    effect = np.sqrt(1 - design.related**2) * own - design.related * standardised(design, sizes)
    codes = np.repeat(np.arange(design.patients), sizes)
    noise = generator.normal(size=len(codes))
    return codes, np.sqrt(design.icc) * effect[codes] + np.sqrt(1 - design.icc) * noise


def sensitivity(design: Design) -> Callable[[float], float]:
    """True sensitivity at a threshold: the share of the images of all patients at or above it."""
    n = design.patients if design.sizes == "5 giants" else 200_000  # five of so many
    values, counts = np.unique(SIZES[design.sizes](np.random.default_rng(9), n), return_counts=True)
    weight = values * counts / (values * counts).sum()
    mean = -np.sqrt(design.icc) * design.related * standardised(design, values)
    spread = np.sqrt(1 - design.icc * design.related**2)
    return lambda threshold: float(weight @ ndtr((mean - threshold) / spread))


def chosen(codes: Array, scores: Array) -> float | None:
    """The product's threshold, on the scale of the scores; None where it refuses."""
    n = len(codes) + NEGATIVES
    values = np.concatenate([scores, np.linspace(-8, -6, NEGATIVES)])
    prob, blank = expit(values), np.full(n, "", dtype=object)
    patients = np.array([f"p{c}" for c in [*codes, *(-1 - np.arange(NEGATIVES))]], dtype=object)
    images = np.array([f"i{i}" for i in range(n)], dtype=object)
    y_true = (np.arange(n) < len(codes)).astype(np.int64)
    y_prob = np.stack([1 - prob, prob], axis=1)
    data = Predictions(images, patients, blank, ("nv", "mel"), y_true, y_prob)
    try:
        point = choose_operating_point(data, score=("mel",), chosen_on="valid", target=TARGET)
    except BadInput:
        return None
    return float(logit(point.threshold))


def share_at(codes: Array, scores: Array, threshold: float) -> ClusteredProportion:
    """Observed sensitivity at a threshold, with what it is worth."""
    return clustered_proportion((scores >= threshold) * 1.0, np.ones(len(scores)), codes)


def searched(codes: Array, scores: Array) -> dict[str, float | None]:
    """The thresholds that the rules give in the product's search, between two scores as there."""
    ordered, sizes = np.unique(scores), np.bincount(codes).astype(np.float64)
    found: dict[str, float | None] = dict.fromkeys(RULES)
    going = set(RULES)
    low = share_at(codes, scores, float(np.quantile(scores, 0.2)))
    for below, at in pairwise([-6.0, *ordered]):
        share = share_at(codes, scores, at)
        for name in sorted(going):
            n = RULES[name](share, low, sizes)
            if lower_bound(share.value * n, n) < TARGET:
                going.discard(name)
            else:
                found[name] = (below + at) / 2
        if not going:
            break
    return found


def simulate(design: Design, studies: int) -> dict:
    """For the product and each rule: thresholds given, those that hold, mean true sensitivity."""
    generator, true = np.random.default_rng([17, *design.name.encode()]), sensitivity(design)
    reached: dict[str, list[float]] = {name: [] for name in ("product", *RULES)}
    worth = []
    for _ in range(studies):
        codes, scores = draw(design, generator)
        worth.append(effective_groups(np.bincount(codes).astype(np.float64)))
        for name, threshold in {
            "product": chosen(codes, scores),
            **searched(codes, scores),
        }.items():
            if threshold is not None:
                reached[name].append(true(threshold))
    rows = {
        name: {"given": len(v), "kept": int((np.array(v) >= TARGET).sum()), "sum": float(sum(v))}
        for name, v in reached.items()
    }
    return {"design": design.name, "studies": studies, "worth": float(np.mean(worth)), "rows": rows}


SECTION = """
## The lower bound of sensitivity, where patients have unequal numbers of images

`bench/coverage_bounds.py`, {studies:,} studies a design: in what percentage of the studies the true
sensitivity of the chosen threshold is at least 0.95, and how high it is on average. "product" is
what `evaluate` and `export` choose now, "jackknife" what the first edition chose; the others were
tried. "related": sensitivity falls with a patient's number of images. Why:
docs/decisions/0300 and docs/evaluation.md.
"""


def table(found: Sequence[dict]) -> str:
    """Each cell: kept of those given in %, the share given where not all, mean true sensitivity."""
    names = ("product", *RULES)
    lines = [f"| design | effective patients | {' | '.join(names)} |",
             f"|---|---:|{'---:|' * len(names)}"]  # fmt: skip
    for one in found:
        cells = [_cell(one["rows"][name], one["studies"]) for name in names]
        lines.append(f"| {one['design']} | {one['worth']:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict, studies: int) -> str:
    if not row["given"]:
        return "refused"
    kept, part = 100 * row["kept"] / row["given"], row["given"] / studies
    rest = "" if part == 1 else f", given in {100 * part:.0f} %"
    return f"{kept:.1f} ({row['sum'] / row['given']:.3f}{rest})"


def main() -> None:
    """Run what the cache lacks; print the section on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished designs")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--section", action="store_true", help="print the section of the page")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    paths = [options.cache / f"{d.name.replace('%', 'percent')}.json" for d in DESIGNS]
    if options.section:
        print(SECTION.format(studies=options.studies))
        print(table([json.loads(p.read_text(encoding="utf-8")) for p in paths if p.is_file()]))
        return
    for design, path in zip(DESIGNS, paths, strict=True):
        if not path.exists():
            start = time.process_time()
            files.write_json(path, simulate(design, options.studies))
            print(f"{design.name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
