from __future__ import annotations

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.units import to_unit

CLASSES = ("nv", "mel")


def table(
    patients: list[str], lesions: list[str], labels: list[int], malignant: list[float]
) -> Predictions:
    p = np.array(malignant)
    names = np.array([f"i{i}" for i in range(len(p))], dtype=object)
    return Predictions(
        names,
        np.array(patients, dtype=object),
        np.array(lesions, dtype=object),
        CLASSES,
        np.array(labels, np.int64),
        np.stack([1 - p, p], axis=1),
        np.stack([-p, p], axis=1),
    )


def test_the_mean_of_a_lesions_images() -> None:
    data = table([""] * 4, ["a", "b", "a", ""], [1, 0, 1, 0], [0.2, 0.3, 0.6, 0.9])
    found = to_unit(data, "lesion", ())
    assert found.image_id.tolist() == ["a", "b", "i3"]
    np.testing.assert_allclose(found.y_prob[:, 1], [0.4, 0.3, 0.9])
    assert found.y_true.tolist() == [1, 0, 0]
    assert found.logits is None
    assert found.groups.tolist() == ["lesion:a", "lesion:b", "image:i3"]


def test_a_lesions_name_may_repeat_across_patients() -> None:
    data = table(["p", "q"], ["1", "1"], [0, 1], [0.1, 0.9])
    assert len(to_unit(data, "lesion", ())) == 2


def test_one_labelled_image_labels_the_lesion() -> None:
    data = table([""] * 2, ["a", "a"], [-1, 1], [0.1, 0.9])
    assert to_unit(data, "lesion", ()).y_true.tolist() == [1]


def test_the_worst_image_speaks_for_the_patient() -> None:
    data = table(["p", "p", "p", "q"], [""] * 4, [0, 1, 0, 0], [0.2, 0.1, 0.7, 0.4])
    found = to_unit(data, "patient", ("mel",))
    assert found.y_true.tolist() == [1, 0]
    np.testing.assert_allclose(found.y_prob[:, 1], [0.7, 0.4])
    assert found.image_id.tolist() == ["p", "q"]


def test_images_stay_as_they_are() -> None:
    data = table(["p"], ["a"], [0], [0.2])
    assert to_unit(data, "image", ()) is data


@pytest.mark.parametrize(
    ("unit", "malignant", "message"),
    [
        ("lesion", (), "no row has a lesion_id"),
        ("patient", ("mel",), "no row has a patient_id"),
        ("visit", (), "no unit 'visit'"),
    ],
)
def test_refusals(unit: str, malignant: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        to_unit(table([""], [""], [0], [0.2]), unit, malignant)


def test_patients_need_to_know_what_is_malignant() -> None:
    with pytest.raises(BadInput, match="which classes are malignant"):
        to_unit(table(["p"], [""], [0], [0.2]), "patient", ())
