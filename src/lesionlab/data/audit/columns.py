"""Checks of the table: columns that hold the answer, ids, counts, gaps, classes too small."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

import pandas as pd

from lesionlab.data.audit.artefacts import INDICES
from lesionlab.data.audit.findings import Example, Finding, Grid, share
from lesionlab.data.audit.material import Material
from lesionlab.data.importing import count, differences
from lesionlab.data.manifest import COLUMNS
from lesionlab.data.sources.table import SOURCES
from lesionlab.errors import counted

# Known only after the diagnosis, or betraying how the data were collected (facts of the sets).
POST_DIAGNOSIS = (
    "dx_type", "diagnosis*", "benign_malignant", "target", "concomitant_biopsy", "melanocytic",
    "iddx_*", "mel_*", "tbp_lv_dnn_lesion_confidence", "biopsed", "pathology", "assessment",
    "severity", "histolog*", "attribution", "copyright_license", "capture_date",
)  # fmt: skip
PURE = 0.99  # share of a value's rows with one label, from which on the value gives it away
FEW_GROUPS = 10
GAPS = ("patient_id", "lesion_id", "age", "sex", "site", "skin_type")
SUFFIXED = r"\.(?:jpe?g|png|bmp|tiff?|pgm)$"


def check_columns(material: Material) -> Iterator[Finding]:
    """Columns that hold the answer, and columns that should not be there."""
    own = [c for c in material.table.columns if c not in COLUMNS]
    known = set(material.dataset.info.forbidden_inputs)
    suspect = [c for c in own if c in known or _matches(c)]
    if suspect:
        rows = tuple(_told(material.table, c, c in known) for c in suspect)
        open_ones = [c for c in suspect if c not in known]
        yield Finding(
            "post_diagnosis",
            "warning" if open_ones else "note",
            "Columns known only after the diagnosis",
            f"{', '.join(suspect)}: these must never be inputs of a model.",
            len(suspect),
            len(own),
            "In HAM10000 every melanoma, basal cell carcinoma and actinic keratosis is 'histo' in "
            "dx_type and every 'follow_up' a nevus. The column reveals the label.",
            f'name them in "forbidden_inputs" of {material.where}/dataset.json: '
            + ", ".join(open_ones)
            if open_ones
            else "",
            grids=(
                Grid(("column", "values", "images whose value determines the label", ""), rows),
            ),
            data={"columns": suspect, "not_forbidden": open_ones},
        )
    yield from _index_columns(material, own)
    suffixed = material.table["image_id"].str.contains(SUFFIXED, case=False, regex=True)
    if suffixed.any():
        yield Finding(
            "suffixed_ids",
            "warning",
            "File suffixes in ids",
            f"{counted(int(suffixed.sum()), 'id')} such as "
            f"'{material.table['image_id'][suffixed].iloc[0]}' end in a file suffix.",
            int(suffixed.sum()),
            len(material.table),
            "A table that names the images without the suffix cannot be joined.",
            "import the data set again; import removes suffixes",
        )


def _matches(column: str) -> bool:
    name = column.strip().lower().replace(" ", "_")
    return any(fnmatch.fnmatch(name, pattern) for pattern in POST_DIAGNOSIS)


def _told(table: pd.DataFrame, column: str, forbidden: bool) -> tuple[str, str, str, str]:
    """How far a column alone gives the label away."""
    values = table[column].astype(str)
    known = values != ""
    purest = (
        table[known]
        .groupby(values[known])["label"]
        .agg(lambda labels: labels.value_counts().iloc[0] / len(labels))
    )
    pure = known & values.isin(purest.index[purest >= PURE])
    told = f"{int(pure.sum()):,} ({share(int(pure.sum()), len(table))})"
    return column, f"{values[known].nunique():,}", told, "excluded from models" if forbidden else ""


def _index_columns(material: Material, own: list[str]) -> Iterator[Finding]:
    found = [c for c in own if _counts_up(material.table[c])]
    if found:
        yield Finding(
            "index_column",
            "warning",
            "Row-number columns",
            f"{', '.join(found)}: saved by a program together with the data.",
            len(found),
            len(own),
            "As a model input it reveals the order of collection, and with it the class if the "
            "set was "
            "assembled class by class.",
            "remove the column from the table of the source, then import again",
        )


def _counts_up(values: pd.Series) -> bool:
    numbers = pd.to_numeric(values, errors="coerce")
    if len(numbers) < 3 or numbers.isna().any():
        return False
    return bool((numbers.sort_values().diff().iloc[1:] == 1).all())


def check_counts(material: Material) -> Iterator[Finding]:
    """Counts against the published ones; classes too small to say anything about."""
    info = material.dataset.info
    counts = count(material.table, info.classes)
    source = SOURCES.get(info.source)
    published = source.expected if source is not None else {}
    expected = dict(info.counts.get("expected", published))  # of what import was asked to take
    if not set(expected.get("classes", {})) <= set(info.classes):
        expected.pop("classes", None)
    lines = differences(counts, expected)
    if lines:
        yield Finding(
            "published_counts",
            "warning",
            "Counts differ from the published ones",
            f"{counted(len(lines), 'count')} of {info.name} differ from the publication.",
            len(lines),
            len(expected),
            "Results on another selection of images cannot be compared with published ones. "
            "Oversampled copies of HAM10000 have 18,832 or 19,945 rows.",
            f"download the data set from its publisher, then: lesionlab import {info.source}",
            grids=(Grid(("difference",), tuple((line,) for line in lines)),),
        )
    yield from _small_classes(material)
    yield from _gaps(material)


def _small_classes(material: Material) -> Iterator[Finding]:
    frame = pd.DataFrame({"label": material.table["label"], "group": material.groups})
    groups = frame.drop_duplicates()["label"].value_counts()
    small = [c for c in material.dataset.info.classes if groups.get(c, 0) < FEW_GROUPS]
    if small:
        yield Finding(
            "small_classes",
            "warning",
            "Classes too small for any conclusion",
            f"Fewer than {FEW_GROUPS} independent groups (patients, lesions) of: "
            f"{', '.join(small)}.",
            len(small),
            len(material.dataset.info.classes),
            "With 150 test images the 95 % CI of an AUC is still about ±0.05. "
            "Below ten groups no valid interval can be given.",
            f"regroup classes on import: lesionlab import ... --map {small[0]}=...",
        )


def _gaps(material: Material) -> Iterator[Finding]:
    table = material.table
    missing = {c: int((table[c].isna() | (table[c].astype(str) == "")).sum()) for c in GAPS}
    rows = tuple((c, f"{n:,}", share(n, len(table))) for c, n in missing.items())
    grouped = ("patient_id", "lesion_id")
    unknown = all(missing[c] == len(table) for c in grouped)
    note = (
        " Neither patients nor lesions are known, so a split can only keep duplicates together."
        if unknown
        else ""
    )
    skin = (
        " Skin type is unknown for all images, so nothing can be said about dark skin."
        if missing["skin_type"] == len(table)
        else ""
    )
    yield Finding(
        "gaps",
        "warning" if unknown else "note",
        "Missing metadata",
        f"{sum(n == len(table) for n in missing.values())} of {len(GAPS)} columns are empty "
        f"throughout.{note}{skin}",
        sum(n > 0 for n in missing.values()),
        len(GAPS),
        "Without patients or lesions, a random split puts images of one group on both sides (in "
        "HAM10000 for "
        "38.5 % of the test images, for 68 % of the melanomas). On the DDI set a HAM10000 model "
        "has an AUC of 0.72 on skin types I and II, and 0.57 on V and VI.",
        f"lesionlab join {material.where} TABLE" if any(missing.values()) else "",
        grids=(Grid(("column", "missing", "share"), rows),),
        data={"missing": missing},
    )


def check_artefacts(material: Material) -> Iterator[Finding]:
    """Indices of dark corners, hair, ink and rulers, by class."""
    facts = material.measured.table
    labels = material.table["label"].to_numpy(str)
    classes = material.dataset.info.classes
    means = facts[list(INDICES)].groupby(labels).mean()
    rows = tuple(
        (c, *(f"{means[i].get(c, float('nan')):.3f}".replace("nan", "–") for i in INDICES))
        for c in classes
    )
    yield Finding(
        "artefacts",
        "note",
        "Artefacts in the images",
        "Mean index by class, from 0 to 1, over the border of each image. The indices rank images; "
        "they are not validated detectors. Whether they predict the label is measured under label "
        "shortcuts.",
        why="If one class was marked, shaved or measured more often, a network can use the marks.",
        grids=(Grid(("class", *(i.replace("_", " ") for i in INDICES)), rows),),
        examples=_highest(material),
        data={"mean_by_class": {c: _numbers(means, c) for c in classes}},
    )


def _numbers(means: pd.DataFrame, name: str) -> dict[str, float | None]:
    if name not in means.index:
        return dict.fromkeys(INDICES)
    return {i: None if pd.isna(v := means.at[name, i]) else float(v) for i in INDICES}


def _highest(material: Material) -> tuple[Example, ...]:
    """For each index the three images that it finds most striking."""
    facts, ids = material.measured.table, material.table["image_id"].to_numpy(object)
    examples = []
    for index in INDICES:
        order = facts[index].fillna(0).to_numpy().argsort(kind="stable")[::-1][:3]
        names = tuple(str(ids[k]) for k in order if facts[index].iloc[k] > 0)
        if names:
            examples.append(Example(names, f"highest: {index.replace('_', ' ')}"))
    return tuple(examples)
