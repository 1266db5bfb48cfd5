"""A second table joined to a data set by id: reader votes, lesion groupings, more metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionlab.data import tables
from lesionlab.data.groups import crossing, united_groups
from lesionlab.data.id_matching import IdMatch, match_ids, repeated_ids
from lesionlab.data.manifest import COLUMNS, Dataset, with_table
from lesionlab.data.sources.common import standard
from lesionlab.errors import BadInput, nearest

ID_NAMES = ("image_id", "isic_id", "image", "image_name", "img_id", "lesion_id", "patient_id")
# The sets' words for columns that the manifest has.
OURS = {"age": ("age", "age_approx", "age_approximate"), "sex": ("sex", "gender"),
        "site": ("site", "anatom_site_general", "localization"),
        "skin_type": ("skin_type", "fitzpatrick_skin_type"),
        "patient_id": ("patient_id",), "lesion_id": ("lesion_id",)}  # fmt: skip


@dataclass(frozen=True)
class Joined:
    """The data set with its new columns, and what the join met."""

    dataset: Dataset
    matched: int  # rows of the data set that found a row of the table
    unmatched: int  # rows of the table that belong to no row of the data set
    filled: dict[str, int]  # column of the manifest -> cells that were absent and now are known
    differing: dict[str, int]  # column -> cells where the two disagree; the data set's stay
    added: tuple[str, ...]
    split_reset: bool
    notes: tuple[str, ...]  # ids that are spelled otherwise in the table


def join_table(
    dataset: Dataset,
    data: bytes,
    where: str,
    *,
    on: str = "",
    prefix: str = "",
    inputs: Sequence[str] = (),
) -> Joined:
    """Join the CSV `data` to `dataset` by its id column `on` (recognised by name if "").

    Columns that the manifest has (age, sex, site, patient_id ...) fill what is absent there and
    never overwrite. The others are added, with `prefix`, and may not be model inputs unless
    `inputs` names them. Where new patients or lesions tie images of different parts together,
    the split is undone: deal again.
    """
    table, _ = tables.read_csv(data, where)
    key = _key(table, on, where)
    target = key if key in ("lesion_id", "patient_id") else "image_id"
    table = table.drop_duplicates(ignore_index=True)
    match = _matched(dataset.table[target], table[key], where)
    at = pd.Series(match.places, dataset.table.index)
    if not match.found.any():
        raise BadInput(
            f"no {key} of the table is in the data set",
            where=where,
            remedy=f"compare '{table[key].iloc[0]}' with '{dataset.table[target].iloc[0]}'",
        )
    fresh = _standard(table.drop(columns=key), where)
    wide = fresh.reindex(at).set_index(dataset.table.index)
    result, filled, differing = _fill(dataset.table.copy(), wide)
    added = [c for c in wide.columns if c not in COLUMNS]
    names = _added_names(added, prefix, result, where)
    for column, name in names.items():
        result[name] = wide[column].fillna("")
    return _finish(dataset, result, match, len(table), names, inputs, filled, differing)


def _matched(ours: pd.Series, theirs: pd.Series, where: str) -> IdMatch:
    """Each row of the data set among the rows of the table; `BadInput` where it has two."""
    twice = repeated_ids(theirs)
    if twice is not None:
        as_well = f", as '{twice[0]}' too" if twice[0] != twice[1] else ""
        raise BadInput(f"'{twice[1]}' is in two rows of the table{as_well}", where=where)
    match = match_ids(ours.tolist(), theirs.tolist())
    for name, rows in match.candidates.items():
        raise BadInput(
            f"'{name}' of the data set is in two rows of the table, as {' and '.join(rows[:2])}",
            where=where,
            remedy="write the ids as the data set does",
        )
    return match


def _key(table: pd.DataFrame, on: str, where: str) -> str:
    if on:
        tables.need_columns(table, [on], where)
        return on
    found = [n for n in ID_NAMES if n in table.columns]
    if not found:
        known = ", ".join(map(str, table.columns[:12]))
        raise BadInput("the id column of the table was not recognised", where=where,
                       remedy=f"name it with --on; the columns are {known}")  # fmt: skip
    return found[0]


def _standard(table: pd.DataFrame, where: str) -> pd.DataFrame:
    known = {
        ours: next(n for n in names if n in table)
        for ours, names in OURS.items()
        if set(names) & set(table.columns)
    }
    return standard(table, known, where)


def _fill(
    table: pd.DataFrame, wide: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int], dict[str, int]]:
    filled, differing = {}, {}
    for column in [c for c in wide.columns if c in COLUMNS]:
        if column not in OURS:
            raise BadInput(f"column '{column}' of a data set cannot be joined")
        new = wide[column]
        has = new.notna() & (new != "")
        absent = table[column].isna() | (table[column] == "")
        filled[column] = int((has & absent).sum())
        differing[column] = int((has & ~absent & (new != table[column])).sum())
        table[column] = table[column].where(~(has & absent), new)
    return table, filled, differing


def _added_names(
    added: Sequence[str], prefix: str, table: pd.DataFrame, where: str
) -> dict[str, str]:
    names = {c: f"{prefix}{c}" for c in added}
    for name in names.values():
        if name in table.columns:
            raise BadInput(f"the data set already has a column '{name}'", where=where,
                           remedy="add a prefix with --prefix")  # fmt: skip
    return names


def _finish(
    dataset: Dataset,
    table: pd.DataFrame,
    match: IdMatch,
    rows: int,
    names: dict[str, str],
    inputs: Sequence[str],
    filled: dict[str, int],
    differing: dict[str, int],
) -> Joined:
    for name in inputs:
        if name not in names.values():
            raise BadInput(f"no new column '{name}'", remedy=nearest(name, names.values()))
    forbidden = [n for n in names.values() if n not in inputs]
    reset = bool(crossing(united_groups(table), table["split"].to_numpy(object)))
    changes: dict[str, object] = {
        "forbidden_inputs": tuple(dict.fromkeys([*dataset.info.forbidden_inputs, *forbidden])),
        "counts": {**dataset.info.counts, **_distinct(table)},
    }
    if reset and not dataset.info.leaky:
        table["split"] = ""
        changes["split_policy"] = None
    return Joined(
        dataset=with_table(dataset, table, **changes),
        matched=int(match.found.sum()),
        unmatched=rows - int(np.unique(match.places[match.found]).size),
        filled=filled,
        differing=differing,
        added=tuple(names.values()),
        split_reset=reset and not dataset.info.leaky,
        notes=match.notes(),
    )


def _distinct(table: pd.DataFrame) -> dict[str, int]:
    columns = {"patients": "patient_id", "lesions": "lesion_id"}
    return {name: int(table.loc[table[c] != "", c].nunique()) for name, c in columns.items()}
