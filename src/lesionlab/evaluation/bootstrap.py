"""The clustered bootstrap: groups are drawn with replacement, whole.

Every replicate has a generator of its own, keyed by (seed, replicate), so that results depend
neither on the size of the chunks in which they are computed nor on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from lesionlab.evaluation.predictions import Floats, Ints
from lesionlab.progress import SILENT, Progress

Statistics = Callable[[Floats], Mapping[str, Floats]]
CHUNK_CELLS = 1 << 19  # weights (replicates x images) held at once: 4 MB of float64


def group_codes(groups: npt.NDArray[np.object_]) -> tuple[Ints, int]:
    """`(N,)` group numbers in order of first appearance, and how many groups there are."""
    first: dict[object, int] = {}
    codes = np.array([first.setdefault(g, len(first)) for g in groups], np.int64)
    return codes, len(first)


def draw_counts(n_groups: int, replicates: range, seed: int) -> Floats:
    """`(len(replicates), G)`: how often each group is drawn in each of these replicates."""
    counts = np.empty((len(replicates), n_groups))
    for row, b in enumerate(replicates):
        generator = np.random.Generator(np.random.Philox(key=[seed, b]))
        drawn = generator.integers(0, n_groups, n_groups, dtype=np.uint32)
        counts[row] = np.bincount(drawn, minlength=n_groups)
    return counts


def bootstrap(
    statistics: Statistics,
    n_groups: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
    cells_per_replicate: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Floats]:
    """Replicates `(resamples, ...)` of each statistic.

    `statistics` takes counts `(b, G)` (how often each group was drawn) and returns arrays
    `(b, ...)`; NaN marks an undefined replicate. Memory is bounded by working in chunks of about
    `CHUNK_CELLS / cells_per_replicate` replicates.
    """
    size = max(1, CHUNK_CELLS // max(cells_per_replicate or n_groups, 1))
    starts = range(0, resamples, size)
    parts: dict[str, list[Floats]] = {}
    for start in progress(starts, "resampling", len(starts)):
        chunk = range(start, min(start + size, resamples))
        for name, values in statistics(draw_counts(n_groups, chunk, seed)).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def percentile_interval(replicates: Floats, level: float = 0.95) -> tuple[float, float, int]:
    """The percentile interval of `(B,)` replicates, and how many of them are undefined."""
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    if not len(defined):
        return float("nan"), float("nan"), undefined
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), undefined
