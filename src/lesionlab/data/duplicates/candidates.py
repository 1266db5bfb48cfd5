"""Which pairs are worth a closer look: near neighbours among descriptors, found in n log n.

A forest of random trees (Dasgupta and Freund, "Random projection trees", STOC 2008): each level
halves every node at the median of a random projection, so that all nodes of a level have one size
and a level is a single vectorised step. Only points of one leaf are compared. A pair that one
tree parts meets in another.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Float32, Ints
from lesionlab.data.randomness import philox
from lesionlab.platforms import usable_cpus
from lesionlab.progress import SILENT, Progress

TREES = 16
LEAF = 256  # points of a leaf: at most this, at least half of it
DIRECTIONS = 16  # trees project from the strongest principal axes: there signal exceeds noise
PER_LEAF = 2  # neighbours that a point names in one leaf
KEEP = 6  # neighbours that a point names in the end
CHUNK = 16  # leaves compared at a time
UNTHREADED = 2**18  # multiplications up to which OpenBLAS does a product in the calling thread
WORKERS = max(2, usable_cpus())


def nominate(
    descriptors: Float32, first: int | None = None, seed: int = 0, progress: Progress = SILENT
) -> Ints:
    """(M, 2) row numbers a < b of pairs of near neighbours among (N, D) descriptors.

    With `first`, the rows before it are one set and the others a second, and only pairs across
    the two are named. At most `KEEP` pairs a row; up to `LEAF` rows the search is exact.
    """
    n = len(descriptors)
    side = np.zeros(n, np.int8)
    if first is not None:
        side[first:] = 1
    if n < 2 or (first is not None and not 0 < first < n):
        return np.zeros((0, 2), np.int64)
    axes = _principal_axes(descriptors)
    trees = TREES if n > LEAF else 1
    sides = side if first is not None else None
    with ThreadPoolExecutor(WORKERS) as pool:
        work = pool.map(lambda t: _tree_pairs(descriptors, axes, sides, seed, t), range(trees))
        named = list(progress(work, "finding candidate duplicates", trees))
    keys, distances = (np.concatenate(part) for part in zip(*named, strict=True))
    return _nearest_of(n, *_distinct(keys, distances))


def _principal_axes(x: Float32) -> Float32:
    """(N, DIRECTIONS) the descriptors along the axes in which they differ most."""
    sample = x[:: max(1, len(x) // 20_000)].astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(sample.T) + 1e-9 * np.eye(x.shape[1]))
    axes: Float32 = x @ vectors[:, np.argsort(values)[::-1][:DIRECTIONS]].astype(np.float32)
    return axes


def leaves(axes: Float32, draw: np.random.Generator) -> Ints:
    """(L, size) row numbers: one random tree's leaves, all of one size.

    A few rows stand in two leaves, so that the numbers come out even.
    """
    n = len(axes)
    depth = max(0, math.ceil(math.log2(n / LEAF)))
    size = -(-n // 2**depth)
    nodes: Ints = (draw.permutation(size * 2**depth) % n).reshape(1, -1).astype(np.int64)
    ways = draw.standard_normal((depth, axes.shape[1])).astype(np.float32)
    for level in range(depth):
        place = (axes @ ways[level])[nodes]
        half = nodes.shape[1] // 2
        order = np.argpartition(place, half, axis=1)
        nodes = np.take_along_axis(nodes, order, axis=1).reshape(-1, half)
    return nodes


def _tree_pairs(
    x: Float32, axes: Float32, side: npt.NDArray[np.int8] | None, seed: int, tree: int
) -> tuple[Ints, Float32]:
    """Keys a * N + b of the pairs that one tree names, and their squared distances."""
    nodes = leaves(axes, philox(seed, "duplicates", tree))
    squares = (x**2).sum(axis=1)
    parts = [
        _leaf_pairs(x, squares, side, nodes[start : start + CHUNK])
        for start in range(0, len(nodes), CHUNK)
    ]
    keys, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _distinct(keys, distances)


def _distinct(keys: Ints, distances: Float32) -> tuple[Ints, Float32]:
    """The sorted keys without repetition, each with the distance of one of its occurrences.

    This sorts and does not call `numpy.unique`, which hashes integers and took a hundred times
    as long on millions of keys.
    """
    order = np.argsort(keys)
    keys = keys[order]
    is_first = np.ones(len(keys), bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return keys[is_first], distances[order[is_first]]


def _leaf_pairs(
    x: Float32, squares: Float32, side: npt.NDArray[np.int8] | None, rows: Ints
) -> tuple[Ints, Float32]:
    """Keys and squared distances of each point's nearest neighbours within its leaf.

    `rows` is (leaves, size).
    """
    distance = _distances(x[rows], squares[rows])
    every = np.arange(rows.shape[1])
    distance[:, every, every] = np.inf
    if side is not None:
        distance[side[rows][:, :, None] == side[rows][:, None, :]] = np.inf
    keys, distances = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for _ in range(min(PER_LEAF, rows.shape[1] - 1)):
        nearest = distance.argmin(axis=2)
        near = np.take_along_axis(distance, nearest[:, :, None], axis=2)[:, :, 0] + squares[rows]
        other = np.take_along_axis(rows, nearest, axis=1)
        found = np.isfinite(near) & (other != rows)
        keys.append(np.minimum(rows, other)[found] * len(x) + np.maximum(rows, other)[found])
        distances.append(near[found])
        np.put_along_axis(distance, nearest[:, :, None], np.float32(np.inf), axis=2)
    return np.concatenate(keys), np.concatenate(distances)


def _distances(points: Float32, squares: Float32) -> Float32:
    """(L, S, S) squared distances within each leaf, less those of the row's own point from 0.

    In blocks so small that the linear algebra library does not wake threads for each of them:
    that costs more than the product, and the trees are dealt to threads already.
    """
    size, dimensions = points.shape[1:]
    block = max(1, UNTHREADED // (size * dimensions))
    others = points.transpose(0, 2, 1)
    distance = np.empty((len(points), size, size), np.float32)
    for start in range(0, size, block):
        np.matmul(points[:, start : start + block], others, out=distance[:, start : start + block])
    distance *= -2
    distance += squares[:, None, :]
    return distance


def _nearest_of(n: int, keys: Ints, distances: Float32) -> Ints:
    """The pairs a * n + b in which one end is among the other's KEEP nearest."""
    a, b = keys // n, keys % n
    # The bits of a positive float32 order as it does: one integer orders by end, then distance.
    bits = np.tile(np.maximum(distances, 0).view(np.uint32), 2)
    ends = np.concatenate([a, b])
    order = np.argsort(ends.astype(np.uint64) << np.uint64(32) | bits)
    ordered = ends[order]
    start = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[start, len(ordered)])
    rank = np.arange(len(ordered)) - np.repeat(start, lengths)
    chosen = np.zeros(len(a), bool)
    chosen[order[rank < KEEP] % max(len(a), 1)] = True
    return np.column_stack([a[chosen], b[chosen]])
