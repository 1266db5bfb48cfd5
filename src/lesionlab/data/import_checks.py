"""What import says of a source's rows, and the rows that are no data set to learn from."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.data.sources.base import Found, Source
from lesionlab.data.sources.common import AS_WRITTEN, part_word, spelling_key
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted

MOST_CLASSES = 30  # a column or level with more words is none of classes
UNKNOWN = "leakage between images of one patient cannot be excluded"


def unread_ages(table: pd.DataFrame) -> list[str]:
    """One line where text stood in place of an age: "90+", "removed", 999."""
    if AS_WRITTEN not in table:
        return []
    odd = table.loc[table[AS_WRITTEN] != "", AS_WRITTEN]
    few = ", ".join(f"'{text}'" for text in list(dict.fromkeys(odd))[:3])
    return [f"{counted(len(odd), 'age')} counted as unknown, written as {few}"] * (len(odd) > 0)


def patients_known(table: pd.DataFrame) -> list[str]:
    """One line where patients are unknown, of all images or of some.

    >>> patients_known(pd.DataFrame({"path": ["a", "b"], "patient_id": ["p", ""]}))
    ['patients unknown for 1 of 2 images: leakage between images of one patient cannot be excluded']
    """
    images = table.drop_duplicates("path")
    known = int((images["patient_id"].astype(str) != "").sum()) if "patient_id" in images else 0
    if known == len(images):
        return []
    some = f" for {len(images) - known:,} of {len(images):,} images" if known else ""
    return [f"patients unknown{some}: {UNKNOWN}"]


def refuse_one_class(found: Found, source: Source, tree: Tree, src: Path | None) -> None:
    """`BadInput` where all rows have one label, with the level that was probably meant."""
    labels = set(found.rows["label"]) if not found.rows.empty else set()
    if len(labels) != 1:
        return
    (label,) = labels
    raise BadInput(
        f"all {counted(len(found.rows), 'image')} are of one class, '{label}': one class is no "
        "classification",
        where=tree.origin,
        remedy=_meant(found, source, tree, src),
    )


def _meant(found: Found, source: Source, tree: Tree, src: Path | None) -> str:
    """The column, the deeper folders or the parent folder in which several classes stand."""
    if "source_label" in found.rows and found.rows["source_label"].nunique() > 1:
        return "let --map leave at least two classes"
    columns = [c for c in found.rows if _may_be_labels(found.rows[c].astype(str), str(c))]
    if "label_column" in source.options and columns:
        others = f" (or {', '.join(columns[1:4])})" if columns[1:] else ""
        return f"perhaps the classes are another column: --label-column {columns[0]}{others}"
    if "classes" in source.options:
        return _meant_folder(found, source, src)
    return "add images of another class"


def _meant_folder(found: Found, source: Source, src: Path | None) -> str:
    command = f"lesionlab import {source.name}"
    if deeper := _deeper(list(found.rows["file"])):
        top, names = deeper
        few = ", ".join(names[:4])
        return (
            f"perhaps the classes are the folders below '{top}' ({few}): "
            f"{command} {_quoted(_inside(src, top))} --to ..."
        )
    if src is not None and (siblings := _siblings(src)):
        return (
            f"perhaps the folder above was meant, which also holds {siblings[0]}: "
            f"{command} {_quoted(str(_above(src)))} --to ..."
        )
    return "give the folder that holds a folder for each class"


def _may_be_labels(values: pd.Series, name: str) -> bool:
    if name in ("image_id", "file", "label", "sex", "site", "age", "skin_type", "split",
                "official_split", "source", AS_WRITTEN):  # fmt: skip
        return False
    known = set(values) - {"", "nan"}
    return 2 <= len(known) <= min(MOST_CLASSES, len(values) // 2) and not name.endswith("_id")


def _deeper(files: list[str]) -> tuple[str, list[str]] | None:
    """The folder whose folders divide the images into a few: `(folder, names)`."""
    paths = [f.split("/")[:-1] for f in files]
    for depth in range(1, min(map(len, paths), default=0)):
        names = sorted({path[depth] for path in paths})
        above = {"/".join(path[:depth]) for path in paths}
        words = {spelling_key(n) for n in names if not part_word(n)}
        if len(above) == 1 and 2 <= len(words) <= min(MOST_CLASSES, len(files) // 3):
            return above.pop(), names
    return None


def _inside(src: Path | None, folder: str) -> str:
    return str(src / folder) if src is not None and src.is_dir() else folder


def _above(src: Path) -> Path:
    return (
        Path(os.path.normpath(src)).parent if src.name not in ("", "..") else src.resolve().parent
    )


def _siblings(src: Path) -> list[str]:
    """Other folders beside `src` that directly hold an image."""
    if not src.is_dir():
        return []
    try:
        beside = [p for p in _above(src).iterdir() if p.is_dir() and not p.samefile(src)]
        return sorted(p.name for p in beside if any(_is_image(f) for f in p.iterdir()))
    except OSError:
        return []


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
