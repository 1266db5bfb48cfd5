"""Patient ids that name nobody: what de-identification leaves in the place of an id."""

from __future__ import annotations

import re

import pandas as pd

from lesionlab.errors import counted

# Words that stand for an id, whatever their case: no digits follow, so that ANON0001 is an id.
NOBODY = re.compile(
    r"(anon(ym(ous|i[sz]ed|e|isiert)?)?|de-?identified|removed|redacted|deleted|withheld|masked"
    r"|unknown|none|null|nan|n/?a|no ?(id|name)|not (given|available)|patient|subject|test|dummy"
    r"|x+|0+|-+|\?+|\.+|#+)",
    re.IGNORECASE,
)
FEW = 8  # images: as many may well be of one patient
MOST = 0.5  # of the images: more than one patient is likely to have


def known_patients(ids: pd.Series, column: str = "patient_id") -> tuple[pd.Series, list[str]]:
    """Ids with "" for those that name nobody, and warnings about them.

    A word such as "removed" is no patient, nor is one id that `FEW` images or more share to the
    last. Otherwise all images would be one group, and no split would be possible.

    >>> known_patients(pd.Series(["removed", "p1"]))[0].tolist()
    ['', 'p1']
    """
    ids = ids.astype(str).str.strip()
    word = ids.map(lambda i: bool(NOBODY.fullmatch(i)))
    kept = ids.where(~word, "")
    warnings = _of_words(ids[word], column)
    values = kept[kept != ""].value_counts()
    if len(values) == 1 and int(values.iloc[0]) == len(ids) >= FEW:
        return kept.where(kept == "", ""), [
            f"WARNING: {column} is the same in all {len(ids)} images and so names no patient: "
            "patients are unknown, and images of one patient may cross the splits"
        ]
    if len(ids) >= 2 * FEW and len(values) and int(values.iloc[0]) > MOST * len(ids):
        warnings.append(
            f"WARNING: one {column} holds {int(values.iloc[0])} of {len(ids)} images, which stay "
            "in one split: look whether it names a patient"
        )
    return kept, warnings


def _of_words(ids: pd.Series, column: str) -> list[str]:
    if ids.empty:
        return []
    words = ", ".join(f"'{w}'" for w in sorted(set(ids))[:3])
    return [
        f"WARNING: {column} is {words} in {counted(len(ids), 'image')}, which names no patient: "
        "their patients are unknown, and images of one patient may cross the splits"
    ]
