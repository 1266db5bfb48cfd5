"""CBIS-DDSM: mammograms with biopsy-proven masses and calcifications (Lee et al. 2017)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lesionlab.data import tables
from lesionlab.data.dicom import read_dicom
from lesionlab.data.file_kinds import is_dicom
from lesionlab.data.images import open_image
from lesionlab.data.mask_geometry import binary, read_mask, same_aspect
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source, columns_test
from lesionlab.data.sources.mammograms import sides
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

LABELS = {"MALIGNANT": "malignant", "BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign"}
COLUMNS = ("patient_id", "left or right breast", "image view", "abnormality id",
           "abnormality type", "pathology", "image file path", "cropped image file path",
           "ROI mask file path")  # fmt: skip
UID = re.compile(r"\d+(\.\d+)+")
PATHS = {"film": "image file path", "crop": "cropped image file path", "mask": "ROI mask file path"}


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row an abnormality. `view="crop"` takes the cropped picture, `view="film"` the film.

    The crop and the mask are swapped in some rows of the published tables, and stand in one
    folder in copies: the smaller of the two pictures is the crop. With `view="film"` the region
    is the bounding square of the mask.
    """
    names = tree.with_columns(*COLUMNS)
    if not names:
        raise BadInput("no mass_case_description_train_set.csv", where=tree.origin)
    table, notes = _cases(tree, names)
    find_files, pictures = _finder(tree), _Pictures(tree)
    rows, rejected = [], []
    for row in table.to_dict("records"):
        files = {k: find_files(row[c]) for k, c in PATHS.items()}
        try:
            rows.append({**row, **_placed(pictures, files, str(options["view"]))})
        except BadInput as error:
            rejected.append(Rejected(row["image_id"], str(error)))
    if not rows:
        raise BadInput(
            "no image that the tables name was found",
            where=tree.origin,
            remedy=f"{rejected[0].reason}; give the folder that holds the tables and the images, "
            "as the archive, its retriever or Kaggle lay them out",
        )
    keep = [c for c in table.columns if c not in PATHS.values()]
    extra = [c for c in rows[0] if c not in table.columns]
    return Found(
        rows=pd.DataFrame(rows)[[*keep, *extra]],
        read=common.picture_reader(tree),
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
    return table.assign(side=sides(table["side"]), site="breast", sex="female"), notes


def _finder(tree: Tree) -> Callable[[str], list[str]]:
    """From a table's path to the files that it may mean, in the three layouts that exist.

    The archive's: the same path, whatever stands above or the suffix is. The retriever's: any file
    below the folder of the path's case. Kaggle's: any file in a folder of the path's series.
    """
    names = sorted((*tree.dicoms, *tree.images))
    tails: dict[str, str] = {}
    folders: dict[str, list[str]] = {}
    for name in names:
        parts = _stem(name).split("/")
        for start in range(len(parts)):
            tails.setdefault("/".join(parts[start:]), name)
        for folder in set(parts[:-1]):
            folders.setdefault(folder, []).append(name)

    def find_files(path: str) -> list[str]:
        parts = _stem(re.sub(r"\s+", "", path)).split("/")  # some paths hold line breaks
        exact = tails.get("/".join(parts))
        if exact or len(parts) < 3:
            return [exact] if exact else []
        case, series = folders.get(parts[0], []), parts[-2]
        if case or not UID.fullmatch(series):
            return [n for n in case if f"/{series}/" in n] or case
        return folders.get(series, [])

    return find_files


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z]+$", "", name.strip("/"))


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a tree, with their sizes, which are asked for more than once."""

    tree: Tree
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def open(self, name: str) -> Image.Image:
        data = self.tree.read(name)
        image = read_dicom(data, name).image if is_dicom(data) else open_image(data, name)
        self.sizes[name] = image.size
        return image

    def mask(self, name: str) -> Image.Image:
        """Black and white."""
        data = self.tree.read(name)
        return binary(read_dicom(data, name).image) if is_dicom(data) else read_mask(data, name)

    def size(self, name: str) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.sizes.get(name) or self.open(name).size

    def area(self, name: str) -> int:
        width, height = self.size(name)
        return width * height

    def is_mask(self, name: str) -> bool:
        """Whether a picture is black and white, up to the blur of a JPEG."""
        grey = np.asarray(self.open(name).convert("L"))
        return bool(((grey < 16) | (grey > 239)).mean() > 0.99)


def _placed(pictures: _Pictures, files: Mapping[str, list[str]], view: str) -> dict[str, Any]:
    """The `file` (and region) of one abnormality."""
    pair = list(dict.fromkeys(files["crop"] + files["mask"]))
    if view == "crop":
        crops = pair if len(pair) > 1 else [n for n in pair if not pictures.is_mask(n)]
        if not crops:
            raise BadInput("its crop is missing")
        return {"file": min(crops, key=pictures.area)}
    films = [n for n in files["film"] if n not in pair]
    if not films:
        raise BadInput("its film is missing")
    film = max(films, key=pictures.area)
    masks = pair if len(pair) > 1 else [n for n in pair if pictures.is_mask(n)]
    if not masks:
        raise BadInput("its mask is missing")
    return {"file": film, **_region(pictures, film, max(masks, key=pictures.area))}


def _region(pictures: _Pictures, film: str, mask_name: str) -> dict[str, float]:
    """The bounding square of a mask in pixels of its film: some masks are larger than the film."""
    mask = pictures.mask(mask_name)
    box = mask.getbbox()
    if box is None:
        raise BadInput("its mask is empty", where=mask_name)
    width, height = pictures.size(film)
    if not same_aspect(mask.size, (width, height)):
        raise BadInput(
            f"its mask of {mask.width} x {mask.height} does not fit its film of {width} x {height}"
        )
    left, top, right, bottom = box
    x, y = width / mask.width, height / mask.height
    side = max((right - left) * x, (bottom - top) * y)
    return {"roi_x": (left + right) / 2 * x, "roi_y": (top + bottom) / 2 * y, "roi_size": side}


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
