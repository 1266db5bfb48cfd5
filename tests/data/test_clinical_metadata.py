"""Age, sex and site as numbers; unknown is unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.clinical_metadata import encode, fit_coding, refuse_forbidden, unknown_case
from lesionlab.errors import BadInput

TABLE = pd.DataFrame(
    {
        "age": [40.0, 60.0, np.nan, 50.0],
        "sex": ["female", "male", "", "female"],
        "site": ["back", "", "leg", "back"],
    }
)


def test_each_fact_has_its_columns_and_an_indicator_for_unknown() -> None:
    coding = fit_coding(TABLE, ("age", "sex", "site"))
    coded = encode(TABLE, coding)
    assert coding.sites == ("back", "leg")
    assert coded.dtype == np.float32
    sd = float(np.std([40, 60, 50]))
    assert coded[:, 0] == pytest.approx([-10 / sd, 10 / sd, 0, 0])
    assert coded[:, 1].tolist() == [0, 0, 1, 0]
    assert coded[:, 2:5].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert coded[:, 5:].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_the_coding_comes_from_the_training_part_alone() -> None:
    coding = fit_coding(TABLE.iloc[[0, 1]], ("age", "site"))
    coded = encode(TABLE, coding)
    assert coding.age_mean == 50
    assert coded[3, 0] == 0
    assert coded[2].tolist() == [0, 1, 0, 1]  # "leg" was never seen: unknown


def test_a_case_of_which_nothing_is_known() -> None:
    coding = fit_coding(TABLE, ("sex", "age"))  # the order is the coding's own
    assert unknown_case(coding).tolist() == [0, 1, 0, 0, 1]


def test_the_same_age_everywhere_is_no_division_by_zero() -> None:
    table = TABLE.assign(age=50.0)
    assert encode(table, fit_coding(table, ("age",)))[:, 0].tolist() == [0, 0, 0, 0]


def test_a_column_that_is_empty_in_training_is_refused() -> None:
    with pytest.raises(BadInput, match="'sex' is empty in the whole training split"):
        fit_coding(TABLE.iloc[[2]], ("sex",))


@pytest.mark.parametrize("column", ["dx_type", "diagnosis_2", "lesion_id", "iddx_full", "sha256"])
def test_columns_that_betray_the_label_are_refused(column: str) -> None:
    with pytest.raises(BadInput, match=f"'{column}' must not be an input"):
        refuse_forbidden([column], [])


def test_a_column_that_the_data_set_forbids_is_refused() -> None:
    with pytest.raises(BadInput, match="'site' must not be an input"):
        refuse_forbidden(["age", "site"], ["site"])


def test_a_mistyped_column_gets_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'site'"):
        refuse_forbidden(["sites"], [])
