"""The explicit table of sources: to add a data set, write one file and one line here."""

from __future__ import annotations

from lesionlab import extras
from lesionlab.data import workbook
from lesionlab.data.sources import (
    cbis_ddsm,
    csv_table,
    dicom_folder,
    folder,
    ham10000,
    inbreast,
    isic_archive,
    isic_challenges,
    isic_later,
    layouts,
    medmnist,
    mini_mias,
    pad_ufes,
    ph2,
    rsna_mammo,
    skin_tables,
    synthetic,
    vindr_mammo,
)
from lesionlab.data.sources.base import Source
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, nearest

LAYOUTS = (layouts.ROBOFLOW, layouts.COCO, layouts.FIFTYONE, layouts.IMAGEFOLDER)

# In the order in which `auto` asks them: sets with an unmistakable header first, then shapes.
ALL = (
    ham10000.SOURCE,
    isic_challenges.ISIC2016,
    isic_challenges.ISIC2017,
    isic_challenges.ISIC2018,
    isic_challenges.ISIC2019,
    isic_later.ISIC2020,
    isic_later.ISIC2024,
    isic_archive.MILK10K,
    isic_archive.BCN20000,
    isic_archive.ARCHIVE,
    ph2.SOURCE,
    pad_ufes.SOURCE,
    skin_tables.DDI,
    skin_tables.FITZPATRICK17K,
    skin_tables.DERM7PT_SOURCE,
    mini_mias.SOURCE,
    cbis_ddsm.SOURCE,
    inbreast.SOURCE,
    vindr_mammo.SOURCE,
    rsna_mammo.SOURCE,
    medmnist.SOURCE,
    dicom_folder.SOURCE,
    *LAYOUTS,
    csv_table.SOURCE,
    folder.SOURCE,
    synthetic.SOURCE,
)
SOURCES: dict[str, Source] = {source.name: source for source in ALL}
SHAPES = (
    dicom_folder.SOURCE,
    *LAYOUTS,
    csv_table.SOURCE,
    folder.SOURCE,
)  # not a set, only a way to lay one out


def source_named(name: str) -> Source:
    """The source called `name`; `BadInput` with the nearest name where there is none."""
    if name not in SOURCES:
        raise BadInput(f"no source '{name}'", remedy=nearest(name, ["auto", *SOURCES]))
    return SOURCES[name]


def recognised(tree: Tree) -> tuple[Source, str]:
    """The source whose headers and layout a tree has, and why it is this one.

    Raises `BadInput` where there is none, or where two different sets lie in one tree.
    """
    reasons = [(source, why) for source in ALL if (why := source.recognise(tree))]
    reasons = _without_companions(reasons)
    sets = [(source, why) for source, why in reasons if source not in SHAPES]
    if len(sets) > 1:
        names = " and ".join(source.name for source, _ in sets)
        raise BadInput(
            f"holds several data sets: {names}",
            where=tree.origin,
            remedy=f"choose one: lesionlab import {sets[0][0].name} ...",
        )
    if not reasons:
        _ask_for_workbooks(tree)
        raise BadInput(
            "no known data set was recognised by headers or layout",
            where=tree.origin,
            remedy="name it (lesionlab import --help lists the sources), or use csv or folder",
        )
    source, why = reasons[0]
    also = [other.name for other, _ in reasons[1:]]
    overrule = f" (to overrule: lesionlab import {' or '.join(also)} ...)" if also else ""
    return source, f"{why}{overrule}"


def _without_companions(reasons: list[tuple[Source, str]]) -> list[tuple[Source, str]]:
    """HAM10000 is handed out together with the test set of ISIC 2018, which is no part of it."""
    if not any(source is ham10000.SOURCE for source, _ in reasons):
        return reasons
    return [
        (source, why)
        for source, why in reasons
        if source is not isic_challenges.ISIC2018 or "_test_" not in why.lower()
    ]


def _ask_for_workbooks(tree: Tree) -> None:
    """A table that cannot be read for want of openpyxl is the likely reason for no recognition."""
    for name in tree.ending(*workbook.SUFFIXES):
        extras.need("excel", "a workbook (.xlsx)", name, f"or {workbook.AS_CSV}")
    for name in tree.ending(".xls", ".ods", ".numbers"):
        raise BadInput("a workbook of another kind than .xlsx", where=name, remedy=workbook.AS_CSV)
