"""A look at a data set: samples by class, class counts and shares by part, films with their circle.

One HTML page that needs no network, or one PNG picture.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from lesionlab.data.images import Preprocessing, Roi, open_image, prepare
from lesionlab.data.manifest import Dataset
from lesionlab.data.randomness import philox
from lesionlab.data.split_names import SPLITS
from lesionlab.errors import BadInput, nearest
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.svg import document, join, tag

THUMB = 128  # pixels of a sample's side
BEFORE = "train before balancing"
KEY = (
    "Circle: the region as annotated (or as cropped, where no radius is known). "
    "Square: what is cropped."
)
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666")


@dataclass(frozen=True)
class Sample:
    """One picture of the grid; `film` is the whole picture with its circle, for a region."""

    image_id: str
    label: str
    picture: Image.Image
    film: Image.Image | None = None


def samples(
    dataset: Dataset, per_class: int, split: str, seed: int, progress: Progress = SILENT
) -> dict[str, list[Sample]]:
    """`per_class` random rows of each class, decoded; `split` "" takes them from everywhere."""
    table = dataset.part(split) if split else dataset.table
    chosen: list[int] = []
    for n, name in enumerate(dataset.info.classes):
        rows = table.index[table["label"] == name].to_numpy()
        chosen += list(philox(seed, "show", n).permutation(rows)[:per_class])
    grid: dict[str, list[Sample]] = {name: [] for name in dataset.info.classes}
    for i in progress(chosen, "reading samples", len(chosen)):
        row = table.loc[i]
        grid[row["label"]].append(_sample(dataset, row))
    return grid


def _sample(dataset: Dataset, row: pd.Series) -> Sample:
    image = open_image(dataset.image_path(row["path"]), reading=dataset.reading).convert("RGB")
    if np.isnan(row["roi_x"]):
        picture = Image.fromarray(prepare(image, Preprocessing(size=THUMB, fit="crop")))
        return Sample(row["image_id"], row["label"], picture)
    roi = Roi(row["roi_x"], row["roi_y"], row["roi_size"])
    crop = Image.fromarray(prepare(image, Preprocessing(size=THUMB), roi))
    annotated = pd.to_numeric(row.get("radius", ""), errors="coerce")
    return Sample(row["image_id"], row["label"], crop, circled(image, roi, annotated))


def circled(
    image: Image.Image, roi: Roi, annotated: float = float("nan"), side: int = 2 * THUMB
) -> Image.Image:
    """The whole film, `side` pixels high, with a circle around the region's centre.

    The circle has the radius that was annotated (in pixels of the film), and a thin square shows
    what is cropped; where no radius is known the circle has the crop's size and stands alone.
    """
    scale = side / image.height
    film = image.convert("RGB").resize((max(1, round(image.width * scale)), side))
    draw = ImageDraw.Draw(film)
    half, known = roi.size / 2, bool(np.isfinite(annotated))
    if known:
        draw.rectangle(_box(roi, half, scale), outline=(86, 180, 233), width=1)
    radius = max((float(annotated) if known else half), 3 / scale)
    draw.ellipse(_box(roi, radius, scale), outline=(255, 210, 0), width=2)
    return film


def _box(roi: Roi, half: float, scale: float) -> tuple[float, float, float, float]:
    x, y, r = roi.x * scale, roi.y * scale, half * scale
    return x - r, y - r, x + r, y + r


def counts(dataset: Dataset) -> pd.DataFrame:
    """Rows by part (or "all"), columns by class; training before balancing where it was cut."""
    table = dataset.table
    parts = table["split"].where(table["split"] != "", "no split")
    if (parts == "no split").all():
        parts = parts.replace("no split", "all")
    elif "dropped" in table:
        cut = table["dropped"].str.startswith("left out to balance")
        if cut.any():
            before = table[cut | (parts == "train")].assign(part=BEFORE)
            both = pd.concat([table.assign(part=parts), before])
            return _crosstab(both["part"], both["label"], dataset)
    return _crosstab(parts, table["label"], dataset)


def _crosstab(parts: pd.Series, labels: pd.Series, dataset: Dataset) -> pd.DataFrame:
    order = [BEFORE, *SPLITS, "all", "no split"]
    found = pd.crosstab(parts, labels).reindex(columns=list(dataset.info.classes), fill_value=0)
    return found.loc[[p for p in order if p in found.index]]


def page(dataset: Dataset, grid: dict[str, list[Sample]], title: str) -> str:
    """The whole HTML page; names of files and classes are escaped."""
    table = counts(dataset)
    blocks = [
        tag("h1", title),
        tag("p", f"{len(dataset.table):,} rows, {len(dataset.info.classes)} classes. "
                 f"Licence: {dataset.info.licence}. Research use only."),
        *([tag("p", "These images are synthetic.", class_="flag")] * dataset.info.synthetic),
        *([tag("p", f"LEAKY: {dataset.info.leak_reason}", class_="flag")] * dataset.info.leaky),
        tag("h2", "Class counts by split"), bars(table, "counts", shares=False),
        tag("h2", "Class proportions by split"), bars(table, "shares", shares=True),
        tag("h2", "Samples"),
        *([tag("p", KEY)] * any(s.film for row in grid.values() for s in row)),
        *(_figures(name, row, name in dataset.info.malignant) for name, row in grid.items()),
    ]  # fmt: skip
    style = Markup(
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;"
        "padding:0 1rem;color:#222;background:#fff}figure{display:inline-block;margin:.3rem}"
        "figcaption{font-size:.75rem;max-width:24rem;overflow-wrap:anywhere}img{display:inline-block}"
        ".flag{color:#b00020;font-weight:700}svg{max-width:100%;height:auto}</style>"
    )
    head = join([tag("title", title), style])
    viewport = Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">')
    html = join([viewport, head, tag("body", *blocks)])
    return f'<!doctype html>\n<html lang="en">{html}</html>\n'


def _figures(name: str, row: list[Sample], malignant: bool) -> Markup:
    mark = " (malignant)" if malignant else ""
    figures = [
        tag("figure",
            *([_img(s.film, f"film of {s.image_id}")] if s.film else []),
            _img(s.picture, f"{s.image_id}, {name}"),
            tag("figcaption", s.image_id))
        for s in row
    ]  # fmt: skip
    return join([tag("h3", f"{name}{mark}"), tag("div", *figures)])


def _img(image: Image.Image | None, alt: str) -> Markup:
    if image is None:
        return Markup("")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    width, height = image.size
    return tag("img", src=f"data:image/jpeg;base64,{data}", alt=alt, width=width, height=height)


def bars(table: pd.DataFrame, key: str, shares: bool) -> Markup:
    """Grouped horizontal bars: for each part one bar a class, with its number."""
    values = table.div(table.sum(axis=1).clip(lower=1), axis=0) if shares else table
    top = max(float(values.to_numpy().max()), 1e-9)
    parts, y = [], 8.0
    for part in values.index:
        parts.append(tag("text", str(part), x=0, y=y + 12, font_size=14, font_weight="bold"))
        y += 18
        for k, name in enumerate(values.columns):
            value = float(values.at[part, name])
            told = f"{value:.1%}" if shares else f"{value:,.0f}"
            width = 400 * value / top
            parts += [
                tag("text", str(name), x=170, y=y + 11, font_size=12, text_anchor="end"),
                tag("rect", x=178, y=y, width=width, height=13, fill=COLOURS[k % len(COLOURS)]),
                tag("text", told, x=184 + width, y=y + 11, font_size=12),
            ]
            y += 17
        y += 8
    title = "Class proportions by split" if shares else "Class counts by split"
    return document(key, 660, y, title, f"{title}, as numbers beside bars", *parts)


def sheet(dataset: Dataset, grid: dict[str, list[Sample]], title: str) -> Image.Image:
    """The same as one picture: a row of samples for each class, then the bars."""
    font, small = ImageFont.load_default(16), ImageFont.load_default(12)
    cell = THUMB + 8
    films = any(s.film for row in grid.values() for s in row)
    wide, high = (cell + 2 * THUMB + 8, 2 * THUMB + 8) if films else (cell, cell)
    columns = max((len(row) for row in grid.values()), default=0)
    table = counts(dataset)
    tall = 40 + len(grid) * (high + 24) + len(table) * (18 * len(table.columns) + 30) + 20
    canvas = Image.new("RGB", (max(20 + columns * wide, 680), tall), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((10, 8), title, "black", font)
    y = 40
    for name, row in grid.items():
        mark = " (malignant)" if name in dataset.info.malignant else ""
        draw.text((10, y), f"{name}{mark}", "black", font)
        for n, sample in enumerate(row):
            x = 10 + n * wide
            if sample.film:
                canvas.paste(sample.film.crop((0, 0, 2 * THUMB, 2 * THUMB)), (x, y + 22))
                x += 2 * THUMB + 4
            canvas.paste(sample.picture, (x, y + 22))
        y += high + 24
    for part in table.index:
        y = _drawn_bars(draw, table.loc[part], str(part), y, small)
    return canvas


def _drawn_bars(
    draw: ImageDraw.ImageDraw,
    row: pd.Series,
    part: str,
    y: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> int:
    total = max(int(row.sum()), 1)
    draw.text((10, y), f"{part}: {total:,}", "black", font)
    for k, (name, n) in enumerate(row.items()):
        top = y + 18 * (k + 1)
        draw.text((10, top), str(name)[:24], "black", font)
        draw.rectangle((180, top, 180 + 400 * n / total, top + 13), fill=COLOURS[k % len(COLOURS)])
        draw.text((186 + 400 * n / total, top), f"{n:,} ({n / total:.1%})", "black", font)
    return y + 18 * len(row) + 30


def check_output(suffix: str) -> None:
    """Raise `BadInput` for a file that is neither .html nor .png."""
    if suffix.lower() not in (".html", ".png"):
        raise BadInput(
            f"cannot write samples as '{suffix}'", remedy=nearest(suffix, [".html", ".png"])
        )
