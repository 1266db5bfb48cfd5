"""A folder per class, with or without train, valid and test above it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from lesionlab.data.archive import Tree
from lesionlab.data.images import SUFFIXES
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.common import stem_of
from lesionlab.data.split_names import PARTS
from lesionlab.data.taxonomy import malignant_of
from lesionlab.errors import BadInput, nearest


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row an image; the label is the name of its folder, the part that of the folder above.

    `classes` (comma-separated) names the folders to take and leaves the others out; `malignant`
    overrules which classes count as malignant; `valid_last` is the share of the training files,
    the last of each class in file order, that is the validation part (as in tutorials).
    """
    wanted = _listed(options.get("classes"))
    table, rejected = _rows(tree, wanted)
    if table.empty:
        raise BadInput(
            "no images in class folders",
            where=tree.origin,
            remedy="the layout is SRC/<class>/* or SRC/{train,valid,test}/<class>/*",
        )
    table["image_id"] = unique_ids(list(table["file"]))
    if options.get("valid_last"):
        _last_as_valid(table, float(options["valid_last"]), tree.origin)
    if (table["official_split"] == "").all():
        table = table.drop(columns="official_split")
    classes = tuple(sorted(set(table["label"])))
    return Found(
        rows=table,
        read=tree.read,
        classes=classes,
        malignant=malignant_classes(classes, _listed(options.get("malignant"))),
        rejected=tuple(rejected),
    )


def _rows(tree: Tree, wanted: tuple[str, ...]) -> tuple[pd.DataFrame, list[Rejected]]:
    images = {name: name.split("/")[:-1] for name in tree.ending(*SUFFIXES)}
    place = placing(list(images.values()))
    rows, rejected = [], []
    for name, folders in images.items():
        part, label = place(folders)
        if not label:
            rejected.append(Rejected(name, "lies in no class folder"))
        elif not wanted or label in wanted:
            rows.append({"file": name, "label": label.strip(), "official_split": part})
    others = [n.split("/")[:-1] for n in tree.names if n not in images]
    bare = {place(folders) for folders in [*others, *(e.split("/") for e in tree.empty)]}
    _refuse_without_images(bare, {(r["official_split"], r["label"]) for r in rows}, wanted, tree)
    return pd.DataFrame(rows, columns=["file", "label", "official_split"]), rejected


def placing(folders: list[list[str]]) -> Callable[[list[str]], tuple[str, str]]:
    """A function from an image's folders to its (part, label), "" where it has none.

    `folders` are those of all images: where most lie below a train, valid or test folder, the
    class is the folder below that; else it is the first folder that they do not share.
    """

    def by_part(path: list[str]) -> tuple[str, str]:
        for part, label in itertools.pairwise(path):
            if part.lower() in PARTS:
                return PARTS[part.lower()], label
        return "", ""

    if 2 * sum(bool(by_part(path)[0]) for path in folders) >= len(folders) > 0:
        return by_part
    inside = [path for path in folders if path]
    same = (len(set(level)) == 1 for level in zip(*inside, strict=False))
    root = len(list(itertools.takewhile(bool, same)))
    if inside and root == min(map(len, inside)):  # a single class: its own folder is no root
        root -= 1
    above = inside[0][:root] if inside else []

    def by_class(path: list[str]) -> tuple[str, str]:
        return "", path[root] if len(path) > root and path[:root] == above else ""

    return by_class


def _refuse_without_images(
    bare: set[tuple[str, str]], filled: set[tuple[str, str]], wanted: tuple[str, ...], tree: Tree
) -> None:
    known = {label for _, label in filled}
    for label in wanted:
        if label not in known:
            raise BadInput(
                f"no images of class '{label}'", where=tree.origin, remedy=nearest(label, known)
            )
    for part, label in sorted(bare - filled):
        if label and (not wanted or label in wanted):
            raise BadInput(
                f"class folder '{part + '/' if part else ''}{label}' holds no images",
                where=tree.origin,
                remedy="add images, remove the folder, or select folders with --classes",
            )


def _last_as_valid(table: pd.DataFrame, share: float, where: str) -> None:
    train = table["official_split"] == "train"
    if not 0 < share < 1 or not train.any() or (table["official_split"] == "valid").any():
        raise BadInput(
            f"valid_last={share:g}: give a proportion between 0 and 1, and a source with a train "
            "folder and no valid folder",
            where=where,
        )
    for _, rows in table[train].groupby("label"):
        last = rows.index[len(rows) - int(share * len(rows)) :]
        table.loc[last, "official_split"] = "valid"


def _listed(text: Any) -> tuple[str, ...]:
    return tuple(t.strip() for t in str(text).split(",") if t.strip()) if text else ()


def unique_ids(names: list[str]) -> list[str]:
    """An id an image: the file's stem, or its whole path where stems repeat across folders.

    >>> unique_ids(["a/1.jpg", "a/2.jpg"]), unique_ids(["a/1.jpg", "b/1.jpg"])
    (['1', '2'], ['a-1', 'b-1'])
    """
    for way in (stem_of, lambda n: n.rpartition(".")[0].replace("/", "-"), str):
        ids = [way(name) for name in names]
        if len(set(map(str.casefold, ids))) == len(ids):
            return ids
    return names


def malignant_classes(classes: tuple[str, ...], given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Which classes are malignant: those given, else those whose name says so.

    >>> malignant_classes(("benign", "Melanoma", "nevus"))
    ('Melanoma',)
    """
    for name in given:
        if name not in classes:
            raise BadInput(
                f"'{name}' is not a class", where="--malignant", remedy=nearest(name, classes)
            )
    return given or malignant_of(classes)


def recognise(tree: Tree) -> str:
    """Why a tree is a folder per class, or ""."""
    images = [n.split("/")[:-1] for n in tree.ending(*SUFFIXES)]
    place = placing(images)
    labels = {place(path)[1] for path in images} - {""}
    if len(labels) < 2:
        return ""
    return f"images lie in {len(labels)} class folders: {', '.join(sorted(labels)[:5])}"


SOURCE = Source(
    name="folder",
    title="a folder per class",
    find=find,
    recognise=recognise,
    modality="unknown",
    options={"classes": None, "malignant": None, "valid_last": None},
)
