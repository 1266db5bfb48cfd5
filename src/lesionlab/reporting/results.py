"""What a verb returns, as a notebook shows it: a dictionary that draws its measures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
WIDTH = 160  # pixels of a drawn interval
MOST = 30  # rows of a table
HIDDEN = ("schema_version",)


class Result(dict[str, Any]):
    """A plain dictionary; in a notebook its measures are a table with intervals drawn."""

    def _repr_html_(self) -> str:
        rows = list(_rows("", self))
        shown = "".join(_line(name, value) for name, value in rows[:MOST])
        more = f"<tr><td colspan=3>and {len(rows) - MOST} more</td></tr>" * (len(rows) > MOST)
        warnings = "".join(
            f"<p><b>{text}</b></p>" for key, text in WARNINGS.items() if self.get(key)
        )
        return f"{warnings}<table>{shown}{more}</table><p>Research use only.</p>"


WARNINGS = {
    "leaky": "LEAKY: groups cross the splits; too optimistic to be reported.",
    "synthetic": "SYNTHETIC: a program drew the images; the numbers say nothing about skin.",
}


def as_result(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose dictionary (a `Result` is one) shows itself in a notebook."""

    @functools.wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        found: Any = function(*arguments, **options)
        return cast(R, Result(found) if type(found) is dict else found)

    return wrapped


def _rows(prefix: str, values: Mapping[str, Any]) -> Any:
    """`(dotted name, value or measure)`, measures whole; long lists as their length."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key in HIDDEN or value is None or value == "":
            continue
        if isinstance(value, Mapping) and (
            {"value", "low", "high"} <= set(value) or "mean" in value
        ):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _rows(f"{name}.", value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield name, f"{len(value)} entries"
        else:
            yield name, value


def _line(name: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return f"<tr><td>{escape(name)}</td><td colspan=2>{escape(text[:200])}</td></tr>"
    middle = value.get("mean", value.get("value"))
    low, high = value.get("low"), value.get("high")
    if middle is None:
        return f"<tr><td>{escape(name)}</td><td colspan=2>too few to say</td></tr>"
    ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    n = "" if value.get("n") is None else f", n = {value['n']}"
    drawn = _drawn(middle, low, high)
    return f"<tr><td>{escape(name)}</td><td>{middle:.3f}{ends}{n}</td><td>{drawn}</td></tr>"


def _drawn(middle: float, low: float | None, high: float | None) -> str:
    """The interval on a line from 0 to 1; nothing for a number outside."""
    if low is None or high is None or not 0 <= low <= high <= 1:
        return ""
    a, b, m = (round(WIDTH * v, 1) for v in (low, high, middle))
    return (
        f'<svg width="{WIDTH}" height="12"><line x1="0" x2="{WIDTH}" y1="6" y2="6" stroke="#ccc"/>'
        f'<line x1="{a}" x2="{b}" y1="6" y2="6" stroke="#1f5fa8" stroke-width="3"/>'
        f'<circle cx="{m}" cy="6" r="4" fill="#1f5fa8"/></svg>'
    )
