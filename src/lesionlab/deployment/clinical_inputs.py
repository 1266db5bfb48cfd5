"""What may be known of a case besides its picture, for a model that has learnt from it.

Unknown is unknown: a column that is absent, a cell that is empty and a word that the training
part never held are all the same to the network, and the last one is said in the answer's note.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lesionlab.array_types import Float32
from lesionlab.data.clinical_metadata import SEXES, encode
from lesionlab.errors import BadInput
from lesionlab.run_folder import FactsCoding

MAX_AGE = 130.0  # years


@dataclass(frozen=True)
class ClinicalInputs:
    """Age in years (NaN: unknown), sex "female" or "male", site in the training data's words."""

    age: float = math.nan
    sex: str = ""
    site: str = ""

    def __post_init__(self) -> None:
        if not (math.isnan(self.age) or 0 <= self.age <= MAX_AGE):
            raise BadInput(f"age {self.age:g} is not between 0 and {MAX_AGE:g} years")


UNKNOWN = ClinicalInputs()


def encode_clinical(cases: Sequence[ClinicalInputs], coding: FactsCoding) -> Float32:
    """(N, F) float32 in the coding of the training part."""
    columns = {name: [getattr(case, name) for case in cases] for name in ("age", "sex", "site")}
    return encode(pd.DataFrame(columns), coding)


def not_understood(case: ClinicalInputs, coding: FactsCoding) -> str:
    """What of a case says nothing to this model, for the reader; "" where all does.

    >>> not_understood(ClinicalInputs(sex="f"), FactsCoding(columns=("sex",)))
    "sex 'f' taken as unknown"
    """
    vocabulary = {"sex": SEXES, "site": coding.sites}
    wrong = [
        f"{name} '{getattr(case, name)}' taken as unknown"
        for name, words in vocabulary.items()
        if name in coding.columns and getattr(case, name) not in ("", *words)
    ]
    return ", ".join(wrong)
