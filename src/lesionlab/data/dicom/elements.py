"""Elements of a DICOM file: an empty one counts as absent, a wrong one is named with its value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lesionlab.data.images import UnreadableImage

# Multi-frame objects keep these in functional groups, for each frame or for all.
FRAME_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def value(place: Any, name: str) -> Any:
    """The value of an element; None where it is absent or empty. Refuses what has no value."""
    if name not in place:
        return None
    try:
        found = place[name].value
    except Exception:  # noqa: BLE001 (pydicom raises whatever a hostile file provokes)
        raise UnreadableImage(f"{title(name)} in {tag(name)} cannot be read") from None
    return None if found is None or _is_blank(found) else found


def _is_blank(found: Any) -> bool:
    return hasattr(found, "__len__") and len(found) == 0


def text(place: Any, name: str) -> str:
    """An element as text without blanks, "" where it is absent; of several values the first."""
    found = value(place, name)
    first = found[0] if _is_list(found) else found
    return "" if first is None else str(first).strip()


def number(place: Any, name: str) -> float | None:
    """An element as a finite number; None where it is absent; of several values the first."""
    found = numbers(place, name)
    return found[0] if found else None


def numbers(place: Any, name: str) -> list[float | None]:
    """All values of an element; None for an empty one among them."""
    found = value(place, name)
    values = [] if found is None else list(found) if _is_list(found) else [found]
    return [_number(v, name) for v in values]


def _number(found: Any, name: str) -> float | None:
    if found is None or str(found).strip() == "":
        return None
    try:
        result = float(found)
    except (TypeError, ValueError):
        raise refused(name, found) from None
    if not math.isfinite(result):
        raise refused(name, found)
    return result


def integer(place: Any, name: str, default: int | None = None) -> int:
    """An element as a whole number; refuses an absent one where there is no default."""
    found = number(place, name)
    if found is None:
        if default is None:
            raise UnreadableImage(f"no {title(name)} in {tag(name)}")
        return default
    return int(found)


def _is_list(found: Any) -> bool:
    return hasattr(found, "__iter__") and not isinstance(found, (str, bytes))


def items(place: Any, name: str) -> list[Any]:
    """The items of a sequence that hold anything."""
    found = value(place, name)
    return [item for item in found if len(item)] if _is_list(found) else []


def places(stored: Any, macro: str) -> Iterator[Any]:
    """Where the elements of a functional group may stand: frame, shared by all frames, file."""
    for group in FRAME_GROUPS:
        for one in items(stored, group)[:1]:
            yield from items(one, macro)[:1]
    yield stored


def refused(name: str, found: Any, why: str = "") -> UnreadableImage:
    """A refusal that names the element and its value: `window width 0 in (0028,1051)`."""
    shown = f"{found:g}" if isinstance(found, float) else str(found)[:40]
    return UnreadableImage(f"{title(name)} {shown} in {tag(name)}" + (f": {why}" if why else ""))


def tag(name: str) -> str:
    """The number of an element by its keyword, such as `(0028,1051)`."""
    from pydicom.datadict import tag_for_keyword

    number = int(tag_for_keyword(name) or 0)
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"


def title(name: str) -> str:
    """The name of an element in a sentence, such as `window width` or `VOI LUT function`."""
    from pydicom.datadict import dictionary_description

    words = str(dictionary_description(name)).split()
    return " ".join(w if w.isupper() else w.lower() for w in words)
