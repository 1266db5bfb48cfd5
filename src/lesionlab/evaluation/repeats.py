"""Trainings that were repeated over folds and seeds: mean, spread, every run, and fair tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lesionlab.errors import BadInput
from lesionlab.run_folder import CONFIG, RunConfig

SCHEMA_VERSION = 1


VARIES = 1e-12  # a standard error below this is rounding
NO_VARIATION = "too few to say: the runs do not vary"


@dataclass(frozen=True)
class Repeats:
    """One metric over repeated trainings; `sd` is None for a single run."""

    metric: str
    runs: Mapping[str, float]
    mean: float
    sd: float | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "metric": self.metric,
            "n": len(self.runs),
            "mean": self.mean,
            "sd": self.sd,
            "runs": dict(self.runs),
        }


@dataclass(frozen=True)
class RepeatedDifference:
    """First minus second over the same splits, by the corrected resampled t-test.

    `low`, `high` and `p_value` are None where the runs do not vary: equal differences of a few
    runs are no proof that all runs differ by as much.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    test_to_train: float
    method: str = "corrected resampled t (Nadeau and Bengio 2003)"

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dict(vars(self))


def summarise(metric: str, runs: Mapping[str, float]) -> Repeats:
    """Mean and standard deviation (n - 1) over named runs; `BadInput` without a finite one.

    >>> summarise("roc_auc", {"fold0": 0.8, "fold1": 0.9}).sd.__round__(3)
    0.071
    """
    values = np.array(list(runs.values()), np.float64)
    if not len(values):
        raise BadInput("no run to summarise", where=metric)
    if not np.isfinite(values).all():
        name = list(runs)[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise BadInput(f"run '{name}' has no finite value", where=metric)
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return Repeats(metric, dict(runs), float(values.mean()), spread)


def compare_repeats(
    first: Sequence[float], second: Sequence[float], *, test_to_train: float
) -> RepeatedDifference:
    """Two ways of training over the same J splits (and seeds), paired by their order.

    `test_to_train` is the size of a fold's test part over its training part (1 / (k - 1) for k
    folds): training parts overlap, so the naive t-test is far too sure. With 0 (the same split
    and other seeds) it is the plain paired t-test, which speaks of the seeds only.
    Raises `BadInput` for unequal lengths or fewer than two runs.
    """
    if len(first) != len(second) or len(first) < 2:
        raise BadInput(
            f"{len(first)} and {len(second)} runs cannot be paired",
            remedy="repeat both over the same splits, at least twice",
        )
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n, mean = len(difference), float(difference.mean())
    error = math.sqrt((1 / n + test_to_train) * float(difference.var(ddof=1)))
    if error < VARIES:
        return RepeatedDifference(mean, None, None, None, n, test_to_train, NO_VARIATION)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return RepeatedDifference(mean, mean - half, mean + half, p, n, test_to_train)


def compare_unpaired(
    first: Sequence[float], second: Sequence[float], *, test_to_train: tuple[float, float]
) -> RepeatedDifference:
    """Two ways of training over different splits or data: nothing pairs their runs.

    Each mean has the variance of the corrected resampled t, the two are added, and the degrees
    of freedom are Welch's. `n` is the smaller number of runs. Raises `BadInput` for fewer than two
    runs of either.

    >>> found = compare_unpaired([0.9, 0.8], [0.5, 0.4], test_to_train=(0.0, 0.0))
    >>> round(found.mean, 3), round(found.high - found.mean, 3)  # Welch: t(2) * sqrt(0.005)
    (0.4, 0.304)
    """
    if min(len(first), len(second)) < 2:
        raise BadInput("at least two runs of either are needed")
    both = [np.asarray(values, np.float64) for values in (first, second)]
    shares = [(1 / len(v) + r) * v.var(ddof=1) for v, r in zip(both, test_to_train, strict=True)]
    mean, variance = float(both[0].mean() - both[1].mean()), float(sum(shares))
    n, ratio = min(map(len, both)), max(test_to_train)
    method = "unpaired: corrected resampled t of each, Welch's degrees of freedom"
    if math.sqrt(variance) < VARIES:
        return RepeatedDifference(mean, None, None, None, n, ratio, NO_VARIATION)
    df = variance**2 / sum(s**2 / (len(v) - 1) for s, v in zip(shares, both, strict=True))
    half = float(stats.t.ppf(0.975, df)) * math.sqrt(variance)
    p = float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), df))
    return RepeatedDifference(mean, mean - half, mean + half, p, n, ratio, method)


@dataclass(frozen=True)
class SpreadRatio:
    """The first's standard deviation over the second's, with its 95 % interval."""

    value: float
    low: float
    high: float
    method: str


def compare_spreads(
    first: Sequence[float], second: Sequence[float], *, paired: bool
) -> SpreadRatio | None:
    """Ratio of two standard deviations over runs; None for fewer than 3 runs or without any.

    Paired runs: the interval of Pitman and Morgan, which allows for their correlation; else that
    of F. Both take runs for draws from a normal distribution; runs whose training parts overlap
    are less free than that, so the interval is rather too short than too long.

    >>> found = compare_spreads([1.0, 2.0, 3.0], [2.0, 6.0, 4.0], paired=False)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)  # F(2, 2): 1/39 to 39
    (0.5, 0.08, 3.122)
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(a), len(b)) < 3 or min(a.std(), b.std()) < 1e-15:
        return None
    w = float(a.var(ddof=1) / b.var(ddof=1))
    if not paired:
        low, high = (float(stats.f.ppf(q, len(a) - 1, len(b) - 1)) for q in (0.025, 0.975))
        return SpreadRatio(math.sqrt(w), math.sqrt(w / high), math.sqrt(w / low), "F, unpaired")
    n, r = len(a), float(np.corrcoef(a, b)[0, 1])
    k = 1 + 2 * (1 - r**2) * float(stats.t.ppf(0.975, n - 2)) ** 2 / (n - 2)
    wide = k + math.sqrt(k**2 - 1)
    return SpreadRatio(math.sqrt(w), math.sqrt(w / wide), math.sqrt(w * wide), "Pitman-Morgan")


def repeated_runs(source: Path | str | Sequence[Path | str]) -> list[Path]:
    """The runs where several are given, or a folder that holds several; else none.

    Raises `BadInput` where one of several is no run folder.
    """
    if not isinstance(source, Path | str):
        runs = [Path(s) for s in source]
        for folder in runs:
            if len(runs) > 1 and not (folder / CONFIG).is_file():
                raise BadInput("not a run folder", where=str(folder), remedy="give runs only")
        if len({r.resolve() for r in runs}) < len(runs) or not runs:
            raise BadInput("a run is given twice" if runs else "no run is given")
        return runs if len(runs) > 1 else repeated_runs(runs[0])
    folder = Path(source)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return []
    return sorted(p.parent for p in folder.glob(f"*/{CONFIG}"))


def refuse_other_tasks(runs: Sequence[Path], configs: Sequence[RunConfig]) -> None:
    """`BadInput` where runs do not solve the same task: other classes, or other malignant ones."""
    first = configs[0].dataset
    for folder, config in zip(runs, configs, strict=True):
        d = config.dataset
        if (d.classes, d.malignant) != (first.classes, first.malignant):
            raise BadInput(
                f"its classes are {', '.join(d.classes)}; those of '{runs[0]}' differ",
                where=str(folder),
                remedy="give runs of the same task",
            )


def over_runs(
    runs: Mapping[str, Path],
    configs: Sequence[RunConfig],
    results: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Mean, SD (n - 1) and every run of each metric, of what `evaluate` returned for each run.

    `varied` names the settings in which the runs differ: the spread speaks of these alone.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": {n: str(folder) for n, folder in runs.items()},
        "part": next(iter(results.values()))["part"],
        "varied": _varied([c.model_dump(mode="json") for c in configs]),
        "n": {n: r["n"] for n, r in results.items()},
        "resampled": {n: r["resampled"] for n, r in results.items()},
        "metrics": _summaries({n: r["metrics"] for n, r in results.items()}),
        "at_points": _summaries({n: _points(r) for n, r in results.items()}),
        "each": {n: r["metrics"] for n, r in results.items()},
        "reports": {n: r["report"] for n, r in results.items()},
    }


def names_of(runs: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths where a name stands twice."""
    names = [r.resolve().name for r in runs]
    return names if len(set(names)) == len(names) else [str(r) for r in runs]


def _points(result: Mapping[str, Any]) -> dict[str, Any]:
    """Sensitivity and specificity at each run's own locked point (the first one)."""
    points = result["operating_points"][:1]
    return {k: p[k] for p in points for k in ("sensitivity", "specificity")}


def _summaries(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of every metric that all runs have a value of."""
    metrics = list(next(iter(found.values())))
    result = {}
    for metric in metrics:
        values = {run: m[metric]["value"] for run, m in found.items() if metric in m}
        if len(values) == len(found) and None not in values.values():
            result[metric] = summarise(metric, values).to_json()
    return result


def _varied(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The settings, by dotted name, in which the runs differ, with each run's value."""
    flat = [_flat(c["settings"], "") | {"data": c["dataset"]["fingerprint"][:12]} for c in configs]
    keys = list(dict.fromkeys(k for f in flat for k in f))
    values = {k: [f.get(k) for f in flat] for k in keys}
    return {k: v for k, v in values.items() if any(x != v[0] for x in v)}


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(v, f"{prefix}{k}.") for k, v in value.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix.removesuffix("."): value}
