"""Coverage of the metrics of several classes that need no ranking of each class.

    python bench/coverage_metrics.py --cache FOLDER   # all designs; resumes; a few minutes

Hand and Till's AUC, top-2 and top-3 accuracy, and quadratic weighted kappa, in the designs of
bench/coverage.py with seven classes and in further ones with few, mixed or very unequal groups.
The AUC and kappa also of three classes (`positive`: the share of either rarer one) that are told
apart moderately and very well. The intervals are the product's, with "too few to say" switched
off. Markdown tables are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from coverage import CELLS, RESAMPLES, Cell, cases, draw, switch_minima_off, truth, worth

from lesionlab import files
from lesionlab.evaluation import metrics
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.headline import headline_metric
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.metric_table import METRICS

NAMES = ("hand_till_auc", "top_2_accuracy", "top_3_accuracy", "quadratic_kappa")
DESIGNS = (
    *(cell for cell in CELLS if cell.classes == 7),
    Cell("7 classes, 7 x1", 700, 1, 0.0, classes=7),
    Cell("7 classes, u3 7", 1000, 3, 0.5, classes=7, sizes="unequal"),
    Cell("7 classes, u3 12", 1700, 3, 0.5, classes=7, sizes="unequal"),
    Cell("7 classes, u3 20", 2900, 3, 0.5, classes=7, sizes="unequal"),
    Cell("7 classes, m3 6", 180, 3, 0.5, "image", classes=7),
    Cell("7 classes, m3 22", 700, 3, 0.5, "image", classes=7),
    Cell("7 classes, m3 44", 1400, 3, 0.5, "image", classes=7),
)


THREE = (
    Cell("3 classes, 7 x1", 70, 1, 0.0, positive=0.1, distance=2.0, classes=3),
    Cell("3 classes, 7 x3", 70, 3, 0.5, positive=0.1, distance=2.0, classes=3),
    Cell("3 classes, 12 x3", 140, 3, 0.5, positive=0.1, distance=2.0, classes=3),
    Cell("3 classes, 16 x3", 180, 3, 0.5, positive=0.1, distance=2.0, classes=3),
    Cell("3 classes, 7 x3 easy", 70, 3, 0.5, positive=0.1, distance=3.0, classes=3),
    Cell("3 classes, 12 x3 easy", 140, 3, 0.5, positive=0.1, distance=3.0, classes=3),
    Cell("3 classes, 16 x3 easy", 180, 3, 0.5, positive=0.1, distance=3.0, classes=3),
    Cell("3 classes, 25 x3 easy", 280, 3, 0.5, positive=0.1, distance=3.0, classes=3),
    Cell("3 classes, 16 x1 easy", 180, 1, 0.0, positive=0.1, distance=3.0, classes=3),
    Cell("3 classes, m3 19 easy", 90, 3, 0.5, "image", 0.1, 3.0, 3),
)


def study(cell: Cell, generator: np.random.Generator, groups: int) -> Cases:
    """One study of either kind of design, without rankings of the classes."""
    if cell.classes == 7:
        return replace(cases(cell, draw(cell, generator, groups)), scores={})
    code = np.repeat(np.arange(groups), cell.images)
    prior = np.array([1 - 2 * cell.positive, cell.positive, cell.positive])
    drawn = generator.choice(3, len(code) if cell.labels == "image" else groups, p=prior)
    y_true = drawn if cell.labels == "image" else drawn[code]
    noise = np.sqrt(cell.icc) * generator.normal(size=(groups, 3))[code]
    noise += np.sqrt(1 - cell.icc) * generator.normal(size=(len(code), 3))
    z = cell.distance * (noise + cell.distance * np.eye(3)[y_true]) + np.log(prior)
    prob = np.exp(z - z.max(axis=1, keepdims=True))
    prob /= prob.sum(axis=1, keepdims=True)
    y_pred = prob.argmax(1)
    return Cases(
        ("a", "b", "c"), y_true, prob, y_pred, None, code, groups, {}, frozenset(), ordered=True
    )


def true_values(cell: Cell) -> dict[str, float]:
    """Those of an image; the same whatever the groups."""
    if cell.classes == 7:
        return truth(cell)
    c = study(replace(cell, images=1, icc=0.0, labels="image"), np.random.default_rng(1), 1_000_000)
    return {
        "hand_till_auc": metrics.hand_till_auc(c.y_true, c.y_prob),
        "quadratic_kappa": metrics.quadratic_kappa(c.y_true, c.y_pred, 3),
    }


def scarcest(cell: Cell) -> float:
    """Effective groups of the scarcest class, on average."""
    if cell.classes == 7:
        return worth(cell)
    generator = np.random.default_rng(3)
    return float(np.mean([study(cell, generator, cell.groups).scarcest for _ in range(100)]))


def simulate(cell: Cell, studies: int, true: dict[str, float]) -> dict:
    """By metric: intervals given, those that lie above and below the truth, the mean width."""
    generator = np.random.default_rng([41, *cell.name.encode()])
    tally = {name: [0, 0, 0, 0.0] for name in NAMES if name in true}
    for s in range(studies):
        c = study(cell, generator, cell.groups)
        m = measure_cases(c, resamples=RESAMPLES, seed=s, bands=False)
        for name, row in tally.items():
            found = headline_metric(m, METRICS[name])
            if found.low is None or found.high is None:
                continue
            row[0] += 1
            row[1] += found.low > true[name] + 1e-12
            row[2] += found.high < true[name] - 1e-12
            row[3] += found.high - found.low
    return {
        "studies": studies,
        "scarcest": scarcest(cell),
        "true": {n: true[n] for n in tally},
        "tally": {n: [int(a), int(b), int(c), float(d)] for n, (a, b, c, d) in tally.items()},
    }


def table(found: dict[str, dict]) -> str:
    """Coverage in per cent, with the misses on either side."""
    head = f"| metric | {' | '.join(found)} |\n|---|{'---:|' * len(found)}"
    scarce = " | ".join(f"{f['scarcest']:.0f}" for f in found.values())
    lines = [head, f"| effective groups of the scarcest class | {scarce} |"]
    for name in next(iter(found.values()))["tally"]:
        cells = []
        for f in found.values():
            given, above, below, _ = f["tally"][name]
            covered = 100 * (given - above - below) / max(given, 1)
            cells.append(f"{covered:.1f} ({above}/{below})")
        true = ", ".join(dict.fromkeys(f"{f['true'][name]:.3f}" for f in found.values()))
        lines.append(f"| {name} ({true}) | {' | '.join(cells)} |")
    return "\n".join(lines)


SECTION = """
## Metrics of several classes

`bench/coverage_metrics.py`, {studies:,} studies a design of seven and of three classes: coverage in
per cent (intervals above / below the truth). Why: docs/decisions/0320.
"""


def main() -> None:
    """Run what the cache lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished designs")
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    switch_minima_off()
    sections = []
    for designs in (DESIGNS, THREE):
        found, true = {}, {}
        for cell in designs:
            path = options.cache / f"{cell.name}.json"
            if not path.is_file():
                key = (cell.classes, cell.distance)
                true[key] = true.get(key) or true_values(cell)
                files.write_json(path, simulate(cell, options.studies, true[key]))
            found[cell.name] = json.loads(path.read_text(encoding="utf-8"))
            print(f"{cell.name}: done", file=sys.stderr, flush=True)
        sections.append(table(found))
    print(SECTION.format(studies=options.studies))
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
