"""Coverage of net benefit, and of what a model gains over treating everyone.

    python bench/coverage_net_benefit.py --cache FOLDER   # all designs; resumes; a few minutes

Two classes, scores of normal patient effects; the probabilities are the exact posteriors, so the
true net benefit is known in closed form. "Before" is the former way: a t interval with the
variance between groups, where 25 effective groups are called positive (for the difference from
treating everyone: called negative). A Markdown table is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from coverage import Cell, draw
from scipy.special import logit, stdtrit
from scipy.stats import norm

from lesionlab import files
from lesionlab.evaluation.decision_curve import case_benefit, decision_curve
from lesionlab.evaluation.intervals import effective_groups

AT = np.array([0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95])
KINDS = ("net benefit", "over all", "gain")
SIZES = ((0.0, 1, "x1"), (0.5, 3, "x3 .5"))  # ICC, images a group, name
DESIGNS = (
    *(Cell(f"{n} {w}", 5 * n, k, icc) for icc, k, w in SIZES for n in (30, 50, 100, 200, 400)),
    Cell("100 u3 .5", 500, 3, 0.5, sizes="unequal"),
    Cell("60 m3 .5", 120, 3, 0.5, "image"),
    Cell("100 x3 .5 easy", 500, 3, 0.5, distance=2.7),
)


def true_values(cell: Cell, t: float) -> dict[str, float]:
    """Net benefit of an endless study, and its difference from treating everyone."""
    d, p, price = cell.distance, cell.positive, t / (1 - t)
    x = (logit(t) - logit(p) + d * d / 2) / d
    own = p * norm.sf(x - d) - price * (1 - p) * norm.sf(x)
    over_all = own - (p - price * (1 - p))
    return dict(zip(KINDS, (own, over_all, min(own, over_all)), strict=True))


def former(values: np.ndarray, called: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """The mean with t and the variance between groups; NaN with few groups called so."""
    if effective_groups(np.bincount(codes[called], minlength=1).astype(float)) < 25:
        return float("nan"), float("nan")
    off = np.bincount(codes, values - values.mean())
    m = len(off)
    half = stdtrit(m - 1, 0.975) * np.sqrt(m / (m - 1) * (off**2).sum()) / len(values)
    return values.mean() - half, values.mean() + half


def before(score: np.ndarray, positive: np.ndarray, codes: np.ndarray, t: float) -> list:
    """Intervals of net benefit, of the difference, and of the smaller of the two."""
    own = case_benefit(score, positive, t)
    everyone = case_benefit(np.ones(len(score)), positive, t)
    model = former(own, score >= t, codes)
    over_all = former(own - everyone, score < t, codes)
    return [model, over_all, tuple(np.minimum(model, over_all))]


def after(curve: dict, i: int) -> list:
    """The product's intervals at the i-th threshold."""
    columns = curve["model"], curve["over_all"], curve["gain_limits"]
    return [tuple(np.nan if c[k][i] is None else c[k][i] for k in ("low", "high")) for c in columns]


def simulate(cell: Cell, studies: int) -> dict:
    """Of each interval: how many were given, and how many lie above and below the truth."""
    generator = np.random.default_rng([43, *cell.name.encode()])
    true = [true_values(cell, t) for t in AT]
    tally: dict[str, list[int]] = {}
    for _ in range(studies):
        codes, y_true, y_prob = draw(cell, generator, cell.groups)
        positive, score = y_true == 1, y_prob[:, 1]
        curve = decision_curve(score, positive, codes, AT)
        for i, t in enumerate(AT):
            ways = {"before": before(score, positive, codes, t), "after": after(curve, i)}
            for way, limits in ways.items():
                for kind, (low, high) in zip(KINDS, limits, strict=True):
                    row = tally.setdefault(f"{kind}|{way}|{t}", [0, 0, 0])
                    if not np.isnan(low + high):
                        row[0] += 1
                        row[1] += int(low > true[i][kind] + 1e-12)
                        row[2] += int(high < true[i][kind] - 1e-12)
    return {"studies": studies, "tally": tally}


def table(found: dict[str, dict], kind: str, lower_only: bool = False) -> str:
    """Coverage in per cent before and after, and the share of the studies with an interval."""
    lines = [
        f"| {kind}{', lower limit' if lower_only else ''} | {' | '.join(str(t) for t in AT)} |",
        f"|---|{'---|' * len(AT)}",
    ]
    for name, f in found.items():
        cells = [
            " → ".join(_cell(f["tally"][f"{kind}|{way}|{t}"], f["studies"], lower_only)
                       for way in ("before", "after"))
            for t in AT
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: list[int], studies: int, lower_only: bool) -> str:
    given, above, below = row
    if given < studies / 20:
        return "none"
    covered = 100 * (given - above - (0 if lower_only else below)) / given
    return f"{covered:.1f}" + ("" if given > 0.95 * studies else f" ({100 * given / studies:.0f})")


SECTION = """
## Net benefit by threshold

`bench/coverage_net_benefit.py`, {studies:,} studies a design: coverage in per cent, of the first
edition and now, of net benefit, of its difference from treating everyone, and of the gain over the
better of treating everyone and nobody. In brackets: per cent of the studies with an interval, where
fewer than 95. Why: docs/decisions/0321.
"""


def main() -> None:
    """Run what the cache lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished designs")
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for cell in DESIGNS:
        path = options.cache / f"{cell.name}.json"
        if not path.is_file():
            files.write_json(path, simulate(cell, options.studies))
        found[cell.name] = json.loads(path.read_text(encoding="utf-8"))
        print(f"{cell.name}: done", file=sys.stderr, flush=True)
    print(SECTION.format(studies=options.studies))
    for kind in KINDS:
        print(f"\n{table(found, kind)}")
    print(f"\nThe lower limit of the gain alone:\n\n{table(found, 'gain', lower_only=True)}")


if __name__ == "__main__":
    main()
