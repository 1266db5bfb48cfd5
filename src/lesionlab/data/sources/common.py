"""What the sources with a table and images share: read, match, clean, label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data import tables
from lesionlab.data.dicom import read_dicom
from lesionlab.data.file_kinds import is_dicom, stem_of
from lesionlab.data.images import open_image
from lesionlab.data.regions import png
from lesionlab.data.sources.base import Rejected
from lesionlab.data.split_names import PARTS
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted, nearest

# Words that a folder of a split may have beside that of the split.
BESIDE = frozenset(("set", "data", "dataset", "images", "image", "imgs", "img", "split", "input"))
AS_WRITTEN = "age_as_written"  # a column of import's own: the text where an age is none


def listed(text: Any) -> tuple[str, ...]:
    """The parts of a comma-separated option.

    >>> listed("a, b,"), listed(None)
    (('a', 'b'), ())
    """
    return tuple(t.strip() for t in str(text).split(",") if t.strip()) if text else ()


def part_word(name: str) -> str:
    """`train`, `valid`, `test`, or "" for a word that means none: of a folder or a column.

    >>> [part_word(n) for n in ("Val", "test_images", "Training Set", "melanoma", "test result")]
    ['valid', 'test', 'train', '', '']
    """
    words = [w for w in re.split(r"[^a-z]+", name.lower()) if w]
    found = {PARTS[w] for w in words if w in PARTS}
    rest = [w for w in words if w not in PARTS and w not in BESIDE]
    return found.pop() if len(found) == 1 and not rest else ""


def is_container(name: str) -> bool:
    """Whether a folder's name says only that it holds images: "images", "img_data".

    >>> is_container("Images"), is_container("image of nevus")
    (True, False)
    """
    words = [w for w in re.split(r"[^a-z]+", name.lower()) if w]
    return bool(words) and all(w in BESIDE for w in words)


def spelling_key(label: str) -> str:
    """What spellings of one class share, whatever the case, Unicode form and separators.

    >>> spelling_key("Basal-cell  carcinoma ") == spelling_key("basal_cell_carcinoma")
    True
    >>> spelling_key("HER2-") == spelling_key("HER2+"), spelling_key("1") == spelling_key("-1")
    (False, False)
    """
    text = unicodedata.normalize("NFC", label).strip().casefold()
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", text).strip("_ ")


def one_spelling(labels: pd.Series) -> pd.Series:
    """Each label in the most frequent spelling of its class; of equals the first that occurs."""
    keys = labels.map(spelling_key)
    most = labels.groupby(keys, sort=False).agg(lambda s: s.value_counts(sort=True).index[0])
    return keys.map(most).astype(object)


def picture_reader(tree: Tree) -> Callable[[str], bytes]:
    """A `Found.read` that makes a PNG of DICOM files and leaves other images as they are."""

    def read(name: str) -> bytes:
        data = tree.read(name)
        return png(read_dicom(data, name).image) if is_dicom(data) else data

    return read


def images_by_stem(tree: Tree, names: Sequence[str] | None = None) -> dict[str, str]:
    """`{file name without suffix: name}` of all images, e.g. `{"ISIC_0024306": "part_1/..."}`.

    Raises `BadInput` where two files that share a stem are different pictures.
    """
    found: dict[str, str] = {}
    for name in tree.images if names is None else names:
        other = found.setdefault(stem_of(name), name)
        if other != name and not is_same_picture(tree, other, name):
            raise BadInput(
                f"'{other}' and '{name}' are different files for one image",
                where=tree.origin,
                remedy="keep only one of the folders",
            )
    return found


def is_same_picture(tree: Tree, a: str, b: str) -> bool:
    """Whether two files are the same bytes, or the same pixels in two formats."""
    one, two = tree.read(a), tree.read(b)
    if one == two:
        return True
    if a.rsplit(".", 1)[-1] == b.rsplit(".", 1)[-1]:
        return False
    return np.array_equal(np.asarray(open_image(one, a)), np.asarray(open_image(two, b)))


def match_images(
    table: pd.DataFrame,
    tree: Tree,
    table_name: str,
    ignore: str = "",
    names: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Add `file` to the rows of a metadata table by `image_id`; `names` are all images.

    Returns the rows that have an image, the rows that have none as rejected, and notes on
    images that the table does not name (but those whose stem matches `ignore`).
    """
    images = images_by_stem(tree, _relevant(tree, ignore) if names is None else names)
    files = table["image_id"].map(images)
    rejected = [
        Rejected(str(i), f"named in {table_name} but there is no such image")
        for i in table.loc[files.isna(), "image_id"]
    ]
    extra = sorted(set(images) - set(table["image_id"]))
    notes = []
    if extra:
        notes.append(
            f"{counted(len(extra), 'image is', 'images are')} not named in {table_name} and "
            f"left out, the first is {images[extra[0]]}"
        )
    kept = table.assign(file=files)[files.notna()].reset_index(drop=True)
    return kept, rejected, notes


def _relevant(tree: Tree, ignore: str) -> list[str]:
    return [n for n in tree.images if not (ignore and re.search(ignore, stem_of(n)))]


def without_repeats(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Drop rows that repeat another; `BadInput` where one id stands in two different rows.

    Copies of HAM10000 in the wild are oversampled in this way to 18,832 or 19,945 rows.
    """
    unique = table.drop_duplicates(ignore_index=True)
    twice = unique.loc[unique["image_id"].duplicated(), "image_id"]
    if not twice.empty:
        raise BadInput(
            f"image_id '{twice.iloc[0]}' is in rows that contradict each other",
            where=where,
            remedy="keep one row for each image",
        )
    dropped = len(table) - len(unique)
    note = f"{counted(dropped, 'repeated row')} of {where} dropped: this copy was oversampled"
    return unique, [note] if dropped else []


def read_table(
    tree: Tree, name: str, id_column: str, header: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """A table of the tree with its ids in `image_id`, clean and without repeated rows."""
    table, notes = tables.read_csv(tree.read(name), name, header)
    tables.need_columns(table, [id_column], name)
    table = table.rename(columns={id_column: "image_id"})
    table["image_id"], more = tables.clean_ids(table["image_id"], name)
    table, repeats = without_repeats(table, name)
    return table, [*notes, *more, *repeats]


def read_tables(
    tree: Tree, names: Sequence[str], id_column: str, header: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Several tables of one form below each other, with the part by each one's file name."""
    found, notes = [], []
    for name in names:
        table, more = read_table(tree, name, id_column, header)
        found.append(table.assign(official_split=part_of(name)))
        notes += more
    table = pd.concat(found, ignore_index=True).fillna("")
    table, repeats = without_repeats(table, ", ".join(names))
    return table, notes + repeats


def one_table(tree: Tree, names: Sequence[str], what: str) -> str:
    """The only table of `names`; copies of one table count once. `BadInput` for none or two."""
    if not names:
        raise BadInput(f"no {what}", where=tree.origin, remedy="give the whole download")
    if len({tree.read(n) for n in names}) > 1:
        raise BadInput(
            f"two tables, '{names[0]}' and '{names[1]}', where one is expected",
            where=tree.origin,
            remedy="keep one of them",
        )
    return names[0]


def part_of(name: str) -> str:
    """`train`, `valid`, `test` or "" by the words of a file's name.

    >>> part_of("x/ISIC-2017_Test_v2_Part3_GroundTruth.csv"), part_of("metadata.csv")
    ('test', '')
    """
    words = re.split(r"[^a-z]+", name.rsplit("/", 1)[-1].lower())
    return next((PARTS[w] for w in words if w in PARTS), "")


def one_hot(table: pd.DataFrame, classes: Sequence[str], where: str) -> pd.Series:
    """The label of each row of a one-hot table ("0.0", "1"); `BadInput` for none or two."""
    tables.need_columns(table, classes, where)
    values = np.column_stack([tables.numbers(table[c], c, where) for c in classes])
    if ((values != 0) & (values != 1)).any() or (values.sum(1) != 1).any():
        row = int(((values != 0) & (values != 1)).any(1).argmax() or (values.sum(1) != 1).argmax())
        raise BadInput(
            f"row {row + 2} ('{table['image_id'].iloc[row]}') does not name exactly one class",
            where=where,
        )
    return pd.Series(np.array(classes, object)[values.argmax(1)], table.index)


def check_labels(labels: pd.Series, classes: Sequence[str], where: str) -> None:
    """Raise `BadInput` for the first label that is no class: its row and the nearest class."""
    odd = labels[~labels.isin(classes)]
    if not odd.empty:
        raise BadInput(
            f"label '{odd.iloc[0]}' of row {int(odd.index[0]) + 2} is not a class",
            where=where,
            remedy=nearest(odd.iloc[0], classes),
        )


def standard(table: pd.DataFrame, columns: Mapping[str, str], where: str) -> pd.DataFrame:
    """Rename the set's columns to those of the manifest (`{"age": "age_approx", ...}`), cleaned.

    Columns that the table lacks are passed over. Ages become numbers (text that is no age is kept
    in `age_as_written`), sexes female or male, skin types I to VI; "unknown", "NA" and the like
    become absent.
    """
    known = {new: old for new, old in columns.items() if old in table.columns}
    rest = [c for c in table.columns if c not in set(known.values()) and c not in known]
    rows = table[rest].copy()
    for new, old in known.items():
        values = tables.blank_unknown(table[old].astype(str))
        if new == "age":
            values, unread = tables.ages(values)
            if unread.any():
                rows[AS_WRITTEN] = table[old].where(unread, "")
        elif new == "sex":
            values = tables.sexes(values)
        elif new == "skin_type":
            values = tables.skin_types(values)
        rows[new] = values
    return rows
