"""Drawing in SVG: tags that escape, axes, paths. Nothing here knows what is plotted."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup, escape

from lesionlab.array_types import Floats

Numbers = Sequence[float] | Floats


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element; text and attribute values are escaped unless they are `Markup`.

    >>> tag("text", "a < b", class_="label", x=1.50)
    Markup('<text class="label" x="1.5">a &lt; b</text>')
    """
    parts = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
        if value is not None
    ]
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(name, Markup("").join(parts), inside, name)


def _attribute(value: object) -> str:
    return number(value) if isinstance(value, int | float | np.number) else str(value)


def number(value: Any) -> str:
    """A coordinate with at most one decimal: a tenth of a pixel is finer than any screen.

    >>> number(3.0), number(0.04), number(-1.26)
    ('3', '0', '-1.3')
    """
    text = f"{float(value):.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def join(parts: Sequence[str]) -> Markup:
    """Pieces of markup, one after the other."""
    return Markup("").join(parts)


def document(
    key: str, width: float, height: float, title: str, description: str, *children: str
) -> Markup:
    """A whole `<svg>`: an image with a name and a description for those who cannot see it."""
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        class_="chart",
        id=key,
    )


def label(text: str, x: float, y: float, class_: str = "label", anchor: str = "start") -> Markup:
    """A line of text at a point; `anchor` is start, middle or end."""
    place = None if anchor == "start" else anchor
    return tag("text", text, x=x, y=y, class_=class_, text_anchor=place)


def text_width(text: str, size: float = 12) -> float:
    """Rough width in pixels: SVG cannot measure, and a wide character is twice a Latin one."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return size * (0.54 * (len(text) - wide) + 1.0 * wide)


def fit(text: str, width: float, size: float = 12) -> str:
    """`text`, cut with an ellipsis where it would be wider than `width` pixels.

    >>> fit("seborrhoeic keratosis", 60)
    'seborrho…'
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def path(x: Numbers, y: Numbers, class_: str, **attributes: object) -> Markup:
    """A line through pixel points; points that a tenth of a pixel cannot tell apart are dropped."""
    points = _thinned(np.round(np.column_stack([x, y]).astype(float), 1))
    if not len(points):
        return Markup("")
    data = "M" + "L".join(f"{number(a)},{number(b)}" for a, b in points)
    return tag("path", d=data, class_=class_, **attributes)


def area(x: Numbers, low: Numbers, high: Numbers, class_: str) -> Markup:
    """A filled band between two lines over the same pixel abscissae."""
    x = np.asarray(x, float)
    known = np.isfinite(np.asarray(low, float)) & np.isfinite(np.asarray(high, float))
    if known.sum() < 2:
        return Markup("")
    upper = np.column_stack([x, high])[known]
    lower = np.column_stack([x, low])[known][::-1]
    points = np.round(np.vstack([_thinned(upper), _thinned(lower)]).astype(float), 1)
    data = "M" + "L".join(f"{number(a)},{number(b)}" for a, b in points) + "Z"
    return tag("path", d=data, class_=class_)


def _thinned(points: Floats) -> Floats:
    """Without unknown points, and without those that lie on a straight line between others."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 3:
        return points
    step = np.diff(points, axis=0)
    points = points[np.r_[True, (np.abs(step) > 0.04).any(axis=1)]]
    if len(points) < 3:
        return points
    before, after = points[1:-1] - points[:-2], points[2:] - points[1:-1]
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    onward = (before * after).sum(axis=1) >= 0  # a turn back on the same line is a turn
    return points[np.r_[True, ~((np.abs(cross) < 1e-9) & onward), True]]


Kind = Literal["linear", "log", "logit"]
_TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda v: v,
    "log": lambda v: np.log10(np.maximum(v, 1e-300)),
    "logit": lambda v: np.log(np.clip(v, 1e-9, 1 - 1e-9) / (1 - np.clip(v, 1e-9, 1 - 1e-9))),
}


@dataclass(frozen=True)
class Axis:
    """One direction of a plot: its name, range, scale and ticks (`None`: chosen here)."""

    name: str
    low: float
    high: float
    kind: Kind = "linear"
    ticks: tuple[float, ...] | None = None
    reverse: bool = False

    def share(self, values: Numbers | float) -> Floats:
        """Position of values along the axis, 0 to 1, clipped to the ends."""
        change = _TRANSFORMS[self.kind]
        low, high = (float(change(np.asarray(v, float))) for v in (self.low, self.high))
        span = (high - low) or 1.0
        place = np.clip((change(np.asarray(values, float)) - low) / span, 0, 1)
        return 1 - place if self.reverse else place

    def marks(self) -> tuple[float, ...]:
        """Where the ticks stand."""
        if self.ticks is not None:
            return self.ticks
        if self.kind == "log":
            low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1.0,) if high - low > 2 else (1.0, 2.0, 5.0)
            each = [m * 10.0**e for e in range(low, high + 1) for m in steps]
            return tuple(v for v in each if self.low <= v <= self.high)
        return nice_ticks(self.low, self.high)


def nice_ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """About `about` round numbers from `low` to `high`.

    >>> nice_ticks(0, 1)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    if not high > low:
        return (low,)
    size = 10.0 ** math.floor(math.log10((high - low) / about))
    step = min((m * size for m in (1, 2, 5, 10)), key=lambda s: abs((high - low) / s - about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def tick_text(value: float) -> str:
    """A tick's number, short.

    >>> [tick_text(v) for v in (0.0, 0.2, 1.0, 5000.0, 1e-05)]
    ['0', '0.2', '1', '5,000', '1e-5']
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:,.6g}"


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot in pixels, with its two axes."""

    x: Axis
    y: Axis
    width: float = 300
    height: float = 260
    left: float = 52
    top: float = 10

    def px(self, values: Numbers | float) -> Floats:
        """Pixels of data values, from the left."""
        return self.left + self.width * self.x.share(values)

    def py(self, values: Numbers | float) -> Floats:
        """Pixels of data values, from the top (larger values lie higher)."""
        return self.top + self.height * (1 - self.y.share(values))

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    def draw(self) -> Markup:
        """Grid, axes, ticks and names."""
        parts = [self._vertical(v) for v in self.x.marks()]
        parts += [self._horizontal(v) for v in self.y.marks()]
        parts.append(
            tag("path", class_="axis", d=self._corner()),
        )
        middle = self.left + self.width / 2
        parts.append(label(self.x.name, middle, self.bottom + 34, "axis-name", "middle"))
        if self.y.name:
            x, y = 13.0, self.top + self.height / 2
            turn = f"rotate(-90 {number(x)} {number(y)})"
            parts.append(
                tag(
                    "text",
                    self.y.name,
                    x=x,
                    y=y,
                    class_="axis-name",
                    text_anchor="middle",
                    transform=turn,
                )
            )
        return join(parts)

    def _corner(self) -> str:
        corner = [(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)]
        return "M" + "L".join(f"{number(a)},{number(b)}" for a, b in corner)

    def _vertical(self, value: float) -> Markup:
        x = float(self.px(value))
        line = tag(
            "path", d=f"M{number(x)},{number(self.top)}V{number(self.bottom)}", class_="grid"
        )
        return line + label(tick_text(value), x, self.bottom + 16, "tick", "middle")

    def _horizontal(self, value: float) -> Markup:
        y = float(self.py(value))
        line = tag(
            "path", d=f"M{number(self.left)},{number(y)}H{number(self.right)}", class_="grid"
        )
        return line + label(tick_text(value), self.left - 7, y + 4, "tick", "end")
