"""Several data sets as one: labels by the taxonomy, duplicates united, sources kept."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import __version__, files
from lesionlab.data.groups import united_groups
from lesionlab.data.importing import IMAGES, count, safe_path
from lesionlab.data.manifest import Dataset, DatasetInfo, write_dataset
from lesionlab.data.mask_import import MASKS
from lesionlab.data.taxonomy import common_labels, diagnosis
from lesionlab.errors import BadInput, counted
from lesionlab.progress import SILENT, Progress

# Ids that the ISIC Archive and its contributors hand out: the same in every set.
GLOBAL_ID = re.compile(r"^(ISIC|IL|IP|HAM|BCN|MSK)_", re.IGNORECASE)
ISIC_IMAGE = re.compile(r"^(ISIC_\d+)(_downsampled)?$", re.IGNORECASE)
GENERAL = {
    "csv",
    "folder",
    "dicom",
    "roboflow",
    "coco",
    "fiftyone",
    "imagefolder",
}  # readers of any set: their name says nothing of the source
FILLED = ("patient_id", "lesion_id", "age", "sex", "site", "skin_type")
LEVELS = ("auto", "same", "family", "malignancy")


@dataclass(frozen=True)
class Merged:
    """The rows of a merged set, and what became of the others."""

    table: pd.DataFrame  # with `file`, the absolute path of each image, and `mask_file`
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    united: int  # rows that were the same picture as a row of an earlier set
    conflicts: tuple[str, ...]  # ids of pictures that the sets label differently; left out


def merge_datasets(
    datasets: Sequence[Dataset], to: Path, *, labels: str = "auto", progress: Progress = SILENT
) -> tuple[Dataset, Merged]:
    """Write the union of `datasets` as the dataset folder `to`.

    `labels`: "same" keeps them (all sets must have the same classes), "family" and "malignancy"
    take the taxonomy's words, "auto" is "same" where that is possible, else "family". A picture
    that several sets hold (by bytes, or by its ISIC id) stays once, from the first of them, and
    takes over what it did not know (patient, lesion, age ...); where they disagree on its label
    it is left out. Raises `BadInput` for a class that the taxonomy does not know.
    """
    if len(datasets) < 2:
        raise BadInput("merging needs at least two data sets")
    files.refuse_existing(Path(to))
    merged = combine(datasets, labels)
    with files.stage_folder(Path(to)) as aside:
        table = _copied(merged.table, aside, progress)
        dataset = Dataset(aside, table, _info(datasets, merged, table))
        write_dataset(dataset)
    return Dataset(Path(to), dataset.table, dataset.info), merged


def combine(datasets: Sequence[Dataset], labels: str = "auto") -> Merged:
    """The rows of all sets, labels translated and duplicates united (see `merge_datasets`)."""
    datasets = _named_apart(datasets)
    words = _translation(datasets, labels)
    tables = [_own(d, n, words) for n, d in enumerate(datasets)]
    table = pd.concat(tables, ignore_index=True)
    text = [c for c in table.columns if table[c].dtype == object or table[c].dtype == "str"]
    table[text] = table[text].fillna("")
    table["picture"] = _pictures(table)
    table["twin_group"] = _twin_groups(table)
    table, united, conflicts = _united(table)
    table["image_id"] = _unique(table)
    bad = {words[c] for d in datasets for c in d.info.malignant}
    classes = tuple(sorted(set(words.values()), key=lambda c: (c in bad, c)))
    if sorted(classes) != ["benign", "malignant"]:
        classes = tuple(sorted(classes))
    malignant = tuple(c for c in classes if c in bad or _known_malignant(c))
    return Merged(table, classes, malignant, united, conflicts)


def _named_apart(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Sets read by a general reader say "csv" or "folder": the second is "csv-2".

    Else patient 1 of two hospitals would be one person, and no hospital could be left out.
    """
    taken: set[str] = set()
    result = []
    for dataset in datasets:
        names, own = {}, set(dataset.table["source"])
        for source in sorted(own & GENERAL & taken):
            free = (f"{source}-{n}" for n in itertools.count(2))
            names[source] = next(name for name in free if name not in taken | own)
        table = dataset.table.assign(source=dataset.table["source"].replace(names))
        taken |= set(table["source"])
        result.append(replace(dataset, table=table))
    return result


def _translation(datasets: Sequence[Dataset], labels: str) -> dict[str, str]:
    every = tuple(dict.fromkeys(c for d in datasets for c in d.info.classes))
    same = len({frozenset(d.info.classes) for d in datasets}) == 1
    if labels not in LEVELS:
        raise BadInput(f"no labels '{labels}'", remedy="known: " + ", ".join(LEVELS))
    if labels == "same" and not same:
        raise BadInput("the data sets have different classes", remedy="use --labels family")
    if same and labels in ("auto", "same"):
        return {c: c for c in every}
    return common_labels(every, "malignancy" if labels == "malignancy" else "family")


def _known_malignant(name: str) -> bool:
    node = diagnosis(name)
    return bool(node and node.malignant)


def _own(dataset: Dataset, number: int, words: dict[str, str]) -> pd.DataFrame:
    """A set's rows with absolute files, translated labels and ids that no other set shares."""
    table = dataset.table.assign(
        set=number,
        file=[str(dataset.image_path(p)) for p in dataset.table["path"]],
        source_label=dataset.table["label"],
        label=dataset.table["label"].map(words),
        split="",
    )
    for column in ("patient_id", "lesion_id", "twin_group"):
        if column in table:
            ids = table[column].astype(str)
            own = ids.where(
                ids.str.match(GLOBAL_ID.pattern, case=False), table["source"] + ":" + ids
            )
            table[column] = own.where(ids != "", "")
    if "mask" in table:
        masks = table["mask"].where(table["mask"] != "", None)
        table["mask_file"] = [str(dataset.image_path(m)) if m else "" for m in masks]
    return table.drop(columns=[c for c in ("official_split", "dropped") if c in table])


def _pictures(table: pd.DataFrame) -> pd.Series:
    """A name for each picture: rows of one name show the same region of the same picture."""
    isic = table["image_id"].str.extract(ISIC_IMAGE.pattern, flags=re.IGNORECASE)[0].str.upper()
    bytes_of = table["sha256"].where(
        table["sha256"] != "", table["set"].astype(str) + table["file"]
    )
    by_id = bytes_of.groupby(isic).transform("first")
    name = by_id.where(isic.notna(), bytes_of)
    first = name.groupby(bytes_of).transform("first")  # one byte-identical twin has the id
    places = table[["roi_x", "roi_y", "roi_size"]].to_numpy(float)
    return first + ["|" + "|".join(map(str, place)) for place in places]


def _twin_groups(table: pd.DataFrame) -> pd.Series:
    """Groups over all sets, so that a united picture still ties its lesions together."""
    twins = table["picture"].str.split("|").str[0]
    repeated = twins.duplicated(keep=False)
    known = table.get("twin_group", pd.Series("", table.index)).fillna("")
    linked = table.assign(twin_group=known.where(~repeated, "picture:" + twins))
    groups = pd.Series(united_groups(linked), table.index)
    tied = groups.isin(set(groups[repeated | (known != "")]))
    return ("group:" + groups).where(tied, "")


def _united(table: pd.DataFrame) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """One row a picture where several sets hold it; disagreeing labels leave it out."""
    sets = table.groupby("picture")["set"].transform("nunique")
    labels = table.groupby("picture")["label"].transform("nunique")
    clash = (sets > 1) & (labels > 1)
    conflicts = tuple(sorted(set(table.loc[clash, "image_id"])))
    table = table[~clash].copy()
    pictures = table.groupby("picture")
    kept = (table["set"] == pictures["set"].transform("min")).to_numpy()
    shared = (pictures["set"].transform("nunique") > 1).to_numpy()
    others = (
        table[shared & ~kept].groupby("picture")["source"].agg(lambda s: " ".join(sorted(set(s))))
    )
    table["also_in"] = table["picture"].map(others).astype(object).fillna("")
    for column in FILLED:
        known = table[column] if column == "age" else table[column].replace("", None)
        filled = known.groupby(table["picture"]).transform("first")
        table[column] = known.where(known.notna() | ~shared, filled)
        if column != "age":
            table[column] = table[column].fillna("")
    # Twins within one set stay as they are: split keeps them together.
    return table[kept].reset_index(drop=True), int((~kept).sum()), conflicts


def _unique(table: pd.DataFrame) -> pd.Series:
    """Image ids; where two pictures share one, the source stands before it."""
    ids = table["image_id"]
    twice = ids.duplicated(keep=False)
    ids = ids.where(~twice, table["source"] + "-" + ids)
    still = ids.duplicated(keep=False)
    return ids.where(~still, table["set"].astype(str) + "-" + ids)


def _copied(table: pd.DataFrame, folder: Path, progress: Progress) -> pd.DataFrame:
    """Copy images and masks into `folder`, named after their image ids.

    Each image file is copied once, though several rows (regions) may use it. Returns the table
    with the new `path` and `mask`, without the columns that only merging needs.
    """
    taken: set[str] = set()
    new_paths: dict[str, str] = {}
    ids = table.drop_duplicates("file").set_index("file")["image_id"]
    for file, image_id in progress(ids.items(), "copying images", len(ids)):
        new_paths[file] = _copy(Path(file), folder, IMAGES, image_id, taken)
    table = table.assign(path=table["file"].map(new_paths))
    if "mask_file" in table:
        masks = table[["mask_file", "image_id"]].to_numpy()
        table["mask"] = [
            _copy(Path(file), folder, MASKS, image_id, taken) if file else ""
            for file, image_id in masks
        ]
    table["twin_group"] = table["twin_group"].fillna("")
    temporary = [c for c in ("set", "file", "mask_file", "picture") if c in table]
    return table.drop(columns=temporary)


def _copy(file: Path, folder: Path, part: str, image_id: str, taken: set[str]) -> str:
    path = safe_path(part, image_id, file.suffix.lower(), taken)
    (folder / part).mkdir(exist_ok=True)
    try:
        shutil.copyfile(file, folder / path)
    except OSError as error:
        raise BadInput(f"cannot be copied ({error.strerror})", where=str(file)) from None
    return path


def _info(datasets: Sequence[Dataset], merged: Merged, table: pd.DataFrame) -> DatasetInfo:
    infos = [d.info for d in datasets]

    def joined(values: Sequence[str]) -> str:
        return "; ".join(dict.fromkeys(v for v in values if v))

    modalities = {i.modality for i in infos}
    forbidden = [c for i in infos for c in i.forbidden_inputs if c in table.columns]
    notes = [f"{i.name}: {n}" for i in infos for n in i.notes]
    rejected = [{"path": i, "reason": "the sets label it differently"} for i in merged.conflicts]
    return DatasetInfo(
        name=" + ".join(i.name for i in infos),
        source="merge",
        licence=joined([i.licence for i in infos]),
        citation=joined([i.citation for i in infos]),
        classes=merged.classes,
        malignant=merged.malignant,
        depth=max(i.depth for i in infos),
        colour="srgb",
        modality=modalities.pop() if len(modalities) == 1 else "mixed",
        synthetic=any(i.synthetic for i in infos),
        forbidden_inputs=tuple(dict.fromkeys([*forbidden, "source_label", "also_in"])),
        counts={**count(table, merged.classes), "rejected": rejected},
        leaky=any(i.leaky for i in infos),
        leak_reason=joined([i.leak_reason for i in infos]),
        notes=(
            *notes,
            *_of_other_depths(infos),
            counted(
                merged.united,
                "row was a duplicate of an earlier data set and was merged",
                "rows were duplicates of an earlier data set and were merged",
            ),
        ),
        lesionlab_version=__version__,
    )


def _of_other_depths(infos: Sequence[DatasetInfo]) -> list[str]:
    """A warning where the greys of one set would be dark beside those of another."""
    depths = {i.name: i.depth for i in infos}
    if len(set(depths.values())) == 1:
        return []
    told = ", ".join(f"{name}: {depth}" for name, depth in depths.items())
    return [
        f"WARNING: the 16-bit greys of the sets use different depths ({told} bits); all are read "
        f"with {max(depths.values())}, so that those of fewer bits look dark"
    ]


def summary(dataset: Dataset, merged: Merged) -> dict[str, Any]:
    """What the verb answers."""
    by_source = dataset.table["source"].value_counts().to_dict()
    return {
        "schema_version": 1,
        "dataset": str(dataset.folder),
        **dataset.info.counts,
        "malignant": list(dataset.info.malignant),
        "sources": {str(k): int(v) for k, v in by_source.items()},
        "united": merged.united,
        "conflicts": list(merged.conflicts),
        "images_in_several_sets": int(np.sum(dataset.table["also_in"] != "")),
    }
