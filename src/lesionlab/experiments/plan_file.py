"""`plan.json` in OUT: a later call goes on only where it asks for the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.run_folder import LOCK, as_written_today

PLAN = "plan.json"
WORDS = ("description", "source", "expected")  # of a preset: they change no number


def check_plan(
    out: Path, now: Mapping[str, Any], *, free: Sequence[str], absent: Mapping[str, Any]
) -> None:
    """See that OUT is new, or was begun with the same plan but for the keys `free`.

    What a preset says of itself may have been reworded since.
    `absent` holds what a key counts as where an older plan lacks it. Raises `BadInput` that names
    the first key that differs, with both values.
    """
    if not (out / PLAN).is_file():
        if out.exists() and any(p.name != LOCK for p in out.iterdir()):
            raise BadInput("is not empty", where=str(out), remedy="choose another --out")
        return
    before = {**absent, **files.read_json(out / PLAN)}
    found = first_difference(
        _without_words({k: before.get(k) for k in now if k not in free}),
        _without_words({k: v for k, v in now.items() if k not in free}),
    )
    if found is not None:
        key, old, new = found
        raise BadInput(
            f"was begun with another {key} ({_short(old)}, now {_short(new)})",
            where=str(out),
            remedy="choose another --out, or use the same options as before",
        )


def _without_words(plan: dict[str, Any]) -> dict[str, Any]:
    settings = plan.get("settings")
    if not isinstance(settings, Mapping):
        return plan
    full = as_written_today(settings)
    return {**plan, "settings": {k: v for k, v in full.items() if k not in WORDS}}


def first_difference(before: Any, now: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """The first dotted key at which two JSON values differ, and both values there.

    >>> first_difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3]}})
    ('b.c.1', 2, 3)
    >>> first_difference([1], (1,)) is None
    True
    """
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(k, before.get(k), now.get(k)) for k in dict.fromkeys([*now, *before])]
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        if len(before) != len(now):
            return key, before, now
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(before, now, strict=True))]
    else:
        return None if before == now else (key, before, now)
    told = (first_difference(a, b, f"{key}.{k}" if key else k) for k, a, b in pairs)
    return next((found for found in told if found is not None), None)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
