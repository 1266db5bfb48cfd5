"""The two figures of a challenge's score: all ROC curves in one, and the confusion matrix.

SVG by the report's own charts; PNG by Pillow, for the notebook or the slide that takes no SVG.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge.scorers import Judged
from lesionlab.evaluation.curves import roc_curve
from lesionlab.reporting.plots import Curve, confusion, curve_plot
from lesionlab.reporting.svg import Axis, Frame

# Okabe and Ito's palette (jfly.uni-koeln.de/color): told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#7d8790", "#009E73", "#CC79A7")
SCALE = 3  # PNG pixels per SVG pixel
INK, PALE = "#1d2329", "#9aa4ad"
# What the classes of the charts look like without the report's style sheet.
STYLE = """
text { font-family: Helvetica, Arial, sans-serif; font-size: 12px; fill: #1d2329; }
.tick, .small { font-size: 11px; } .tick, .muted { fill: #5b6670; }
.on-dark { fill: #ffffff; } .strong { font-weight: bold; }
.axis { stroke: #39424b; fill: none; } .grid { stroke: #e4e8eb; fill: none; }
.reference { stroke: #9aa4ad; stroke-dasharray: 4 3; fill: none; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.heat { fill: #0072B2; } .cell { fill: none; stroke: #ffffff; }
""" + "".join(f".s{i}.line {{ stroke: {colour}; }}\n" for i, colour in enumerate(COLOURS))


def draw_score(judged: Judged, folder: Path) -> list[Path]:
    """Write roc.svg, roc.png and, where there is a confusion matrix, confusion.svg and .png.

    Existing files of these names are replaced. Returns the paths.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(folder)) from None
    curves = roc_curves(judged)
    contents = {"roc.svg": roc_svg(judged, curves).encode(), "roc.png": roc_png(curves)}
    if judged.score.confusion is not None:
        contents |= {
            "confusion.svg": confusion_svg(judged).encode(),
            "confusion.png": confusion_png(judged),
        }
    for name, content in contents.items():
        files.write_bytes(folder / name, content)
    return [folder / name for name in contents]


def shown_name(column: str) -> str:
    """What a column is called in words."""
    return {"task_1": "melanoma", "task_2": "seborrheic keratosis"}.get(column, column)


def roc_curves(judged: Judged) -> list[Curve]:
    """One curve a column, named with its area; columns without both sides are left out."""
    found = []
    for k, name in enumerate(judged.columns):
        truth = judged.truth[:, k]
        if truth.any() and not truth.all():
            fpr, tpr, _ = roc_curve(truth, judged.values[:, k])
            area = float(np.trapezoid(tpr, fpr))
            shown = shown_name(name)
            found.append(Curve(f"{shown} (area {area:.3f})", fpr, tpr, style=k % len(COLOURS)))
    return found


def roc_svg(judged: Judged, curves: Sequence[Curve]) -> str:
    """All curves in one figure, a file of its own."""
    frame = Frame(Axis("False positive rate", 0, 1), Axis("True positive rate", 0, 1), 320, 320)
    title = f"ROC curves, {judged.score.challenge}"
    text = f"{judged.score.n} images; the dashed diagonal is chance."
    svg = curve_plot("roc", title, text, frame, curves, reference=([0, 1], [0, 1]))
    return standalone(str(svg))


def confusion_svg(judged: Judged) -> str:
    """Rows sum to 1; counts below."""
    score = judged.score
    name = shown_name(score.positive)
    title = f"Confusion matrix of {name} at a threshold of {score.threshold:g}"
    text = f"Positive at a score >= {score.threshold:g}; rows are true classes and sum to 1."
    counts = np.asarray(score.confusion)
    names = names_of(judged)
    svg = confusion("confusion", title, text, names, counts, "true class", "predicted class", "n")
    return standalone(str(svg))


def standalone(svg: str) -> str:
    """The chart as a file of its own: white ground, and the style that the report else gives."""
    opening, rest = svg.split(">", 1)
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{head}{opening}><style>{STYLE}</style>{ground}{rest}\n"


def names_of(judged: Judged) -> tuple[str, str]:
    """What the two rows of the confusion matrix are called."""
    binary = judged.score.challenge in ("isic2016", "udacity", "isic2020", "isic2024")
    return ("benign", "malignant") if binary else ("the rest", judged.score.positive)


@dataclass(frozen=True)
class _Sheet:
    """A PNG in the making, in the coordinates of the SVG."""

    image: Image.Image
    pen: ImageDraw.ImageDraw

    def text(self, x: float, y: float, text: str, anchor: str = "la", fill: str = INK) -> None:
        """Text at a point; the anchor in Pillow's two letters."""
        font = ImageFont.load_default(12 * SCALE)
        self.pen.text((x * SCALE, y * SCALE), text, fill, font, anchor)

    def line(
        self, points: Sequence[tuple[float, float]], fill: str, width: float, dash: bool = False
    ) -> None:
        """A polyline; dashed ones as every other piece of a straight line."""
        if dash:
            ends = np.linspace(points[0], points[-1], 61)
            for a, b in zip(ends[::2], ends[1::2], strict=False):
                self.line([tuple(a), tuple(b)], fill, width)
            return
        flat = [(x * SCALE, y * SCALE) for x, y in points]
        self.pen.line(flat, fill, round(width * SCALE), joint="curve")

    def png(self) -> bytes:
        """The file."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def _sheet(width: float, height: float) -> _Sheet:
    image = Image.new("RGB", (round(width * SCALE), round(height * SCALE)), "white")
    return _Sheet(image, ImageDraw.Draw(image))


def roc_png(curves: Sequence[Curve]) -> bytes:
    """The ROC figure as PNG."""
    left, top, side = 60.0, 16.0, 320.0
    sheet = _sheet(left + side + 20, top + side + 60 + 18 * len(curves))
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = left + side * tick, top + side * (1 - tick)
        sheet.line([(x, top), (x, top + side)], "#e4e8eb", 1)
        sheet.line([(left, y), (left + side, y)], "#e4e8eb", 1)
        sheet.text(x, top + side + 6, f"{tick:g}", "ma", "#5b6670")
        sheet.text(left - 6, y, f"{tick:g}", "rm", "#5b6670")
    sheet.line([(left, top), (left, top + side), (left + side, top + side)], INK, 1)
    sheet.line([(left, top + side), (left + side, top)], PALE, 1, dash=True)
    sheet.text(left + side / 2, top + side + 24, "False positive rate", "ma")
    sheet.text(left + 6, top + 4, "True positive rate", "la")
    for i, curve in enumerate(curves):
        colour = COLOURS[curve.style]
        across, down = left + side * np.asarray(curve.x), top + side * (1 - np.asarray(curve.y))
        sheet.line(list(zip(across.tolist(), down.tolist(), strict=True)), colour, 1.8)
        row = top + side + 52 + 18 * i
        sheet.line([(left, row + 7), (left + 24, row + 7)], colour, 2)
        sheet.text(left + 32, row, curve.name)
    return sheet.png()


def confusion_png(judged: Judged) -> bytes:
    """The confusion matrix as PNG."""
    counts = np.asarray(judged.score.confusion, np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    names, left, top, cell = names_of(judged), 150.0, 60.0, 90.0
    sheet = _sheet(left + 2 * cell + 70, top + 2 * cell + 40)
    sheet.text(left + cell, 8, "decision", "ma")
    sheet.text(12, top + cell, "truth", "lm")
    for i in range(2):
        sheet.text(left - 8, top + cell * (i + 0.5), names[i], "rm")
        sheet.text(left + cell * (i + 0.5), top - 22, names[i], "ma")
        sheet.text(left + 2 * cell + 8, top + cell * (i + 0.5), f"n = {totals[i, 0]:,.0f}", "lm")
        for j in range(2):
            _png_cell(sheet, left + cell * j, top + cell * i, cell, shares[i, j], counts[i, j])
    name = shown_name(judged.score.positive)
    note = f"{name}: positive at >= {judged.score.threshold:g}; rows sum to 1"
    sheet.text(12, top + 2 * cell + 14, note, fill="#5b6670")
    return sheet.png()


def _png_cell(sheet: _Sheet, x: float, y: float, size: float, share: float, count: float) -> None:
    blue = np.array([0, 114, 178])
    colour = tuple(int(v) for v in 255 + (blue - 255) * (0.02 + 0.92 * share))
    corners = [x * SCALE, y * SCALE, (x + size) * SCALE, (y + size) * SCALE]
    sheet.pen.rectangle(corners, fill=colour, outline="white", width=SCALE)
    tone = "white" if share > 0.6 else INK
    sheet.text(x + size / 2, y + size / 2 - 8, f"{share:.2f}", "mm", tone)
    sheet.text(x + size / 2, y + size / 2 + 12, f"{count:,.0f}", "mm", tone)
