"""A folder per class, with or without train, valid and test above it."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lesionlab.data.file_kinds import stem_of
from lesionlab.data.patients import levels_of, look_like_patients
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.common import listed
from lesionlab.data.taxonomy import malignant_of
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, nearest


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """One row an image; the label is the name of its folder, the part that of the folder above.

    `classes` (comma-separated) names the folders to take and leaves the others out; `malignant`
    overrules which classes count as malignant; `valid_last` is the share of the training files,
    the last of each class in file order, that is the validation part (as in tutorials).
    """
    wanted = listed(options.get("classes"))
    table, rejected = _rows(tree, wanted)
    if table.empty:
        raise BadInput("no images in class folders", where=tree.origin, remedy=_way_on(tree))
    table, joined = _one_spelling(table)
    table["image_id"] = unique_ids(list(table["file"]))
    if options.get("valid_last"):
        _last_as_valid(table, float(options["valid_last"]), tree.origin)
    if (table["official_split"] == "").all():
        table = table.drop(columns="official_split")
    classes = tuple(sorted(set(table["label"])))
    if not wanted:
        _refuse_patients(table, classes, tree.origin)
    return Found(
        rows=table,
        read=tree.read,
        classes=classes,
        malignant=malignant_classes(classes, listed(options.get("malignant"))),
        rejected=tuple(rejected),
        notes=tuple(joined),
    )


def _refuse_patients(table: pd.DataFrame, classes: tuple[str, ...], where: str) -> None:
    """Folders of patients above those of the classes are not classes."""
    if not look_like_patients(list(table["label"])):
        return
    for level in levels_of(list(table["file"])):
        names = sorted(set(level) - {""})
        words = not any(common.part_word(n) or n in classes for n in names)
        if words and 2 <= len(names) <= len(classes) // 2:
            raise BadInput(
                f"the {len(classes)} class folders look like patients ('{classes[0]}', ...)",
                where=where,
                remedy=f"name the classes: --classes {','.join(names)} --patient-from folder",
            )


def _way_on(tree: Tree) -> str:
    if tree.tables:
        return f"labels in a table are read by: lesionlab import csv ... --table '{tree.tables[0]}'"
    return "the layout is SRC/<class>/* or SRC/{train,valid,test}/<class>/*"


def _one_spelling(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Class folders that differ only by case or separators are one class, and it is said."""
    labels = common.one_spelling(table["label"])
    pairs = sorted(
        {(old, new) for old, new in zip(table["label"], labels, strict=True) if old != new}
    )
    notes = [f"class folders '{old}' and '{new}' are one class, '{new}'" for old, new in pairs]
    return table.assign(label=labels), notes


def _rows(tree: Tree, wanted: tuple[str, ...]) -> tuple[pd.DataFrame, list[Rejected]]:
    images = {name: name.split("/")[:-1] for name in tree.images}
    place = placing(list(images.values()), wanted)
    keys = {common.spelling_key(w) for w in wanted}
    rows, rejected = [], []
    for name, folders in images.items():
        part, label = place(folders)
        if not label:
            rejected.append(Rejected(name, "lies in no class folder"))
        elif not wanted or common.spelling_key(label) in keys:
            rows.append(
                {
                    "file": name,
                    "label": unicodedata.normalize("NFC", label.strip()),
                    "official_split": part,
                }
            )
    others = [n.split("/")[:-1] for n in tree.names if n not in images]
    bare = {place(folders) for folders in [*others, *(e.split("/") for e in tree.empty)]}
    _refuse_without_images(bare, {(r["official_split"], r["label"]) for r in rows}, wanted, tree)
    return pd.DataFrame(rows, columns=["file", "label", "official_split"]), rejected


def placing(
    folders: list[list[str]], wanted: Sequence[str] = ()
) -> Callable[[list[str]], tuple[str, str]]:
    """A function from an image's folders to its (part, label), "" where it has none.

    `folders` are those of all images. Where most lie below a train, valid or test folder, that
    one names the part and is never a class. The class is the first of the other folders that the
    images do not share, or where that holds none of the classes `wanted`, the first that does.
    """
    levels = _levels_of_parts(folders)
    parted = [path for path in folders if _part_level(path, levels) is not None]
    if 2 * len(parted) < len(folders) or not parted:
        parted, levels = [], {}
    of_interest = [_without(path, _part_level(path, levels)) for path in parted or folders]
    by_class = _by_class(of_interest, min(levels, default=0), wanted)

    def place(path: list[str]) -> tuple[str, str]:
        level = _part_level(path, levels)
        if parted and level is None:
            return "", ""
        part = common.part_word(path[level]) if level is not None else ""
        return part, by_class(_without(path, level))

    return place


def _levels_of_parts(folders: list[list[str]]) -> dict[int, int]:
    """`{level: how many different parts its folders name}`."""
    found: dict[int, set[str]] = {}
    for path in folders:
        for level, name in enumerate(path):
            if word := common.part_word(name):
                found.setdefault(level, set()).add(word)
    return {level: len(words) for level, words in found.items()}


def _part_level(path: list[str], levels: Mapping[int, int]) -> int | None:
    """Where a path names its part: at the level that names most parts, the first of equals."""
    here = [n for n, name in enumerate(path) if n in levels and common.part_word(name)]
    return max(here, key=lambda n: (levels[n], -n), default=None)


def _without(path: list[str], level: int | None) -> list[str]:
    return path if level is None else [*path[:level], *path[level + 1 :]]


def _by_class(
    folders: list[list[str]], below: int, wanted: Sequence[str]
) -> Callable[[list[str]], str]:
    """A function from folders to the class: the first folder that not all images share.

    One folder is a single class where it lies at level `below` or deeper (so not above the
    folders of the parts) and where its name could be that of a class.
    """
    inside = [path for path in folders if path]
    same = (len(set(level)) == 1 for level in zip(*inside, strict=False))
    root = len(list(itertools.takewhile(bool, same)))
    alone = inside and root == min(map(len, inside)) and root > below
    if alone and not common.is_container(inside[0][root - 1]):
        root -= 1
    above = inside[0][:root] if inside else []
    if wanted and (level := _level_of(wanted, inside, root)) != root:
        return lambda path: path[level] if len(path) > level else ""

    def label(path: list[str]) -> str:
        return path[root] if len(path) > root and path[:root] == above else ""

    return label


def _level_of(wanted: Sequence[str], folders: list[list[str]], root: int) -> int:
    """The level at which folders of the classes lie: `root` if any is there, else the first."""
    keys = {common.spelling_key(w) for w in wanted}
    deepest = max(map(len, folders), default=0)
    order: list[int] = [root, *range(deepest)]
    for level in order:
        if keys & {common.spelling_key(path[level]) for path in folders if len(path) > level}:
            return level
    return root


def _refuse_without_images(
    bare: set[tuple[str, str]], filled: set[tuple[str, str]], wanted: tuple[str, ...], tree: Tree
) -> None:
    known = {label for _, label in filled}
    keys, chosen = set(map(common.spelling_key, known)), set(map(common.spelling_key, wanted))
    for label in wanted:
        if common.spelling_key(label) not in keys:
            raise BadInput(
                f"no images of class '{label}'", where=tree.origin, remedy=nearest(label, known)
            )
    for part, label in sorted(bare - filled):
        if label and (not wanted or common.spelling_key(label) in chosen):
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


def unique_ids(names: list[str]) -> list[str]:
    """An id an image: the file's stem, or its whole path where stems repeat across folders.

    >>> unique_ids(["a/1.jpg", "a/2.jpg"]), unique_ids(["a/1.jpg", "b/1.jpg"])
    (['1', '2'], ['a-1', 'b-1'])
    """
    for way in (stem_of, _path_id, str):
        ids = [way(name) for name in names]
        if len(set(map(str.casefold, ids))) == len(ids):
            return ids
    return names


def _path_id(name: str) -> str:
    return "-".join([*name.split("/")[:-1], stem_of(name)])


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
    images = [n.split("/")[:-1] for n in tree.images]
    place = placing(images)
    labels = {common.spelling_key(place(path)[1]) for path in images} - {""}
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
