"""The one matcher of image ids: two tables, or a table and files, spell one id in several ways.

Ids that are equal match. The others match by looser rules, one after another, each only where it
is unique: one id on either side has that form, among all ids and not only among those left.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionlab.array_types import Ints
from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.data.split_names import PARTS
from lesionlab.errors import counted

# Suffixes that a table may still write although the image is stored in another format now.
OTHERS = (".dcm", ".dicom", ".jfif", ".jpe", ".jp2", ".gif", ".heic", ".heif", ".avif", ".npy")
SUFFIX = re.compile(
    "(" + "|".join(re.escape(s) for s in sorted({*SUFFIXES, *OTHERS})) + r")\s*$", re.IGNORECASE
)
UNICODE, SEPARATORS, SUFFIXED = "Unicode form", "blanks and separators", "file suffix"
CASE, FOLDERS = "upper and lower case", "folder"
Parts = tuple[str, ...]


@dataclass(frozen=True)
class IdMatch:
    """Where each wanted id stands among the known ones.

    `places (N,)` is int64, -1 where there is none. `loosened` counts the ids that match by a
    looser rule, by what was ignored, with a first example `(wanted, known)`. `candidates` are the
    known ids that an unmatched one could mean, where it could mean several.
    """

    places: Ints
    loosened: Mapping[tuple[str, ...], tuple[int, str, str]]
    candidates: Mapping[str, tuple[str, ...]]

    @property
    def found(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """`(N,)`: which wanted ids have a place."""
        return np.asarray(self.places >= 0)

    def notes(self, passed_over: Sequence[str] = ()) -> tuple[str, ...]:
        """One line for each way of spelling that was ignored, but for those `passed_over`."""
        lines = []
        for ignored, (n, wanted, known) in self.loosened.items():
            named = [name for name in ignored if name not in passed_over]
            if named:
                lines.append(
                    f"{counted(n, 'id')} matched without regard to {' and '.join(named)} "
                    f"('{wanted}' is '{known}')"
                )
        return tuple(lines)


def match_ids(wanted: Sequence[str], known: Sequence[str]) -> IdMatch:
    """Match ids exactly, then over Unicode form, separators, suffix, case and folder.

    An empty id has no place. Ids that are repeated get the same one, and of repeated known ids
    the first is meant. Ids of different folders match by their file name only where the folders
    name no two splits and the name is no mere number, which every folder has.

    >>> match_ids(["malignant/ISIC_1.jpg", "isic_2"], ["ISIC_2.png", "ISIC_1"]).places.tolist()
    [1, 0]
    >>> match_ids(["1"], ["a/1.jpg", "b/1.jpg"]).candidates
    {'1': ('a/1.jpg', 'b/1.jpg')}
    """
    place: dict[str, int] = {}
    for row, name in enumerate(known):
        place.setdefault(name, row)
    ours, theirs = dict.fromkeys(wanted), place
    pairs = {name: name for name in ours if name and name in theirs}
    forms = _Forms([*ours, *theirs])
    for key in (forms.plain, forms.without_suffix, forms.folded):
        _pair_by(key, ours, theirs, pairs)
    for folded in (False, True):
        for depth in range(forms.depth, 0, -1):
            _pair_by(forms.tail(depth, folded), ours, theirs, pairs, forms.may_be_one)
    places = np.array([place[pairs[w]] if w in pairs else -1 for w in wanted], np.int64)
    return IdMatch(places, _loosened(pairs, forms), _candidates(ours, theirs, pairs, forms))


def plain_id(text: str) -> str:
    """An id in one Unicode form, with `/` between its parts and without an image suffix.

    >>> plain_id("./a\\\\ISIC_1.JPG")
    'a/ISIC_1'
    """
    return "/".join(_without_suffix(_parts(text)))


def repeated_ids(ids: Iterable[str]) -> tuple[str, str] | None:
    """The first two ids of one table that differ in suffix, separators or Unicode form at most.

    >>> repeated_ids(["a", "b", "a.jpg"])
    ('a', 'a.jpg')
    """
    seen: dict[str, str] = {}
    for name in ids:
        form = plain_id(name)
        if form in seen:
            return seen[form], name
        seen[form] = name
    return None


class _Forms:
    """The looser forms of ids, each made once."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.parts: dict[str, Parts] = {name: _parts(name) for name in ids}
        self.bare = {name: _without_suffix(parts) for name, parts in self.parts.items()}
        self.low = {name: tuple(map(_fold, parts)) for name, parts in self.bare.items()}
        self.depth = max(map(len, self.bare.values()), default=0)

    def plain(self, name: str) -> Hashable:
        return self.parts[name]

    def without_suffix(self, name: str) -> Hashable:
        return self.bare[name]

    def folded(self, name: str) -> Hashable:
        return self.low[name]

    def tail(self, depth: int, folded: bool) -> Callable[[str], Hashable]:
        """The last `depth` parts of a path; None where it has fewer."""
        forms = self.low if folded else self.bare
        return lambda name: forms[name][-depth:] if len(forms[name]) >= depth else None

    def may_be_one(self, a: str, b: str) -> bool:
        """Whether two paths of one ending may name one image, for all that their folders say."""
        one, two = self.low[a], self.low[b]
        if _is_ending(one, two):
            return True
        splits = [{PARTS[p] for p in path[:-1] if p in PARTS} for path in (one, two)]
        same_split = not splits[0] or not splits[1] or splits[0] == splits[1]
        return same_split and not one[-1].isdecimal()


def _parts(text: str) -> Parts:
    spelled = unicodedata.normalize("NFC", str(text)).replace("\\", "/")
    return tuple(p for part in spelled.split("/") if (p := part.strip()) not in ("", "."))


def _without_suffix(parts: Parts) -> Parts:
    if not parts:
        return parts
    name = parts[-1]
    while (shorter := SUFFIX.sub("", name).strip()) not in ("", name):
        name = shorter
    return (*parts[:-1], name)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _is_ending(one: Parts, two: Parts) -> bool:
    shared = min(len(one), len(two))
    return one[-shared:] == two[-shared:]


def _pair_by(
    key: Callable[[str], Hashable],
    ours: Iterable[str],
    theirs: Iterable[str],
    pairs: dict[str, str],
    allowed: Callable[[str, str], bool] = lambda a, b: True,
) -> None:
    """Add the pairs that one rule makes unique; an empty form is none."""
    left, right = _by_key(key, ours), _by_key(key, theirs)
    taken = set(pairs.values())
    for form, names in left.items():
        others = right.get(form, [])
        if len(names) == len(others) == 1:
            a, b = names[0], others[0]
            if a not in pairs and b not in taken and allowed(a, b):
                pairs[a] = b


def _by_key(key: Callable[[str], Hashable], names: Iterable[str]) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = defaultdict(list)
    for name in names:
        if form := key(name):
            found[form].append(name)
    return found


def _loosened(
    pairs: Mapping[str, str], forms: _Forms
) -> dict[tuple[str, ...], tuple[int, str, str]]:
    found: dict[tuple[str, ...], tuple[int, str, str]] = {}
    for a, b in pairs.items():
        if a != b:
            ignored = _ignored(a, b, forms)
            n, *example = found.get(ignored, (0, a, b))
            found[ignored] = (n + 1, *example)  # type: ignore[assignment]
    return found


def _ignored(a: str, b: str, forms: _Forms) -> tuple[str, ...]:
    """What had to be ignored for two ids to be one."""
    names = []
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return (UNICODE,)
    if unicodedata.is_normalized("NFC", a) != unicodedata.is_normalized("NFC", b):
        names.append(UNICODE)
    if forms.parts[a] == forms.parts[b]:
        return (*names, SEPARATORS)
    if forms.parts[a][-1:] != forms.bare[a][-1:] or forms.parts[b][-1:] != forms.bare[b][-1:]:
        names += [SUFFIXED] * (_suffix(a) != _suffix(b))
    if len(forms.low[a]) != len(forms.low[b]) or forms.low[a][:-1] != forms.low[b][:-1]:
        names.append(FOLDERS)
    shared = min(len(forms.bare[a]), len(forms.bare[b]))
    if any(
        x != y and _fold(x) == _fold(y)
        for x, y in zip(forms.bare[a][-shared:], forms.bare[b][-shared:], strict=True)
    ):
        names.append(CASE)
    return tuple(names) or (SEPARATORS,)


def _suffix(name: str) -> str:
    found = SUFFIX.search(name)
    return found.group(1) if found else ""


def _candidates(
    ours: Iterable[str], theirs: Iterable[str], pairs: Mapping[str, str], forms: _Forms
) -> dict[str, tuple[str, ...]]:
    """For each unmatched id the known ones of which it is an ending, or that are one of it."""
    taken = set(pairs.values())
    by_name = _by_key(forms.tail(1, True), (name for name in theirs if name not in taken))
    found = {}
    for name in ours:
        if name not in pairs and forms.low[name]:
            others = by_name.get(forms.low[name][-1:], [])
            fitting = tuple(o for o in others if _is_ending(forms.low[name], forms.low[o]))
            if fitting:
                found[name] = fitting
    return found
