"""The report's charts as files of their own: standalone SVG, and the table behind each as CSV."""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from importlib import resources

from lesionlab.reporting.content import Chart, Table

GUARDED = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take these for a formula


def standalone(chart: Chart) -> str:
    """The chart as an SVG document: white ground and the style that the page else gives.

    The handle of the threshold explorer is left out: on paper nothing can be dragged.
    """
    svg = re.sub(r'<g class="handle".*?</g>', "", str(chart.svg))
    opening, rest = svg.split(">", 1)
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{head}{opening}><style>{_style()}</style>{ground}{rest}\n"


def table_csv(table: Table) -> str:
    """The table behind a chart; a cell that a spreadsheet would run gets a leading quote."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in (table.columns, *table.rows):
        writer.writerow([_guarded(cell) for cell in row])
    return buffer.getvalue()


def _guarded(cell: str) -> str:
    text = cell.replace("\n", " ")
    number = re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?", text)
    return f"'{text}" if text.startswith(GUARDED) and not number else text


@cache
def _style() -> str:
    folder = resources.files("lesionlab.reporting") / "templates"
    return (folder / "figure.css").read_text(encoding="utf-8")
