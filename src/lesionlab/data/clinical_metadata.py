"""Age, sex and site of a case as numbers that a network can read; unknown is unknown."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatch

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Float32
from lesionlab.errors import BadInput, nearest
from lesionlab.run_folder import FactsCoding

COLUMNS = ("age", "sex", "site")
SEXES = ("female", "male")
AGE_BANDS = (0, 30, 45, 60, 75)  # lower ends, years: of a stratified split and of subgroups
# Known only after the diagnosis, or telling how the data were collected: never an input.
FORBIDDEN = (
    *("dx_type", "diagnosis*", "concomitant_biopsy", "melanocytic", "iddx_*", "mel_*"),
    *("*_id", "id", "attribution", "label", "split", "sha256", "phash", "source", "path"),
)


def refuse_forbidden(columns: Collection[str], forbidden: Collection[str]) -> None:
    """`BadInput` for a column that is no fact of the case before its diagnosis."""
    for column in columns:
        if column in forbidden or any(fnmatch(column, pattern) for pattern in FORBIDDEN):
            raise BadInput(
                f"'{column}' must not be an input: it is known only after the diagnosis, or "
                "tells how the data were collected",
                where="model.metadata",
                remedy=f"choose from {', '.join(COLUMNS)}",
            )
        if column not in COLUMNS:
            raise BadInput(
                f"'{column}' is not a clinical metadata column",
                where="model.metadata",
                remedy=nearest(column, COLUMNS),
            )


def fit_coding(training: pd.DataFrame, columns: Collection[str]) -> FactsCoding:
    """The coding of `columns`, fitted on the rows of the training part.

    `BadInput` where a column is empty in all of them.
    """
    for column in columns:
        if not _known(training, column).any():
            raise BadInput(
                f"'{column}' is empty in the whole training split", where="model.metadata"
            )
    age = training["age"].dropna().to_numpy("float64")
    spread = float(age.std()) if len(age) else 0.0
    sites = sorted(set(training["site"]) - {""}) if "site" in columns else []
    return FactsCoding(
        columns=tuple(c for c in COLUMNS if c in columns),
        age_mean=float(age.mean()) if len(age) else 0.0,
        age_sd=spread or 1.0,
        sites=tuple(sites),
    )


def _known(table: pd.DataFrame, column: str) -> npt.NDArray[np.bool_]:
    values = table[column]
    known = values.notna() if column == "age" else values != ""
    return np.asarray(known, bool)


def encode(table: pd.DataFrame, coding: FactsCoding) -> Float32:
    """(N, F) float32: standardised age, one column a word, and one that says "unknown".

    An unknown age is 0 (the mean) with its indicator 1; a word that training never saw counts as
    unknown.
    """
    return np.concatenate([_column(table, coding, c) for c in coding.columns], 1)


def _column(table: pd.DataFrame, coding: FactsCoding, column: str) -> Float32:
    if column == "age":
        years = table["age"].to_numpy("float64")
        unknown = np.isnan(years)
        scaled = np.where(unknown, 0.0, (years - coding.age_mean) / coding.age_sd)
        return np.stack([scaled, unknown], 1).astype(np.float32)
    words = SEXES if column == "sex" else coding.sites
    is_word = table[column].to_numpy(object)[:, None] == np.array(words, object)[None, :]
    return np.concatenate([is_word, ~is_word.any(1, keepdims=True)], 1).astype(np.float32)


def unknown_case(coding: FactsCoding) -> Float32:
    """(F,) float32: the code of a case of which nothing is known."""
    nothing = pd.DataFrame({"age": [np.nan], "sex": [""], "site": [""]})
    case: Float32 = encode(nothing, coding)[0]
    return case
