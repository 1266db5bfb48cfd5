"""The clustered bootstrap: groups are drawn with replacement, whole.

One counter-based stream, keyed by the seed, is consumed in order, so that results do not depend
on the size of the chunks in which they are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.progress import SILENT, Progress


@dataclass(frozen=True)
class Resampling:
    """How often groups are drawn anew, from which seed, and who is told how far it is."""

    resamples: int = 2000
    seed: int = 0
    progress: Progress = SILENT


RESAMPLING = Resampling()
Statistics = Callable[[Floats], Mapping[str, Floats]]
# Replicates x images worked on at once: a few arrays that fit the cache. At least 8 replicates,
# for the sake of the sparse products; with 400,000 images that is some 25 MB an array.
CHUNK_CELLS = 1 << 19
CHUNK_REPLICATES = (8, 512)


def group_codes(groups: npt.NDArray[np.object_]) -> tuple[Ints, int]:
    """`(N,)` group numbers in order of first appearance, and how many groups there are."""
    first: dict[object, int] = {}
    codes = np.array([first.setdefault(g, len(first)) for g in groups], np.int64)
    return codes, len(first)


def draw_counts(generator: np.random.Generator, replicates: int, n_groups: int) -> Floats:
    """`(replicates, G)`: how often each group is drawn in each of the next replicates."""
    # 32-bit draws: the stream then goes on seamlessly from one call to the next.
    drawn = generator.integers(0, n_groups, (replicates, n_groups), dtype=np.uint32)
    cells = drawn + np.arange(replicates, dtype=np.int64)[:, None] * n_groups
    counts = np.bincount(cells.ravel(), minlength=replicates * n_groups)
    return counts.reshape(replicates, n_groups).astype(np.float64)


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
    size = int(np.clip(CHUNK_CELLS // max(cells_per_replicate or n_groups, 1), *CHUNK_REPLICATES))
    starts = range(0, resamples, size)
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    parts: dict[str, list[Floats]] = {}
    for start in progress(starts, "resampling", len(starts)):
        counts = draw_counts(generator, min(size, resamples - start), n_groups)
        for name, values in statistics(counts).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}
