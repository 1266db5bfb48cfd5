from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.calibration_table import read_calibrating
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.table_reading import NOTHING_SAID, TableReading

IDS = np.array(["a.jpg", "b.jpg"], object)
NONE = np.array(["", ""], object)
MEASURED = Predictions(
    IDS, NONE, NONE, ("MEL", "NV"), np.array([0, 1]), np.array([[0.7, 0.3], [0.2, 0.8]])
)


def calibrating(folder: Path, text: str, how: TableReading = NOTHING_SAID) -> Predictions:
    path = folder / "valid.csv"
    path.write_text(text)
    return read_calibrating(path, MEASURED, how)[0]


def test_classes_by_other_words_in_another_order(tmp_path: Path) -> None:
    found = calibrating(tmp_path, "id,dx,nevus,melanoma\nc,nevus,.6,.4\nd,melanoma,.1,.9\n")
    assert found.classes == ("MEL", "NV")
    assert found.y_true.tolist() == [1, 0]
    assert found.y_prob.tolist() == [[0.4, 0.6], [0.9, 0.1]]


def test_it_is_read_as_the_measured_table_is(tmp_path: Path) -> None:
    text = "id,dx,p_mel,p_nv\nc,nv,-1,2\nd,mel,2,-1\n"
    found = calibrating(tmp_path, text, TableReading(logits=True, truth=Path("t.csv")))
    assert found.y_prob.argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize("spelled", ["a", "A.JPG", "x/a.png"])
def test_an_image_of_both_is_found_however_it_is_spelled(tmp_path: Path, spelled: str) -> None:
    with pytest.raises(BadInput, match=r"1 image\(s\) are in both tables"):
        calibrating(tmp_path, f"id,dx,p_mel,p_nv\n{spelled},mel,.6,.4\nd,nv,.1,.9\n")
