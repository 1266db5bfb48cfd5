"""Checks of an existing split, and of two data sets: who has been seen in training already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Bools
from lesionlab.data.audit.findings import EXAMPLES, Example, Finding, Grid, share
from lesionlab.data.audit.material import Material, lesion_keys
from lesionlab.data.audit.twins import split_command
from lesionlab.data.duplicates import ORIENTATIONS
from lesionlab.data.parts import OFFICIAL
from lesionlab.data.sources.table import SHAPES
from lesionlab.data.taxonomy import counterparts
from lesionlab.errors import counted

# What a leak is worth, measured: the reason for each of these checks.
INFLATION = (
    "In a paired experiment on HAM10000, images of the test groups in training "
    "added 0.10 to balanced accuracy and 0.15 to melanoma sensitivity. In external validation "
    "the leaky "
    "and the clean model did not differ."
)
# The id that the ISIC Archive gives an image; some sets add a suffix to a shrunken copy.
ARCHIVE_ID = re.compile(r"^(ISIC_\d{7})(_downsampled)?$")
# Ids that mean the same wherever they stand: those of HAM10000, BCN20000 and the ISIC Archive.
SHARED_IDS = re.compile(r"^(?:HAM|BCN|IL|IP)_\d{4,}$")
PART_NAMES = {"test": "test", "valid": "validation", "calib": "calibration"}
SEEN_BEFORE = {
    "test": ("train", "valid", "calib"),
    "calib": ("train", "valid"),
    "valid": ("train",),
}


def check_split(material: Material) -> Iterator[Finding]:
    """Groups that cross the parts of the split, or of the makers' own where there is none yet."""
    if material.dataset.info.leaky:
        yield Finding(
            "marked_leaky",
            "error",
            "Marked LEAKY",
            f"The data set has this permanent mark: {material.dataset.info.leak_reason}.",
            1,
            1,
            INFLATION,
            "import it again, then: " + split_command(material),
            fails=True,
        )
    parts = material.table["split"].to_numpy(str)
    own = bool((parts != "").any())
    if not own and OFFICIAL in material.table:
        parts = material.table[OFFICIAL].to_numpy(str)
    for part, before in SEEN_BEFORE.items():
        if (parts == part).any():
            yield from _leak(material, parts, part, before, "" if own else "official ")


def _keys(material: Material) -> dict[str, npt.NDArray[np.object_]]:
    """What two rows may share, by name; "" joins nothing."""
    return {
        "patient": material.table["patient_id"].to_numpy(object),
        "lesion": lesion_keys(material.table).to_numpy(object),
        "duplicate": _twin_keys(material),
    }


def _twin_keys(material: Material) -> npt.NDArray[np.object_]:
    """Chains of duplicates; regions of one film are not copies of each other unless found so."""
    sizes = np.bincount(material.twins)
    return np.where(sizes[material.twins] > 1, material.twins.astype(str), "").astype(object)


def _leak(
    material: Material,
    parts: npt.NDArray[np.str_],
    part: str,
    before: tuple[str, ...],
    whose: str,
) -> Iterator[Finding]:
    inside = parts == part
    earlier = np.isin(parts, before)
    hit = {
        name: inside & (keys != "") & np.isin(keys.astype(str), keys[earlier].astype(str))
        for name, keys in _keys(material).items()
    }
    anyhow = np.logical_or.reduce(list(hit.values()))
    if not anyhow.any():
        return
    by = ", ".join(f"{name} {int(rows.sum()):,}" for name, rows in hit.items() if rows.any())
    name = PART_NAMES[part]
    yield Finding(
        f"leak_{part}",
        "error",
        f"The {whose}{name} split leaks",
        f"{counted(int(anyhow.sum()), 'image')} of {int(inside.sum()):,} in the {whose}{name} "
        "split "
        f"({share(int(anyhow.sum()), int(inside.sum()))}) share a group with an image in another "
        "split "
        f"({', '.join(before)}): by {by}.",
        int(anyhow.sum()),
        int(inside.sum()),
        INFLATION,
        split_command(material) + " --official" * bool(whose),
        fails=True,
        grids=(_by_class(material, inside, {**hit, "any": anyhow}),),
        examples=_siblings(material, anyhow, earlier, parts),
        data={
            "images": int(inside.sum()),
            "affected": {k: int(v.sum()) for k, v in {**hit, "any": anyhow}.items()},
            "share": float(anyhow.sum() / inside.sum()),
            "by_class": _shares(material, inside, anyhow),
        },
    )


def _by_class(material: Material, inside: Bools, hit: Mapping[str, Bools]) -> Grid:
    labels = material.table["label"].to_numpy(str)
    rows = []
    for name in (*material.dataset.info.classes, "all"):
        own = inside & ((labels == name) | (name == "all"))
        cells = (f"{int((own & h).sum()):,} ({share(int((own & h).sum()), int(own.sum()))})"
                 for h in hit.values())  # fmt: skip
        rows.append((name, f"{int(own.sum()):,}", *cells))
    return Grid(("class", "images", *(f"by {n}" if n != "any" else n for n in hit)), tuple(rows))


def _shares(material: Material, inside: Bools, hit: Bools) -> dict[str, float | None]:
    labels = material.table["label"].to_numpy(str)
    each = {c: inside & (labels == c) for c in material.dataset.info.classes}
    return {
        c: float((own & hit).sum() / own.sum()) if own.any() else None for c, own in each.items()
    }


def _siblings(
    material: Material, hit: Bools, earlier: Bools, parts: npt.NDArray[np.str_]
) -> tuple[Example, ...]:
    """A leaking image beside one that it shares something with, of as many classes as there are."""
    ids = material.table["image_id"].to_numpy(object)
    labels = material.table["label"].to_numpy(str)
    rows = np.flatnonzero(hit)
    turn = pd.Series(labels[rows]).groupby(labels[rows]).cumcount().to_numpy()
    closest = dict(reversed(_keys(material).items()))  # a copy tells more than a patient
    examples = []
    for k in rows[np.lexsort((rows, turn))][:EXAMPLES]:
        for name, keys in closest.items():
            same = np.flatnonzero(earlier & (keys == keys[k]) & (keys != ""))
            if len(same):
                told = f"{labels[k]}: same {name}, in {parts[same[0]]}"
                examples.append(Example((ids[k], ids[same[0]]), told))
                break
    return tuple(examples)


def check_across(material: Material) -> Iterator[Finding]:
    """What two data sets share: pictures, and ids that mean the same in both."""
    other = material.other
    if other is None:
        return
    shared = _shared(material)
    anyhow = np.logical_or.reduce(list(shared.values()))
    if not anyhow.any():
        yield Finding(
            "across",
            "good",
            f"Nothing shared with {other.info.name}",
            f"No image and no id of {other.info.name} ({len(other.table):,} images) was found.",
            0,
            len(material.table),
        )
        return
    everything = np.ones(len(anyhow), bool)
    by = ", ".join(f"{name} {int(rows.sum()):,}" for name, rows in shared.items() if rows.any())
    yield Finding(
        "across",
        "error",
        f"Shared with {other.info.name}",
        f"{counted(int(anyhow.sum()), 'image')} of {len(anyhow):,} "
        f"({share(int(anyhow.sum()), len(anyhow))}) are also in {other.info.name}: by {by}.",
        int(anyhow.sum()),
        len(anyhow),
        "A model trained on one and tested on the other is tested on images it has seen. The "
        "ISIC 2019 training "
        "files contain 594 images of the 2017 test set and 95 of the 2016 test set, downsized, "
        "so that "
        "byte hashes miss them.",
        f"lesionlab audit {material.where} --against {other.folder} --drop across",
        fails=True,
        grids=(
            _by_class(material, everything, {**shared, "any": anyhow}),
            *_parts_grid(material),
        ),
        examples=tuple(
            Example((p.a,), f"{p.kind}; {ORIENTATIONS[p.orientation]}", (p.b,))
            for p in material.across[:EXAMPLES]
        ),
        drop=tuple(material.table["image_id"][anyhow]),
        data={
            "other": other.info.name,
            "other_images": len(other.table),
            "shared": {k: int(v.sum()) for k, v in {**shared, "any": anyhow}.items()},
            "by_class": _shares(material, everything, anyhow),
        },
    )
    yield from _disagreement(material)


def _shared(material: Material) -> dict[str, Bools]:
    """For each row whether the other set has its picture, image id, lesion or patient."""
    assert material.other is not None
    one, two = material.table, material.other.table
    kinds = {
        "bytes": {p.a for p in material.across if p.kind == "bytes"},
        "pixels": {p.a for p in material.across if p.kind == "pixels"},
        "near-duplicate": {p.a for p in material.across if p.kind == "near"},
    }
    hit = {name: one["image_id"].isin(ids).to_numpy() for name, ids in kinds.items()}
    own, theirs = (t["image_id"].map(_archive_id) for t in (one, two))
    hit["image id"] = ((own != "") & own.isin(theirs)).to_numpy()
    for name, column in (("lesion", "lesion_id"), ("patient", "patient_id")):
        hit[name] = (_comparable(material, column) & one[column].isin(two[column])).to_numpy()
    return hit


def _comparable(material: Material, column: str) -> pd.Series:
    """(N,) where an id would name the same thing in the other set.

    Two copies of one published set share their ids. "1" in two tables of somebody's own does not
    mean one patient.
    """
    assert material.other is not None
    ids, source = material.table[column].astype(str), material.dataset.info.source
    if source == material.other.info.source and source not in {s.name for s in SHAPES}:
        return ids != ""
    return ids.str.match(SHARED_IDS)


def _archive_id(image_id: str) -> str:
    """The ISIC Archive's id in an image's name, "" where it has none."""
    found = ARCHIVE_ID.match(str(image_id))
    return found.group(1) if found else ""


def _parts_grid(material: Material) -> tuple[Grid, ...]:
    """Which part here meets which part there, where one of the two is split."""
    assert material.other is not None
    there = dict(zip(material.other.table["image_id"], material.other.table["split"], strict=True))
    here = dict(zip(material.table["image_id"], material.table["split"], strict=True))
    pairs = pd.Series(
        [(here[p.a] or "unsplit", there[p.b] or "unsplit") for p in material.across], dtype=object
    )
    if not len(pairs) or not (any(here.values()) or any(there.values())):
        return ()
    rows = tuple((a, b, f"{n:,}") for (a, b), n in pairs.value_counts().items())
    return (Grid(("split here", "split there", "pairs of images"), rows),)


def _disagreement(material: Material) -> Iterator[Finding]:
    """Pictures that the two sets label differently, as far as the taxonomy knows the words."""
    assert material.other is not None
    other = material.other
    words = counterparts(material.dataset.info.classes, other.info.classes)
    theirs = dict(zip(other.table["image_id"], other.table["label"], strict=True))
    odd = [p for p in material.across if words.get(material.label(p.a)) not in (None, theirs[p.b])]
    if odd:
        yield Finding(
            "across_labels",
            "error",
            f"Labelled differently in {other.info.name}",
            f"{counted(len(odd), 'shared image')} with another diagnosis there.",
            len(odd),
            len(material.across),
            "At least one of the two labels is wrong.",
            f"lesionlab audit {material.where} --against {other.folder} --drop across_labels",
            fails=True,
            examples=tuple(
                Example((p.a,), f"{material.label(p.a)} here, {theirs[p.b]} there", (p.b,))
                for p in odd[:EXAMPLES]
            ),
            drop=tuple(sorted({p.a for p in odd})),
        )
