from __future__ import annotations

import pandas as pd
import pytest

from lesionlab.data.placeholder_ids import known_patients


@pytest.mark.parametrize(
    "word", ["removed", "ANONYMOUS", "anon", "Anonymized", "anonymised", "DEIDENTIFIED", "unknown",
             "de-identified", "0", "000", "N/A", "none", "XXXX", "-", "?", "Patient", "redacted"],
)  # fmt: skip
def test_a_word_is_no_patient(word: str) -> None:
    kept, warnings = known_patients(pd.Series([word, word, "p1", "p2"]))
    assert kept.tolist() == ["", "", "p1", "p2"]
    (warning,) = warnings
    assert f"'{word}' in 2 images" in warning


@pytest.mark.parametrize("ids", [["ANON0001", "ANON0002"], ["10", "20"], ["x1", "x2"], ["a", ""]])
def test_pseudonyms_stay(ids: list[str]) -> None:
    kept, warnings = known_patients(pd.Series(ids))
    assert kept.tolist() == ids
    assert warnings == []


def test_one_id_for_everybody_is_none() -> None:
    kept, warnings = known_patients(pd.Series(["STUDY7"] * 12))
    assert set(kept) == {""}
    assert "the same in all 12 images" in warnings[0]
    assert "STUDY7" not in warnings[0]
    few, said = known_patients(pd.Series(["p1"] * 4))
    assert set(few) == {"p1"}
    assert said == []


def test_one_id_for_most_is_kept_with_a_warning() -> None:
    kept, warnings = known_patients(pd.Series(["a"] * 15 + [f"p{n}" for n in range(5)]))
    assert (kept == "a").sum() == 15
    assert "one patient_id holds 15 of 20 images" in warnings[0]
