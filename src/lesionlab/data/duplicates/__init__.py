"""The same picture twice: byte for byte, pixel for pixel, or turned, mirrored, resized,
re-encoded, lightened or slightly cropped.

Descriptors only nominate (`candidates.py`, n log n); a pair counts after alignment and
correlation of its detail (`verification.py`, `detail.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from lesionlab.array_types import Ints
from lesionlab.data.duplicates.align import ORIENTATIONS
from lesionlab.data.duplicates.candidates import nominate
from lesionlab.data.duplicates.describe import standardised
from lesionlab.data.duplicates.detail import confirmed
from lesionlab.data.duplicates.exact import turned_across, turned_within
from lesionlab.data.duplicates.fingerprints import Fingerprints, Images, fingerprints_of
from lesionlab.data.duplicates.verification import agreeing
from lesionlab.progress import SILENT, Progress

__all__ = ["ORIENTATIONS", "DuplicatePair", "duplicate_pairs", "near_duplicates", "to_json"]

Kind = Literal["bytes", "pixels", "near", "again"]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that show the same.

    `kind`: "bytes" (identical files), "pixels" (identical once decoded, or turned and mirrored
    to the pixel), "near" (one picture, transformed) or "again" (a second photograph of the same
    lesion, so alike that pores and hairs coincide). `ORIENTATIONS[orientation]` says what makes
    `b` of `a`. `correlation`, at most 1, is that of the local detail after alignment (1 for exact
    pairs).
    """

    a: str
    b: str
    orientation: int
    correlation: float
    kind: Kind


def near_duplicates(
    images: Images, against: Images | None = None, progress: Progress = SILENT
) -> list[DuplicatePair]:
    """All pairs of `images` that show the same; with `against`, pairs across the two sets.

    `images` is a `Dataset` (named by `image_id`; regions are compared as regions), a mapping of
    names to pictures, or a sequence (named by position). A picture is a path, the bytes of a
    file, a `PIL.Image` or a (H, W) or (H, W, 3) uint8 array. Raises `UnreadableImage`.

    >>> rng = np.random.default_rng(0)
    >>> a = np.kron(rng.integers(0, 255, (16, 16)), np.ones((8, 8))).astype(np.uint8)
    >>> pairs = near_duplicates({"a": a, "b": a[::-1], "c": a.T // 2})
    >>> [(p.a, p.b, ORIENTATIONS[p.orientation]) for p in pairs][:2]
    [('a', 'b', 'mirrored top-bottom'), ('a', 'c', 'mirrored along the main diagonal')]
    """
    one = fingerprints_of(images, progress)
    other = None if against is None else fingerprints_of(against, progress)
    return duplicate_pairs(one, other, progress)


def duplicate_pairs(
    one: Fingerprints, other: Fingerprints | None = None, progress: Progress = SILENT
) -> list[DuplicatePair]:
    """`near_duplicates` for images that were looked at already."""
    return _across(one, other, progress) if other is not None else _within(one, progress)


def _within(looks: Fingerprints, progress: Progress) -> list[DuplicatePair]:
    """Exact copies are paired with the first of their kind, which alone is compared further."""
    exact: list[DuplicatePair] = []
    rows = list(range(len(looks)))
    for kind, keys in (("bytes", looks.sha256), ("pixels", looks.pixels)):
        first: dict[str, int] = {}
        for row in rows:
            origin = first.setdefault(keys[row] or f"row {row}", row)
            if origin != row:
                exact.append(_exact(looks.names[origin], looks.names[row], kind))
        rows = list(first.values())
    turned = list(turned_within(rows, looks.tallies, looks.load))
    exact += [_exact(looks.names[i], looks.names[j], "pixels", o) for i, j, o in turned]
    chosen = np.array(sorted({*rows} - {j for _, j, _ in turned}), np.int64)
    pairs = nominate(standardised(looks.descriptors[chosen]), progress=progress)
    return exact + list(_near(looks, looks, chosen[pairs], progress))


def _across(one: Fingerprints, other: Fingerprints, progress: Progress) -> list[DuplicatePair]:
    """Each image that has an exact copy in the other set stands in a pair, then near ones."""
    exact, done = [], set()
    for i, j, kind in _equal(one, other):
        if (i, j) not in done:
            done.add((i, j))
            exact.append(_exact(one.names[i], other.names[j], kind))
    for i, j, o in turned_across(one.tallies, other.tallies, one.load, other.load):
        if one.pixels[i] != other.pixels[j]:
            done.add((i, j))
            exact.append(_exact(one.names[i], other.names[j], "pixels", o))
    both = np.concatenate([one.descriptors, other.descriptors])
    pairs = nominate(standardised(both), first=len(one), progress=progress)
    pairs = pairs - np.array([0, len(one)])
    fresh = [
        k
        for k, (i, j) in enumerate(pairs.tolist())
        if one.pixels[i] != other.pixels[j] and (i, j) not in done
    ]
    return exact + list(_near(one, other, pairs[fresh], progress))


def _equal(one: Fingerprints, other: Fingerprints) -> Iterator[tuple[int, int, Kind]]:
    kinds: tuple[tuple[Kind, Sequence[str], Sequence[str]], ...] = (
        ("bytes", one.sha256, other.sha256),
        ("pixels", one.pixels, other.pixels),
    )
    paired: set[tuple[int, int]] = set()
    for kind, left, right in kinds:
        first_left, first_right = _first(left), _first(right)
        for i, key in enumerate(left):
            if key and key in first_right and (0, i) not in paired:
                paired |= {(0, i), (1, first_right[key])}
                yield i, first_right[key], kind
        for j, key in enumerate(right):
            if key and key in first_left and (1, j) not in paired:
                paired.add((1, j))
                yield first_left[key], j, kind


def _first(keys: Sequence[str]) -> dict[str, int]:
    return {key: row for row, key in reversed(list(enumerate(keys)))}


def _exact(a: str, b: str, kind: Any, orientation: int = 0) -> DuplicatePair:
    return DuplicatePair(a, b, orientation, 1.0, kind)


def _near(
    one: Fingerprints, other: Fingerprints, pairs: Ints, progress: Progress
) -> Iterator[DuplicatePair]:
    """The nominated pairs (row of `one`, row of `other`) that turn out to show the same."""
    across = other is not one
    n = len(one)
    thumbnails = np.concatenate([one.grey, other.grey]) if across else one.grey
    found = agreeing(thumbnails, pairs + np.array([0, n * across]), progress)

    def load(row: int) -> Image.Image:
        return one.load(row) if row < n else other.load(row - n)

    for position, agreement in confirmed(found, load, progress):
        a, b = found.rows[position].tolist()
        name = other.names[b - n] if across else one.names[b]
        kind: Kind = "near" if agreement.copy else "again"
        orientation = int(found.orientation[position])
        yield DuplicatePair(one.names[a], name, orientation, round(agreement.score, 3), kind)


def to_json(pairs: Sequence[DuplicatePair]) -> dict[str, Any]:
    """The content of `duplicates.json`, which `split` takes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "pairs": [
            {
                "a": p.a,
                "b": p.b,
                "kind": p.kind,
                "correlation": p.correlation,
                "orientation": ORIENTATIONS[p.orientation],
            }
            for p in pairs
        ],
    }
