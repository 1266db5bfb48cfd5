"""Do the sensitivity bound and the sets hold where a map was fitted on the same table?

    python bench/coverage_recalibration.py --cache FOLDER          # resumes; 12 minutes
    python bench/coverage_recalibration.py --cache FOLDER --section  # of docs/coverage.md

A study draws a table that calibrates: groups with some images each, whose probabilities are the
exact posterior sharpened (squared and normalised), as of an overconfident network. A map is
fitted, a threshold chosen by `sensitivity_bound` and sets calibrated (lac, alpha 0.1). Both are
measured on 20,000 new images. "kept": the share of studies whose true sensitivity is at least the
target (95 % promised). "coverage": the mean true coverage of the class that is covered least
(90 % promised).

    same rows   map, threshold and sets on all rows, as lesionlab 0.1.0 did
    product     what `lesionlab evaluate --calibration` does now (`recalibrated`)
    cross-fit   threshold and sets on probabilities of 5 maps that each left a fifth of the groups
                out; new images by the map of all rows
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import group_codes
from lesionlab.evaluation.calibration import softmax
from lesionlab.evaluation.conformal import fit_conformal, prediction_sets
from lesionlab.evaluation.operating_point import apply_operating_point, choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.recalibration import CALIBRATORS, HALVED, fit_calibrator, recalibrated

STUDIES, NEW, ALPHA = 500, 20_000, 0.1
Way = Callable[[Predictions, Predictions, str], tuple[Predictions, Predictions]]


@dataclass(frozen=True)
class Design:
    """`groups` of `images` each, a label a group; classes are equally far apart."""

    name: str
    prior: tuple[float, ...]
    groups: int
    images: int
    icc: float
    distance: float
    positive: int  # the first classes, whose probabilities are summed
    target: float


DESIGNS = (
    Design("2 classes, 500 x1", (0.3, 0.7), 500, 1, 0.0, 2.0, 1, 0.95),
    Design("2 classes, 500 x3", (0.3, 0.7), 500, 3, 0.5, 2.0, 1, 0.95),
    Design("3 classes, 240 x1", (0.33, 0.33, 0.34), 240, 1, 0.0, 2.0, 1, 0.9),
    Design("7 classes, 350 x1", (1 / 7,) * 7, 350, 1, 0.0, 3.0, 2, 0.9),
)


def draw(design: Design, generator: np.random.Generator, groups: int, images: int) -> Predictions:
    """Labels and sharpened posteriors."""
    k, code = len(design.prior), np.repeat(np.arange(groups), images)
    y = generator.choice(k, groups, p=design.prior)[code]
    x = np.sqrt(design.icc) * generator.normal(size=(groups, k))[code]
    x += np.sqrt(1 - design.icc) * generator.normal(size=(len(code), k))
    d = design.distance / np.sqrt(2)
    x[np.arange(len(y)), y] += d
    prob = softmax(2 * (d * x + np.log(design.prior)))
    ids = np.array([f"{i}" for i in range(len(code))], object)
    patients = np.array([f"p{c}" for c in code], object)
    names = tuple("abcdefg"[:k])
    return Predictions(ids, patients, np.array([""] * len(code), object), names, y, prob)


def same_rows(measured: Predictions, table: Predictions, method: str) -> tuple[Predictions, ...]:
    fitted = fit_calibrator(method, table.y_prob, table.y_true)
    return tuple(replace(p, y_prob=fitted.apply(p.y_prob)) for p in (measured, table))


def product(measured: Predictions, table: Predictions, method: str) -> tuple[Predictions, ...]:
    found = recalibrated(measured, table, method, "calib")
    return found.measured, found.choosing


def cross_fit(measured: Predictions, table: Predictions, method: str) -> tuple[Predictions, ...]:
    codes, count = group_codes(table.groups)
    fold = np.random.default_rng(0).permutation(count)[codes] % 5
    prob = np.empty_like(table.y_prob)
    for f in range(5):
        out = fold == f
        fitted = fit_calibrator(method, table.y_prob[~out], table.y_true[~out])
        prob[out] = fitted.apply(table.y_prob[out])
    whole = fit_calibrator(method, table.y_prob, table.y_true)
    new = replace(measured, y_prob=whole.apply(measured.y_prob))
    return new, replace(table, y_prob=prob)


WAYS: dict[str, Way] = {"same rows": same_rows, "product": product, "cross-fit": cross_fit}
CELLS = [(m, w) for m in CALIBRATORS for w in WAYS if m in HALVED or w == "product"]


def study(
    design: Design, new: Predictions, table: Predictions, method: str, way: str
) -> tuple[float, list[float], float]:
    """True sensitivity, coverage by class and mean size of the sets, of one study."""
    measured, choosing = WAYS[way](new, table, method)
    score = new.classes[: design.positive]
    try:
        point = choose_operating_point(
            choosing, score=score, chosen_on="calib", target=design.target
        )
        called = apply_operating_point(point, measured.y_prob, measured.classes)
        sensitivity = float(called[new.y_true < design.positive].mean())
    except BadInput:  # a chance shortage of positive groups: refused, so nothing is promised
        sensitivity = np.nan
    rule = fit_conformal(choosing, calibrated_on="calib", alpha=ALPHA, rare="include")
    sets = prediction_sets(rule, measured.y_prob)
    covered = sets[np.arange(len(new)), new.y_true]
    by_class = [float(covered[new.y_true == k].mean()) for k in range(len(new.classes))]
    return sensitivity, by_class, float(sets.sum(1).mean())


def simulate(
    design: Design, studies: int = STUDIES, cells: list[tuple[str, str]] = CELLS
) -> dict[str, Any]:
    """By method and way: share of studies that kept the bound, and coverage by class."""
    generator = np.random.default_rng(11)
    new = draw(design, generator, NEW, 1)
    found: dict[str, list[Any]] = {f"{m}, {w}": [] for m, w in cells}
    for _ in range(studies):
        table = draw(design, generator, design.groups, design.images)
        for method, way in cells:
            found[f"{method}, {way}"].append(study(design, new, table, method, way))
    return {name: summary(design, results) for name, results in found.items()}


def summary(design: Design, results: list[Any]) -> dict[str, Any]:
    sensitivity = np.array([s for s, _, _ in results])
    told = ~np.isnan(sensitivity)
    kept = float((sensitivity[told] >= design.target).mean()) if told.any() else None
    coverage = np.mean([c for _, c, _ in results], axis=0)
    return {
        "studies": len(results),
        "with a point": int(told.sum()),
        "kept": kept,
        "sensitivity": float(np.nanmean(sensitivity)) if told.any() else None,
        "coverage": coverage.tolist(),
        "size": float(np.mean([s for _, _, s in results])),
    }


SECTION = """
## Map, bound and sets from one calibrating table

`bench/coverage_recalibration.py`, {studies:,} studies a design: how often the bound of sensitivity
is kept (95 % promised), true sensitivity on average, coverage of the class that is covered least
(0.90 promised), and mean size of the sets. "product" is what `--calib` does now: an isotonic or
Dirichlet map is fitted on half of the groups, bound and sets on the other half. "same rows" is the
first edition. Why: docs/decisions/0311.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--section", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    print(SECTION.format(studies=asked.studies))
    print("| design | map | studies | bound kept | sensitivity | least coverage | set size |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for design in DESIGNS:
        path = asked.cache / f"recalibration-{design.name.replace(' ', '-')}-{asked.studies}.json"
        if not path.is_file() and not asked.section:
            files.write_json(path, simulate(design, asked.studies))
        if not path.is_file():
            continue
        for name, r in json.loads(path.read_text(encoding="utf-8")).items():
            kept = "–" if r["kept"] is None else f"{r['kept']:.1%}"
            mean = "–" if r["sensitivity"] is None else f"{r['sensitivity']:.3f}"
            told = f"{r['with a point']} of {r['studies']}"
            cells = (design.name, name, told, kept, mean, f"{min(r['coverage']):.3f}",
                     f"{r['size']:.2f}")  # fmt: skip
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
