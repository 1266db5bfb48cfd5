"""The ABCD numbers by class and by image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesionlab.data.abcd import NAMES
from lesionlab.explanation.lesion_geometry import lesion_of, lesions_by_class


def lesions() -> pd.DataFrame:
    table = pd.DataFrame({name: [0.25, np.nan] for name in NAMES})
    table["diameter"] = [1234.4, np.nan]
    return table.assign(image_id=["x", "y"], label=["a", "b"])


def test_quartiles_by_class_and_the_numbers_of_one_image() -> None:
    rows = lesions_by_class(("a", "b"), lesions())
    assert [r["n"] for r in rows] == [1, 0]
    assert rows[0]["diameter"] == pytest.approx([1234.4] * 3)
    assert rows[1]["diameter"] == [None] * 3
    assert lesions_by_class(("a", "b"), None) == []
    assert lesion_of(None, 0) is None
    assert lesion_of(lesions(), 1) is None
    one = lesion_of(lesions(), 0)
    assert one is not None
    assert one["diameter"] == pytest.approx(1234.4)
