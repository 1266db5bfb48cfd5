"""Coverage of the metrics of several classes that need no ranking of each class.

    python bench/coverage_metrics.py --cache FOLDER   # all designs; resumes; a few minutes

Hand and Till's AUC, top-2 and top-3 accuracy, and quadratic weighted kappa, in the designs of
bench/coverage.py with seven classes and in further ones with few, mixed or very unequal groups.
The product's own intervals with "too few to say" switched off; a Markdown table is printed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from coverage import CELLS, RESAMPLES, Cell, cases, draw, switch_minima_off, truth, worth

from lesionlab import files
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


def simulate(cell: Cell, studies: int, true: dict[str, float]) -> dict:
    """By metric: intervals given, those that lie above and below the truth, the mean width."""
    generator = np.random.default_rng([41, *cell.name.encode()])
    tally = {name: [0, 0, 0, 0.0] for name in NAMES}
    for s in range(studies):
        c = replace(cases(cell, draw(cell, generator, cell.groups)), scores={})
        m = measure_cases(c, resamples=RESAMPLES, seed=s, bands=False)
        for name, row in tally.items():
            found = headline_metric(m, METRICS[name])
            if found.low is None or found.high is None:
                continue
            row[0] += 1
            row[1] += found.low > true[name] + 1e-12
            row[2] += found.high < true[name] - 1e-12
            row[3] += found.high - found.low
    scarce = worth(cell)
    return {"studies": studies, "scarcest": scarce, "true": {n: true[n] for n in NAMES}} | {
        "tally": {n: [int(a), int(b), int(c), float(d)] for n, (a, b, c, d) in tally.items()}
    }


def table(found: dict[str, dict]) -> str:
    """Coverage in per cent, with the misses on either side."""
    head = f"| metric | true | {' | '.join(found)} |\n|---|---:|{'---:|' * len(found)}"
    scarce = " | ".join(f"{f['scarcest']:.0f}" for f in found.values())
    lines = [head, f"| effective groups of the scarcest class | | {scarce} |"]
    for name in NAMES:
        cells = []
        for f in found.values():
            given, above, below, _ = f["tally"][name]
            covered = 100 * (given - above - below) / max(given, 1)
            cells.append(f"{covered:.1f} ({above}/{below})")
        true = next(iter(found.values()))["true"][name]
        lines.append(f"| {name} | {true:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what the cache lacks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished designs")
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    switch_minima_off()
    found, true = {}, truth(DESIGNS[0])  # of an image: the same in each of these designs
    for cell in DESIGNS:
        path = options.cache / f"{cell.name}.json"
        if not path.is_file():
            files.write_json(path, simulate(cell, options.studies, true))
        found[cell.name] = json.loads(path.read_text(encoding="utf-8"))
        print(f"{cell.name}: done", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
