"""Checks of single images: unreadable, changed, blank, tiny, huge, and what import left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionlab.array_types import Bools
from lesionlab.data.audit.findings import EXAMPLES, Example, Finding, Grid, Severity
from lesionlab.data.audit.material import Material
from lesionlab.data.file_kinds import SUFFIXES
from lesionlab.errors import counted

BLANK = 3.0  # grey levels of deviation below which a picture shows nothing
TINY = 64  # pixels
HUGE = 25_000_000  # pixels: beyond any dermatoscope


def check_images(material: Material) -> Iterator[Finding]:
    """What is wrong with the files themselves."""
    facts = material.measured.table
    unreadable = (facts["reason"] != "").to_numpy()
    yield from _unreadable(material, unreadable)
    known = material.table["sha256"].astype(str)
    changed = ((known != "") & (facts["sha256"] != "") & (facts["sha256"] != known)).to_numpy()
    yield from _some(
        material,
        changed,
        _Wording(
            "changed",
            "error",
            "Files that changed since import",
            "their hashes differ from those in the manifest",
            why="Labels, hashes and caches belong to the old files.",
            remedy="import the images again: lesionlab import",
        ),
    )
    yield from _some(
        material,
        (facts["spread"] < BLANK).to_numpy() & ~unreadable,
        _Wording(
            "blank",
            "warning",
            "Blank images",
            f"the grey levels deviate by less than {BLANK:g} of 255",
            why="A network memorises the label of a blank image.",
            remedy=f"lesionlab audit {material.where} --drop blank",
            drop=True,
        ),
    )
    yield from _sizes(material, facts)


def _sizes(material: Material, facts: pd.DataFrame) -> Iterator[Finding]:
    side = np.minimum(facts["width"], facts["height"]).to_numpy()
    yield from _some(
        material,
        side < TINY,
        _Wording(
            "tiny",
            "warning" if np.nanmedian([*side, TINY]) >= TINY else "note",
            "Tiny images",
            f"the shorter side has fewer than {TINY} pixels",
            why="Enlarged to the input size of a network they are blurred. "
            "A network can then tell the sources apart by sharpness.",
        ),
    )
    yield from _some(
        material,
        (facts["width"] * facts["height"]).to_numpy() > HUGE,
        _Wording(
            "huge",
            "note",
            "Huge images",
            f"more than {HUGE // 10**6} megapixels each",
            why="They slow down the first training, which decodes every image once.",
        ),
    )


def _unreadable(material: Material, unreadable: Bools) -> Iterator[Finding]:
    reasons = material.measured.table["reason"][unreadable].value_counts()
    yield from _some(
        material,
        unreadable,
        _Wording(
            "unreadable",
            "error",
            "Images that cannot be read",
            "; ".join(f"{reason}: {n:,}" for reason, n in reasons.items()),
            why="Training stops at the first of them, or skips them silently.",
            remedy=f"lesionlab audit {material.where} --drop unreadable",
            drop=True,
        ),
    )


@dataclass(frozen=True)
class _Wording:
    """How a finding about single images is told; `drop`: whether `--drop` may leave them out."""

    key: str
    severity: Severity
    title: str
    text: str
    why: str = ""
    remedy: str = ""
    drop: bool = False


def _some(material: Material, where: Bools, told: _Wording) -> Iterator[Finding]:
    """A finding about the rows where `where` is true, or nothing."""
    rows = np.flatnonzero(where)
    if not len(rows):
        return
    names = [str(material.table["image_id"].iloc[k]) for k in rows]
    paths = [str(material.table["path"].iloc[k]) for k in rows]
    yield Finding(
        told.key,
        told.severity,
        told.title,
        f"{counted(len(rows), 'image')}: {told.text}.",
        len(rows),
        len(material.table),
        told.why,
        told.remedy,
        examples=tuple(
            Example((name,), path) for name, path in list(zip(names, paths, strict=True))[:EXAMPLES]
        ),
        drop=tuple(names) if told.drop else (),
    )


def check_import(material: Material) -> Iterator[Finding]:
    """What import refused or noted, and files that no row names."""
    info = material.dataset.info
    rejected = list(info.counts.get("rejected", []))
    if rejected:
        rows = tuple((str(r["path"]), str(r["reason"])) for r in rejected[:30])
        yield Finding(
            "rejected",
            "warning",
            "Excluded by import",
            f"{counted(len(rejected), 'file or row', 'files or rows')} of the source could not "
            "be used.",
            len(rejected),
            len(material.table) + len(rejected),
            "If they all come from one scanner or clinic, its patients are missing from the data "
            "set.",
            "fix them in the source, then import again",
            grids=(Grid(("file or row", "reason"), rows),),
        )
    notes = [n for n in info.notes if not n.startswith("recognised as")]
    if notes:
        yield Finding(
            "import_notes",
            "note",
            "Notes of import",
            f"{counted(len(notes), 'remark')} on the source's files and tables.",
            len(notes),
            len(notes),
            "Copies of public data sets are often oversampled, renamed or re-saved: HAM10000 "
            "circulates with 18,832 or 19,945 rows instead of 10,015.",
            grids=(Grid(("remark",), tuple((n,) for n in notes)),),
        )
    yield from _orphans(material)


def _orphans(material: Material) -> Iterator[Finding]:
    folder = material.dataset.folder
    named = set(material.table["path"])
    tops = sorted({path.split("/", 1)[0] for path in named if "/" in path})
    files = (f for top in tops for f in (folder / top).rglob("*") if f.suffix.lower() in SUFFIXES)
    found = [f.relative_to(folder).as_posix() for f in files]
    extra = sorted(set(found) - named)
    if extra:
        yield Finding(
            "orphans",
            "note",
            "Files without a row",
            f"{counted(len(extra), 'image file lies', 'image files lie')} in the folder without "
            "a row in the manifest.",
            len(extra),
            len(found),
            "Others may take them for part of the data set.",
            grids=(Grid(("file",), tuple((name,) for name in extra[:12])),),
        )
