"""Does a 95 % interval of ours hold the truth in 95 % of studies? Simulated, cell by cell.

    python bench/coverage.py --cache FOLDER             # all cells; resumes; about 15 minutes
    python bench/coverage.py --cache FOLDER --only NAME # one cell
    python bench/coverage.py --cache FOLDER --write     # docs/coverage.md from the cache

The page takes the designs of bench/coverage_pairs.py from the same FOLDER, and what the other
bench/coverage_*.py print by --section from its files `section-*.md`.

A study draws groups (patients, or lesions) with some images each. An image's score is its
class's mean plus an effect of its group (share `icc` of the variance) plus noise; its probability
is the exact posterior (of normal noise). So the true value of every metric is known. All intervals
come from the product's own code, with its "too few to say" switched off.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from coverage_designs import CELLS, HAM, NAMES, Cell, draw  # beside this file
from scipy import stats
from scipy.special import expit, logit

from lesionlab import files
from lesionlab.evaluation import confusion, metrics
from lesionlab.evaluation.bootstrap import draw_counts
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.decision_curve import decision_curve, net_benefit
from lesionlab.evaluation.headline import headline
from lesionlab.evaluation.intervals import MINIMUM_GROUPS, Measure
from lesionlab.evaluation.limits import Spread, wilson
from lesionlab.evaluation.measured import Measured, measure_cases
from lesionlab.evaluation.metric_table import METRICS, RANKING_METRICS
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.paired import delong
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.prevalence import predictive_values, values_at
from lesionlab.evaluation.reliability import bin_numbers, calibration_line
from lesionlab.evaluation.statistics import Statistics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
# The product takes 2,000 resamples; for a variance 500 are as good (3 % off, 2,000: 1.6 %).
STUDIES, RESAMPLES, REQUIRED = 1000, 500, 0.93
ECE_STUDIES = 200
NET_BENEFIT_AT = (0.2, 0.5)


def worth(cell: Cell) -> float:
    """Effective groups of the scarcest class, on average over 100 studies."""
    generator = np.random.default_rng(3)
    drawn = [cases(cell, draw(cell, generator, cell.groups)) for _ in range(100)]
    return float(np.mean([c.class_groups.min() for c in drawn]))


def cases(cell: Cell, study: tuple[np.ndarray, ...]) -> Cases:
    """What the product would measure; two classes are decided where sensitivity is 0.8."""
    code, y_true, y_prob = study
    names = NAMES[: cell.classes]
    if cell.classes == 2:
        x = cell.distance + stats.norm.ppf(0.2)
        cut = expit(cell.distance * x - cell.distance**2 / 2 + logit(cell.positive))
        y_pred = (y_prob[:, 1] >= cut).astype(np.int64)
    else:
        y_pred = metrics.decide(y_prob)
    corrected = metrics.decide(y_prob, HAM) if cell.classes > 2 else None
    scores = {n: (y_true == k, y_prob[:, k]) for k, n in enumerate(names)}
    scores = {n: s for n, s in scores.items() if s[0].any()}
    full = frozenset({"mel"}) if cell.classes == 2 else frozenset()
    return Cases(
        names, y_true, y_prob, y_pred, corrected, code, code.max() + 1, scores, full,
        ordered=cell.classes > 2,  # as if they were grades, to measure that row too
    )  # fmt: skip


def measure(cell: Cell, m: Measured) -> dict[str, Measure]:
    """Every measure of the product."""
    c = m.cases
    found = headline(m, "mel" if cell.classes == 2 else None)
    for name in ("majority_accuracy", "error_rate", "ece"):
        found.pop(name)
    if cell.classes > 2:
        return found
    positive, called = c.y_true == 1, c.y_pred == 1
    found |= {
        "sensitivity": m.share(called, positive),
        "specificity": m.share(~called, ~positive),
        "ppv": m.predictive(positive, called, positive),
        "npv": m.predictive(~positive, ~called, positive),
        "f1": m.f1(1),
    }
    found.pop("balanced_accuracy_prior_corrected")
    if cell.tails is None:
        found |= calibration_line(c.y_prob[:, 1], positive, c.codes)
    found |= benefits(c)
    (at,) = values_at(found["sensitivity"], found["specificity"], [0.02])
    found["ppv at 2 %"] = Measure(**at["ppv"])
    return found


def benefits(c: Cases) -> dict[str, Measure]:
    """Net benefit at two threshold probabilities."""
    positive, score = c.y_true == 1, c.y_prob[:, 1]
    m = decision_curve(score, positive, c.codes, np.array(NET_BENEFIT_AT))["model"]
    rows = zip(NET_BENEFIT_AT, m["value"], m["low"], m["high"], strict=True)
    return {f"net benefit at {t}": Measure(v, a, b, len(score), "") for t, v, a, b in rows}


def truth(cell: Cell) -> dict[str, float]:
    """The metrics of a study of a million independent images."""
    big = draw(
        Cell("", 1, 1, 0.0, "image", cell.positive, cell.distance, cell.classes, tails=cell.tails),
        np.random.default_rng(1),
        1_000_000,
    )
    c = cases(cell, big)
    found = {k: v[0] for k, v in Statistics(c, bands=False)(np.ones((1, c.n_groups))).items()}
    values = {k: float(v) for k, v in found.items() if np.ndim(v) == 0 and ":" not in k}
    if cell.classes > 2:
        values["hand_till_auc"] = metrics.hand_till_auc(c.y_true, c.y_prob)
        top = [m for m in METRICS.values() if m.family == "proportion" and m.counts is None]
        return values | {m.name: float(m.per_case(c).mean()) for m in top if m.per_case}
    values |= {k.removesuffix(":mel"): float(v) for k, v in found.items() if k.endswith(":mel")}
    counts = confusion.confusion_matrix(c.y_true, c.y_pred, 2)
    values |= {
        "sensitivity": confusion.sensitivity(counts)[1],
        "specificity": confusion.specificity(counts)[1],
        "ppv": counts[1, 1] / counts[:, 1].sum(),
        "npv": counts[0, 0] / counts[:, 0].sum(),
        "f1": found["f1"][1],
    }
    if cell.tails is None:  # else the probabilities are not the posteriors
        values |= {"slope": 1.0, "intercept": 0.0, "observed_expected": 1.0}
    for t in NET_BENEFIT_AT:
        values[f"net benefit at {t}"] = net_benefit(c.y_prob[:, 1], c.y_true == 1, t)
    values["ppv at 2 %"] = predictive_values(values["sensitivity"], values["specificity"], 0.02)[0]
    return values


def before(m: Measured) -> Iterator[tuple[str, str, float, float]]:
    """The first edition's logit t interval, whose degrees of freedom knew no tails."""
    if "mel" not in m.cases.scores:
        return
    for name, row in RANKING_METRICS.items():
        part = m.ranked_component(row, "mel")
        limits = replace(part, spread=Spread(part.spread.variance, np.inf)).limits()
        yield name, "before", limits.low, limits.high


def others(
    c: Cases, drawn: dict[str, np.ndarray], ece: bool
) -> Iterator[tuple[str, str, float, float]]:
    """(metric, method, low, high) of what the product does not use."""
    for key, replicates in drawn.items():
        name = key.removesuffix(":mel") if len(c.classes) == 2 else key
        if replicates.ndim == 1 and ":" not in name:
            yield name, "percentile", *percentile_interval(replicates)
    if len(c.classes) > 2 or "mel" not in c.scores:  # a study may draw no positive group
        return
    positive, score = c.scores["mel"]
    yield "f1", "percentile", *percentile_interval(drawn["f1"][:, 1])
    yield "sensitivity", "percentile", *percentile_interval(drawn["sensitivity"][:, 1])
    yield "specificity", "percentile", *percentile_interval(drawn["sensitivity"][:, 0])
    called = c.y_pred == 1
    yield "sensitivity", "no groups", *wilson(called[positive].mean(), positive.sum())
    yield "specificity", "no groups", *wilson((~called)[~positive].mean(), (~positive).sum())
    yield "accuracy", "no groups", *wilson((called == positive).mean(), len(called))
    if min(positive.sum(), (~positive).sum()) > 1:
        found = delong(positive, score[None])
        half = 1.96 * np.sqrt(found.covariance[0, 0])
        yield "roc_auc", "no groups", found.auc[0] - half, found.auc[0] + half
    if ece:
        yield "ece", "percentile", *ece_percentile(c)


def percentile_interval(replicates: np.ndarray) -> tuple[float, float]:
    """The plain 95 % percentile interval of the replicates that are defined."""
    defined = replicates[~np.isnan(replicates)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def ece_percentile(c: Cases) -> tuple[float, float]:
    """What a percentile interval of the ECE would be (its true value here is 0)."""
    confidence, top = c.y_prob.max(1), c.y_prob.argmax(1)
    cell = bin_numbers(confidence) * c.n_groups + c.codes
    gaps = np.bincount(cell, (top == c.y_true) - confidence, 15 * c.n_groups)
    size = np.bincount(c.codes, minlength=c.n_groups)
    counts = draw_counts(np.random.default_rng(0), 200, c.n_groups)
    ece = np.abs(counts @ gaps.reshape(15, -1).T).sum(1) / (counts @ size)
    low, high = np.quantile(ece, [0.025, 0.975])
    return float(low), float(high)


def threshold_holds(cell: Cell, study: tuple[np.ndarray, ...], policy: str) -> bool | None:
    """Is the true sensitivity of the chosen threshold at least 0.95? None where refused."""
    code, y_true, y_prob = study
    names = np.array([f"i{i}" for i in range(len(code))], dtype=object)
    lesions = np.array([f"L{c}" for c in code], dtype=object)
    blank = np.full(len(code), "", dtype=object)
    data = Predictions(names, blank, lesions, NAMES[:2], y_true.astype(np.int64), y_prob)
    try:
        point = choose_operating_point(data, score=("mel",), chosen_on="valid", policy=policy)
    except Exception:  # noqa: BLE001 (refused: too few groups)
        return None
    if point.threshold <= 0:
        return True
    d = cell.distance
    x = (logit(point.threshold) - logit(cell.positive) + d * d / 2) / d
    return bool(stats.norm.sf(x - d) >= 0.95)


def switch_minima_off() -> None:
    """Give every interval, however few groups there are: the simulation asks what it is worth."""
    MINIMUM_GROUPS.update(dict.fromkeys(MINIMUM_GROUPS, 2))
    for name, metric in METRICS.items():
        METRICS[name] = replace(metric, minimum=2, minimum_hard=2)
    for name, ranked in RANKING_METRICS.items():
        RANKING_METRICS[name] = replace(ranked, minimum=2, minimum_mixed=2)


def simulate(cell: Cell, studies: int) -> dict:
    """Counts of covering intervals by metric and method; misses on either side; widths."""
    true, tally = truth(cell) | {"ece": 0.0}, {}
    generator = np.random.default_rng([20, *cell.name.encode()])
    held: dict[str, list[int]] = {"sensitivity_bound": [0, 0], "sensitivity": [0, 0]}

    def note(metric: str, method: str, low: float | None, high: float | None) -> None:
        row = tally.setdefault(f"{metric}|{method}", [0, 0, 0, 0, 0.0])
        if low is None or high is None or np.isnan(low + high):
            row[3] += 1
            return
        row[0] += 1
        row[1] += int(low > true[metric] + 1e-12)
        row[2] += int(high < true[metric] - 1e-12)
        row[4] += float(high - low)

    scarce = 0
    for s in range(studies):
        study = draw(cell, generator, cell.groups)
        c = cases(cell, study)
        scarce += int(c.class_groups.min())
        m = measure_cases(c, resamples=RESAMPLES, seed=s, bands=False)
        for metric, found in measure(cell, m).items():
            note(metric, "ours", found.low, found.high)
        old = before(m) if cell.classes == 2 else ()
        for metric, method, low, high in (*old, *others(c, m.replicates, s < ECE_STUDIES)):
            if metric in true:
                note(metric, method, low, high)
        for policy, row in held.items() if cell.classes == 2 and not cell.tails else ():
            holds = threshold_holds(cell, study, policy)
            row[0] += bool(holds)
            row[1] += holds is not None
    return {
        "cell": asdict(cell),
        "studies": studies,
        "scarcer groups": scarce / studies,
        "true": {k: float(v) for k, v in true.items()},
        "tally": tally,
        "threshold": held,
    }


def main() -> None:
    """Run what the cache lacks; write the page on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished cells")
    parser.add_argument("--only", help="the name of one cell")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--write", action="store_true", help="write docs/coverage.md")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.write:
        from coverage_page import page  # beside this file

        paths = [(c, options.cache / f"{c.name}.json") for c in CELLS]
        found = [
            json.loads(p.read_text(encoding="utf-8")) | {"scarcer groups": worth(c)}
            for c, p in paths
            if p.is_file()
        ]
        pairs = [json.loads(p.read_text("utf-8")) for p in sorted(options.cache.glob("pairs *"))]
        sections = [p.read_text("utf-8") for p in sorted(options.cache.glob("section-*.md"))]
        files.write_text(PAGE, page(found, pairs, REQUIRED, sections))
        return
    switch_minima_off()
    for cell in CELLS:
        path = options.cache / f"{cell.name}.json"
        if (options.only in (None, cell.name)) and not path.exists():
            start = time.process_time()
            files.write_json(path, simulate(cell, options.studies))
            print(f"{cell.name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
