"""CBIS-DDSM: mammograms with biopsy-proven masses and calcifications (Lee et al. 2017)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from PIL import Image

from lesionlab.data import tables
from lesionlab.data.archive import Tree
from lesionlab.data.dicom import is_dicom, read_dicom
from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.data.images import open_image
from lesionlab.data.mask_geometry import binary, read_mask, same_aspect
from lesionlab.data.regions import png
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source, columns_test
from lesionlab.errors import BadInput

LABELS = {"MALIGNANT": "malignant", "BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign"}
COLUMNS = ("patient_id", "left or right breast", "image view", "abnormality id",
           "abnormality type", "pathology", "image file path", "cropped image file path",
           "ROI mask file path")  # fmt: skip
PATHS = {"film": "image file path", "crop": "cropped image file path", "mask": "ROI mask file path"}


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row an abnormality. `view="crop"` takes the cropped picture, `view="film"` the film.

    The crop and the mask are swapped in some rows of the published tables: the smaller of the
    two pictures is the crop. With `view="film"` the region is the bounding square of the mask.
    """
    names = tree.with_columns(*COLUMNS)
    if not names:
        raise BadInput("no mass_case_description_train_set.csv", where=tree.origin)
    table, notes = _cases(tree, names)
    find_file = _finder(tree)
    rows, rejected = [], []
    for row in table.to_dict("records"):
        files = {k: find_file(row[c]) for k, c in PATHS.items()}
        try:
            rows.append({**row, **_placed(tree, files, str(options["view"]))})
        except BadInput as error:
            rejected.append(Rejected(row["image_id"], str(error)))
    if not rows:
        raise BadInput("no image that the tables name was found", where=tree.origin,
                       remedy=rejected[0].reason)  # fmt: skip
    keep = [c for c in table.columns if c not in PATHS.values()]
    extra = [c for c in rows[0] if c not in table.columns]
    return Found(
        rows=pd.DataFrame(rows)[[*keep, *extra]],
        read=_reader(tree),
        classes=("benign", "malignant"),
        malignant=("malignant",),
        rejected=tuple(rejected),
        notes=tuple(notes),
    )


def _cases(tree: Tree, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    found, notes = [], []
    for name in names:
        table, more = tables.read_csv(tree.read(name), name)
        table = table.rename(columns={"breast density": "breast_density"})
        odd = ~table["pathology"].isin(list(LABELS))
        if odd.any():
            row = int(odd.to_numpy().argmax())
            raise BadInput(f"pathology '{table['pathology'].iloc[row]}' in row {row + 2}",
                           where=name, remedy="known: " + ", ".join(LABELS))  # fmt: skip
        found.append(table.assign(official_split=common.part_of(name)))
        notes += more
    table = pd.concat(found, ignore_index=True).fillna("")
    words = ["abnormality type", "patient_id", "left or right breast", "image view",
             "abnormality id"]  # fmt: skip
    table["image_id"] = table[words].agg("_".join, axis=1).str.replace(" ", "-")
    table = table.rename(columns={"left or right breast": "side", "image view": "view"})
    table["label"] = table["pathology"].map(LABELS)
    return table.assign(site="breast", sex="female"), notes


def _finder(tree: Tree) -> Callable[[str], str]:
    """From a table's path to the file: the same path, whatever stands above or the suffix is."""
    stems = {_stem(n): n for n in tree.ending(".dcm", *SUFFIXES)}
    tails: dict[str, str] = {}
    for stem, name in stems.items():
        for start in range(stem.count("/") + 1):
            tails.setdefault("/".join(stem.split("/")[start:]), name)

    def find_file(path: str) -> str:
        plain = re.sub(r"\s+", "", path)  # some paths hold line breaks
        return tails.get(_stem(plain), "")

    return find_file


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z]+$", "", name.strip("/"))


def _placed(tree: Tree, files: Mapping[str, str], view: str) -> dict[str, Any]:
    """The `file` (and region) of one abnormality."""
    if view == "crop":
        pair = [f for f in (files["crop"], files["mask"]) if f]
        if not pair:
            raise BadInput("its crop is missing")
        areas = [_size(tree, name) for name in pair]
        return {"file": pair[areas.index(min(areas))]}
    if not files["film"]:
        raise BadInput("its film is missing")
    pair = [f for f in (files["crop"], files["mask"]) if f]
    if not pair:
        raise BadInput("its mask is missing")
    mask = max(pair, key=lambda name: _size(tree, name))
    return {"file": files["film"], **_region(tree, mask, files["film"])}


def _region(tree: Tree, mask_name: str, film_name: str) -> dict[str, float]:
    """The bounding square of a mask in pixels of its film: some masks are larger than the film."""
    mask, film = _mask(tree, mask_name), _open(tree, film_name)
    box = mask.getbbox()
    if box is None:
        raise BadInput("its mask is empty", where=mask_name)
    if not same_aspect(mask.size, film.size):
        shapes = [f"{picture.width} x {picture.height}" for picture in (mask, film)]
        raise BadInput(f"its mask of {shapes[0]} does not fit its film of {shapes[1]}")
    left, top, right, bottom = box
    x, y = film.width / mask.width, film.height / mask.height
    side = max((right - left) * x, (bottom - top) * y)
    return {"roi_x": (left + right) / 2 * x, "roi_y": (top + bottom) / 2 * y, "roi_size": side}


def _mask(tree: Tree, name: str) -> Image.Image:
    data = tree.read(name)
    return binary(read_dicom(data, name).image) if is_dicom(data) else read_mask(data, name)


def _open(tree: Tree, name: str) -> Image.Image:
    data = tree.read(name)
    return read_dicom(data, name).image if is_dicom(data) else open_image(data, name)


def _size(tree: Tree, name: str) -> int:
    image = _open(tree, name)
    return image.width * image.height


def _reader(tree: Tree) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        data = tree.read(name)
        return png(read_dicom(data, name).image) if is_dicom(data) else data

    return read


SOURCE = Source(
    name="cbis-ddsm",
    title="CBIS-DDSM",
    find=find,
    recognise=columns_test(*COLUMNS),
    licence="CC BY 3.0",
    citation="Lee et al.: A curated mammography data set, Sci Data 4, 170177 (2017)",
    modality="mammography",
    # What a radiologist wrote, and what the biopsy said.
    forbidden=("assessment", "subtlety", "pathology", "mass shape", "mass margins", "calc type",
               "calc distribution", "abnormality type", "abnormality id"),
    options={"view": "crop"},
)  # fmt: skip
