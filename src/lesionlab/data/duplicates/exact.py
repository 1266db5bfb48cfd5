"""Copies to the last pixel that were turned or mirrored: what augmenting before splitting leaves.

They are found without any threshold, so that blank patches count too, which show no detail to
compare.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from lesionlab.data.duplicates.align import oriented

Load = Callable[[int], Image.Image]
Found = tuple[int, int, int]  # a row, a row, the orientation that makes the second of the first
MOST = 8  # pictures of one tally that a further one is compared with


def tally(rgb: Image.Image) -> str:
    """A hash of a picture's sides and of how often each value occurs: the same for all its turns.

    >>> picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    >>> tally(picture) == tally(picture.transpose(Image.Transpose.ROTATE_90))
    True
    """
    sides = sorted(rgb.size)
    counts = np.array([*sides, *rgb.histogram()], np.int64)
    return hashlib.sha256(counts.tobytes()).hexdigest()


def turn_between(a: Image.Image, b: Image.Image) -> int | None:
    """The orientation that makes `b` of `a` exactly, None where there is none."""
    one, two = (np.moveaxis(np.asarray(i.convert("RGB")), -1, 0) for i in (a, b))
    for orientation in range(8):
        if np.array_equal(oriented(one, orientation), two):
            return orientation
    return None


def turned_within(rows: Iterable[int], tallies: Sequence[str], load: Load) -> Iterator[Found]:
    """Each of `rows` that is an earlier one turned, with the first of its kind."""
    alike: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        alike[tallies[row]].append(row)
    for group in alike.values():
        firsts: list[int] = []
        for row in group:
            match = _match(firsts, row, load) if firsts else None
            if match is None:
                firsts.append(row)
            else:
                yield match[0], row, match[1]


def _match(firsts: Sequence[int], row: int, load: Load) -> tuple[int, int] | None:
    picture = load(row)
    for first in firsts[:MOST]:
        orientation = turn_between(load(first), picture)
        if orientation is not None:
            return first, orientation
    return None


def turned_across(
    one: Sequence[str], other: Sequence[str], load: Load, load_other: Load
) -> Iterator[Found]:
    """Pairs (row of `one`, row of `other`) of which one is the other turned, by their tallies."""
    there: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(other):
        there[key].append(row)
    for row, key in enumerate(one):
        for partner in there.get(key, ())[:MOST]:
            orientation = turn_between(load(row), load_other(partner))
            if orientation is not None:
                yield row, partner, orientation
