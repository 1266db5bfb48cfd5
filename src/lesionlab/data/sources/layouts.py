"""Layouts that tools export: Roboflow, COCO, FiftyOne, Hugging Face `imagefolder`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import extras
from lesionlab.data import tables
from lesionlab.data.id_matching import FOLDERS, SUFFIXED, match_ids
from lesionlab.data.sources import common, csv_table
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.folder import malignant_classes, unique_ids
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted

SEVERAL = "has several classes"
NONE = "has no class"


def _found(
    rows: pd.DataFrame, tree: Tree, options: Mapping[str, Any], rejected: Iterable[Rejected] = (),
    notes: Iterable[str] = (),
) -> Found:  # fmt: skip
    """Rows of `image` (the path as the table writes it), `label` and `official_split`."""
    match = match_ids(rows["image"].tolist(), tree.pictures)
    rows = rows.assign(file=[tree.pictures[p] if p >= 0 else "" for p in match.places])
    lost = [
        Rejected(str(p), "there is no such image") for p in rows.loc[rows["file"] == "", "image"]
    ]
    rows = rows[rows["file"] != ""].drop(columns="image").reset_index(drop=True)
    if rows.empty:
        raise BadInput("no image of the tables was found", where=tree.origin,
                       remedy="give the whole export, tables and images")  # fmt: skip
    rows, repeats = common.without_repeats(rows.assign(image_id=rows["file"]), tree.origin)
    rows["image_id"] = unique_ids(list(rows["file"]))
    rows["label"] = common.one_spelling(rows["label"].astype(str).str.strip())
    if (rows["official_split"] == "").all():
        rows = rows.drop(columns="official_split")
    classes = tuple(sorted(set(rows["label"])))
    malignant = malignant_classes(classes, common.listed(options.get("malignant")))
    return Found(
        rows,
        common.picture_reader(tree),
        classes,
        malignant,
        (*rejected, *lost),
        (*notes, *match.notes((SUFFIXED, FOLDERS)), *repeats),
    )


def _beside(name: str, image: str) -> str:
    """The path of an image that a table names from the table's own folder."""
    parts = [*name.split("/")[:-1], *image.replace("\\", "/").split("/")]
    return "/".join(p for p in parts if p not in ("", "."))


def _part(name: str) -> str:
    """The part that a path names, by the nearest folder that does."""
    return next((w for f in reversed(name.split("/")) if (w := common.part_word(f))), "")


def _one_of(hits: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejected]]:
    """Rows with the one class of `hits` (N, K bool); the others as rejected."""
    n = hits.to_numpy().sum(1)
    label = np.array(hits.columns, object)[hits.to_numpy().argmax(1)]
    odd = [Rejected(p, SEVERAL if k else NONE)
           for p, k in zip(rows["image"], n, strict=True) if k != 1]  # fmt: skip
    return rows.assign(label=label)[n == 1].reset_index(drop=True), odd


def _roboflow(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`_classes.csv` in each part: a file name, then a column of 0 and 1 for each class."""
    rows, rejected, notes = [], [], []
    for name in tree.named(r"_classes\.csv"):
        table, more = tables.read_csv(tree.read(name), name)
        hits = table.iloc[:, 1:]
        if not hits.isin(["0", "1"]).all(axis=None):
            raise BadInput("a column of a class holds more than 0 and 1", where=name)
        images = [_beside(name, i) for i in table.iloc[:, 0]]
        part = pd.DataFrame({"image": images, "official_split": _part(name)})
        kept, odd = _one_of(hits == "1", part)
        rows.append(kept)
        rejected += odd
        notes += more
    if not rows:
        raise BadInput("no _classes.csv", where=tree.origin, remedy="give the whole export")
    return _found(pd.concat(rows, ignore_index=True), tree, options, rejected, notes)


def _roboflow_why(tree: Tree) -> str:
    for name in tree.named(r"_classes\.csv"):
        if len(tree.headers.get(name, ())) > 2:
            return f"{name} has a column for each class"
    return ""


def _jsons(tree: Tree, *keys: str) -> dict[str, dict[str, Any]]:
    """The JSON files of a tree that hold an object with all of `keys`."""
    return {name: json.loads(tree.read(name)) for name in tree.with_keys(*keys)}


def _coco(tree: Tree, options: Mapping[str, Any]) -> Found:
    """COCO JSON: the class of an image is the one category of its annotations."""
    rows, rejected = [], []
    for name, stored in _jsons(tree, "images", "annotations", "categories").items():
        try:
            words = {c["id"]: str(c["name"]) for c in stored["categories"]}
            of: dict[Any, set[str]] = {i["id"]: set() for i in stored["images"]}
            for note in stored["annotations"]:
                of[note["image_id"]].add(words[note["category_id"]])
            images = [(str(i["file_name"]), of[i["id"]]) for i in stored["images"]]
        except (KeyError, TypeError) as error:
            raise BadInput(f"no COCO file ({error} is missing)", where=name) from None
        part = _part(name) or common.part_of(name)
        for image, labels in images:
            path = _beside(name, image)
            if len(labels) == 1:
                rows.append((path, next(iter(labels)), part or _part(image)))
            else:
                rejected.append(Rejected(path, SEVERAL if labels else NONE))
    return _found(_frame(rows, tree), tree, options, rejected)


def _frame(rows: list[tuple[str, str, str]], tree: Tree) -> pd.DataFrame:
    if not rows:
        raise BadInput("no image has exactly one class", where=tree.origin,
                       remedy="a table with one label an image: lesionlab import csv")  # fmt: skip
    return pd.DataFrame(rows, columns=["image", "label", "official_split"])


def _fiftyone(tree: Tree, options: Mapping[str, Any]) -> Found:
    """FiftyOne: `labels.json` beside `data/`, or `samples.json` with one label field."""
    rows: list[tuple[str, str, str]] = []
    by_stem = {p.rpartition(".")[0]: p for p in tree.pictures}
    for name, stored in _jsons(tree, "classes", "labels").items():
        for key, value in dict(stored["labels"]).items():
            stem = _beside(name, f"data/{key}")
            if value is not None:
                label = stored["classes"][value] if isinstance(value, int) else value
                rows.append((by_stem.get(stem, stem), str(label), _part(name)))
    for name, stored in _jsons(tree, "samples").items():
        for sample in stored["samples"]:
            label = _label_of(sample)
            tag = next((w for t in sample.get("tags") or () if (w := common.part_word(str(t)))), "")
            if label:
                path = _beside(name, str(sample["filepath"]).lstrip("/"))
                rows.append((path, label, tag))
    return _found(_frame(rows, tree), tree, options)


def _label_of(sample: Mapping[str, Any]) -> str:
    """The label of the field `ground_truth`, else of the only field that has one."""
    known = {k: str(v["label"]) for k, v in sample.items() if isinstance(v, dict) and "label" in v}
    return known.get("ground_truth") or (next(iter(known.values())) if len(known) == 1 else "")


METADATA = r"metadata\.(csv|jsonl|parquet)"


def _imagefolder(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Hugging Face `imagefolder`: `metadata.*` with `file_name`; labels in it, or class folders."""
    found, notes = [], []
    for name in tree.named(METADATA):
        table, more = _metadata(tree, name)
        tables.need_columns(table, ["file_name"], name)
        images = [_beside(name, f) for f in table["file_name"]]
        part = table["split"].map(common.part_word) if "split" in table else ""
        parts = pd.Series(part, table.index)
        parts = parts.where(parts != "", pd.Series([_part(p) for p in images], table.index))
        found.append(table.drop(columns=["file_name", "split"], errors="ignore")
                     .assign(image=images, official_split=parts))  # fmt: skip
        notes += more
    rows = pd.concat(found, ignore_index=True).fillna("")
    column = options.get("label_column") or csv_table.label_column(list(rows.columns))
    if column:
        tables.need_columns(rows, [column], "metadata")
        rows = rows.rename(columns={column: "label"})
    else:
        rows["label"] = _class_folders(list(rows["image"]))
    bare = rows["label"].astype(str).str.strip() == ""
    notes += [f"{counted(int(bare.sum()), 'row')} without a label left out"] * bool(bare.any())
    named = {r: c for r, c in csv_table.usual_roles(list(rows.columns)).items()
             if r not in ("image", "label", "split")}  # fmt: skip
    rows, moved = csv_table.out_of_the_way(rows[~bare].reset_index(drop=True),
                                           {**named, "image": "image", "label": "label"},
                                           keep=("official_split",))  # fmt: skip
    columns = {csv_table.TARGETS.get(r, r): c for r, c in named.items()}
    rows = common.standard(rows, columns, "metadata")
    return _found(rows, tree, options, notes=[*notes, *moved])


def _class_folders(paths: list[str]) -> list[str]:
    labels = [next((f for f in reversed(p.split("/")[:-1]) if not common.part_word(f)
                    and not common.is_container(f)), "") for p in paths]  # fmt: skip
    if not any(labels):
        raise BadInput("no column of labels and no class folders", where="metadata",
                       remedy="name the column with --label-column")  # fmt: skip
    return labels


def _metadata(tree: Tree, name: str) -> tuple[pd.DataFrame, list[str]]:
    """A metadata table as text; nested values are left out."""
    data = tree.read(name)
    if name.lower().endswith(".csv"):
        return tables.read_csv(data, name)
    if name.lower().endswith(".parquet"):
        extras.need_package("pyarrow", "pyarrow", "a parquet table", name)
        table = pd.read_parquet(io.BytesIO(data))
    else:
        try:
            table = pd.DataFrame([json.loads(line) for line in data.splitlines() if line.strip()])
        except ValueError as error:
            raise BadInput(f"not a JSON Lines file ({error})", where=name) from None
    flat = [c for c in table if not table[c].map(lambda v: isinstance(v, dict | list)).any()]
    text = table[flat].astype(object).where(table[flat].notna(), "").astype(str)
    return text.apply(lambda c: c.str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)), []


def _imagefolder_why(tree: Tree) -> str:
    for name in tree.named(METADATA):
        known = tree.headers.get(name, ())
        if "file_name" in known or (not name.lower().endswith(".csv") and tree.pictures):
            return f"{name} beside images, as Hugging Face imagefolder has it"
    return ""


def _json_why(what: str, *keys: tuple[str, ...]) -> Callable[[Tree], str]:
    def recognise(tree: Tree) -> str:
        if not tree.pictures:
            return ""
        names = (n for some in keys for n in tree.with_keys(*some))
        first = next(names, "")
        return f"{first} is {what}" if first else ""

    return recognise


ROBOFLOW = Source(
    name="roboflow",
    title="a Roboflow classification export",
    find=_roboflow,
    recognise=_roboflow_why,
    modality="unknown",
    options={"malignant": None},
)
COCO = Source(
    name="coco",
    title="images with COCO categories",
    find=_coco,
    recognise=_json_why("a COCO file", ("images", "annotations", "categories")),
    modality="unknown",
    options={"malignant": None},
)
FIFTYONE = Source(
    name="fiftyone",
    title="a FiftyOne export",
    find=_fiftyone,
    recognise=_json_why("a FiftyOne export", ("classes", "labels"), ("samples",)),
    modality="unknown",
    options={"malignant": None},
)
IMAGEFOLDER = Source(
    name="imagefolder",
    title="images with metadata (Hugging Face imagefolder)",
    find=_imagefolder,
    recognise=_imagefolder_why,
    modality="unknown",
    options={"malignant": None, "label_column": None},
)
