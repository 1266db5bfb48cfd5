"""mini-MIAS: 322 mammograms with circles around abnormalities (Suckling et al. 1994).

The table counts y from the bottom of the film, so the row is 1024 - y. Films come in pairs, odd
the right and even the left breast of one patient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data import regions
from lesionlab.data.images import Roi, open_image
from lesionlab.data.randomness import philox
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.common import images_by_stem
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted, nearest

SIDE = 1024  # every film is 1024 x 1024
LABELS = {"B": "benign", "M": "malignant", "": "normal"}
KINDS = ("CALC", "CIRC", "SPIC", "MISC", "ARCH", "ASYM", "NORM")
# What the tutorials model: calcifications, the three kinds of masses, everything.
CHOICES = {"all": KINDS, "calc": ("CALC",), "mass": ("CIRC", "SPIC", "MISC")}
ROW = re.compile(r"^(mdb\d{3})\s+([FGD])\s+([A-Z]{4})(?:\s+([BM])\b)?\s*(.*)$")
TUTORIAL_RADIUS = 48.0  # of a normal's patch, at a random point near the centre
TUTORIAL_PATCH = 48


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row a region: annotated abnormalities, and one patch of each normal film.

    `roi="fixed"` (the default) takes `roi_size` pixels around the centre; `roi="radius"` scales
    with the annotated circle, which tells the network the lesion's size. `normals` is `inside`
    (a random point inside the breast), `centre` (near the image centre, as in the tutorial) or
    `none`.
    `abnormality` is `all`, `calc` or `mass`. `protocol="tutorial"` reproduces the tutorial: one
    row a film, cropped by its radius, as 12 turned and mirrored 48 x 48 patches which are
    written as images of their own.
    """
    tutorial = options["protocol"] == "tutorial"
    options = {**options, "roi": options["roi"] or ("radius" if tutorial else "fixed")}
    _check(options)
    films = images_by_stem(tree, _film_names(tree))
    rows, notes = parse(tree.read(_info_name(tree)).decode("latin-1"))
    rows, rejected = _located(rows, films, tutorial)
    rows = rows[rows["abnormality"].isin(CHOICES[options["abnormality"]])]
    if options["normals"] == "none":
        rows = rows[rows["label"] != "normal"]
    table = _with_regions(rows.reset_index(drop=True), tree, films, options)
    read: Callable[[str], bytes] = tree.read
    if tutorial:
        table, read = _patches(table, tree)
    classes = tuple(c for c in LABELS.values() if (table["label"] == c).any())
    return Found(
        rows=table,
        read=read,
        classes=classes,
        malignant=("malignant",),
        rejected=tuple(rejected),
        notes=(*notes, *_notes(table, options)),
        expected={} if tutorial or options["abnormality"] != "all" else None,
    )


def parse(text: str) -> tuple[pd.DataFrame, list[str]]:
    """The table in `Info.txt`, and a note that counts its rows.

    Some copies have free text before and after the table; other lines are therefore skipped.
    Columns: `film, tissue, abnormality, label, x, y, radius`, the last three NaN where absent.
    """
    rows = []
    for line in text.splitlines():
        match = ROW.match(line.rstrip())
        if match and match[3] in KINDS:
            film, tissue, kind, severity, rest = match.groups()
            numbers = [float(t) for t in rest.split() if t.isdigit()]
            x, y, radius = numbers if len(numbers) == 3 else (np.nan,) * 3
            rows.append((film, tissue, kind, LABELS[severity or ""], x, y, radius))
    columns = ["film", "tissue", "abnormality", "label", "x", "y", "radius"]
    table = pd.DataFrame(rows, columns=columns)
    films = counted(table["film"].nunique(), "film")
    note = f"{counted(len(table), 'row')} of Info.txt parsed, of {films}"
    if table.empty:
        raise BadInput("no rows such as 'mdb001 G CIRC B 535 425 197'", where="Info.txt")
    return table, [note]


def _check(options: Mapping[str, Any]) -> None:
    known = {"roi": ("fixed", "radius"), "normals": ("inside", "centre", "none"),
             "abnormality": tuple(CHOICES), "protocol": ("regions", "tutorial")}  # fmt: skip
    for name, values in known.items():
        if options[name] not in values:
            raise BadInput(f"--{name} '{options[name]}'", remedy=nearest(options[name], values))
    if not 8 <= float(options["roi_size"]) <= SIDE:
        raise BadInput(f"--roi-size {options['roi_size']} is not between 8 and {SIDE} pixels")


def _film_names(tree: Tree) -> list[str]:
    return tree.named(r"mdb\d{3}\.(png|pgm|tif|tiff|jpg|jpeg|bmp)")


def _info_name(tree: Tree) -> str:
    names = tree.named(r"info(\.txt)?") or [
        n for n in tree.ending(".txt") if b"mdb001" in tree.read(n)[:20000]
    ]
    if not names:
        raise BadInput("no Info.txt", where=tree.origin, remedy="give the whole distribution")
    return names[0]


def _located(
    rows: pd.DataFrame, films: Mapping[str, str], tutorial: bool
) -> tuple[pd.DataFrame, list[Rejected]]:
    """Drop rows without a film or, unless normal, without a position."""
    if tutorial:  # its author keeps the first row of a film, and treats mdb059 as a normal one
        rows = rows.drop_duplicates("film")
    lost = ~rows["film"].isin(list(films))
    blank = rows["x"].isna() & (rows["abnormality"] != "NORM")
    if tutorial:
        blank &= rows["film"] != "mdb059"
    rejected = [Rejected(f, "its film is missing") for f in rows.loc[lost, "film"]]
    rejected += [Rejected(f, "its row gives no position") for f in rows.loc[blank & ~lost, "film"]]
    return rows[~lost & ~blank], rejected


def _with_regions(
    rows: pd.DataFrame, tree: Tree, films: Mapping[str, str], options: Mapping[str, Any]
) -> pd.DataFrame:
    number = rows["film"].str[3:].astype(int)
    again = rows.groupby("film").cumcount()
    table = rows.assign(
        image_id=rows["film"] + np.where(again > 0, "-" + (again + 1).astype(str), ""),
        file=rows["film"].map(films),
        patient_id=((number - 1) // 2 + 1).map("MIAS_{:03d}".format),
        side=np.where(number % 2 == 1, "right", "left"),
        roi_x=rows["x"],
        roi_y=SIDE - rows["y"],
        roi_size=2 * rows["radius"] if options["roi"] == "radius" else float(options["roi_size"]),
        site="breast",
        sex="female",
    )
    radii = rows["radius"].dropna().to_numpy()
    for i in table.index[table["x"].isna()]:
        draw = philox(int(options["seed"]), "normal", int(number[i]))
        place = _normal(tree, str(table.at[i, "file"]), radii, options, draw)
        table.loc[i, ["roi_x", "roi_y", "roi_size"]] = place
    return table.drop(columns=["film", "x", "y"]).assign(
        radius=table["radius"].map(lambda r: "" if np.isnan(r) else f"{r:.0f}")
    )


def _normal(
    tree: Tree, name: str, radii: Any, options: Mapping[str, Any], draw: np.random.Generator
) -> tuple[float, float, float]:
    """Centre and size of a normal film's patch."""
    if options["normals"] == "centre" or options["protocol"] == "tutorial":
        x, y = draw.integers(500, 513, 2)
        size = float(options["roi_size"]) if options["roi"] == "fixed" else 2 * TUTORIAL_RADIUS
        return float(x), float(y), size
    size = (
        float(options["roi_size"]) if options["roi"] == "fixed" else 2 * float(draw.choice(radii))
    )
    mask = regions.breast_mask(open_image(tree.read(name), name))
    return (*regions.random_point(mask, size / 2, draw), size)


def _patches(table: pd.DataFrame, tree: Tree) -> tuple[pd.DataFrame, Callable[[str], bytes]]:
    """Twelve rows for one: the tutorial's turned and mirrored patches as images of their own."""
    rows = table.to_dict("records")
    by_id = {str(r["image_id"]): r for r in rows}

    @lru_cache(maxsize=64)
    def versions(image_id: str) -> dict[str, bytes]:
        row = by_id[image_id]
        film = open_image(tree.read(row["file"]), row["file"])
        roi = Roi(row["roi_x"], row["roi_y"], row["roi_size"])
        patch = regions.crop_png(film, roi, TUTORIAL_PATCH)
        return {name: regions.png(image) for name, image in regions.dihedral(patch)}

    names = [f"r{turn}{mirror}" for turn in (0, 90, 180, 270) for mirror in ("", "-lr", "-tb")]
    many = [
        {**row, "image_id": f"{i}-{name}", "file": f"{i}/{name}.png", "film": i,
         "roi_x": "", "roi_y": "", "roi_size": ""}
        for i, row in by_id.items() for name in names
    ]  # fmt: skip

    def read(name: str) -> bytes:
        image_id, version = name.removesuffix(".png").split("/")
        return versions(image_id)[version]

    return pd.DataFrame(many), read


def _notes(table: pd.DataFrame, options: Mapping[str, Any]) -> list[str]:
    notes = [f"regions: {options['roi']} field of view, y counted from the top (row = 1024 - y)"]
    if options["protocol"] == "tutorial":
        notes.append(
            "12 turned and mirrored patches of each film stand as images of their own: a split "
            "by image puts a twin of every test patch into training"
        )
    n = table["label"].value_counts().to_dict()
    return [*notes, "regions by label: " + ", ".join(f"{k} {v}" for k, v in sorted(n.items()))]


def recognise(tree: Tree) -> str:
    """Why a tree is mini-MIAS, or ""."""
    films = _film_names(tree)
    if not films or not (tree.named(r"info(\.txt)?") or tree.ending(".txt")):
        return ""
    return f"{len(films)} films named mdb001 ... and an Info.txt"


SOURCE = Source(
    name="mini-mias",
    title="mini-MIAS",
    find=find,
    recognise=recognise,
    licence="MIAS licence: research only, cite MIAS, no sale",
    citation="Suckling et al.: The Mammographic Image Analysis Society digital mammogram "
    "database, Excerpta Medica ICS 1069, 375-378 (1994)",
    modality="mammography",
    expected={"images": 318, "patients": 161},
    # The annotators' class of the abnormality and its radius are part of the reading.
    forbidden=("abnormality", "radius"),
    options={"roi": None, "roi_size": 96, "normals": "inside", "abnormality": "all",
             "protocol": "regions", "seed": 0},
)  # fmt: skip
