from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.pairing import paired_rows
from lesionlab.evaluation.predictions import Predictions


def predictions(ids: list[str], classes: tuple[str, ...], seed: int) -> Predictions:
    none = np.array([""] * len(ids), object)
    first = np.random.default_rng(seed).uniform(size=len(ids))
    y_true = np.arange(len(ids)) % 2
    prob = np.stack([first, 1 - first], axis=1)
    return Predictions(np.array(ids, object), none, none, classes, y_true, prob)


A = predictions(["a", "b", "c", "d"], ("MEL", "NV"), 0)


def test_ids_and_classes_of_other_words_in_another_order() -> None:
    b = predictions(["m/d.jpg", "m/c.jpg", "m/b.jpg", "m/a.jpg"], ("nevus", "melanoma"), 1)
    found = paired_rows([("a", A), ("b", b)])
    assert found.rows[1].image_id.tolist() == ["a", "b", "c", "d"]
    assert found.rows[1].classes == ("MEL", "NV")
    assert np.allclose(found.rows[1].y_prob, b.y_prob[::-1, ::-1])
    assert any("4 ids matched without regard to file suffix and folder" in n for n in found.notes)
    assert "b: class 'melanoma' is 'MEL'" in found.notes


def test_labels_of_the_other_table_have_to_agree() -> None:
    b = predictions(["a", "b", "c", "d"], ("nevus", "melanoma"), 1)
    with pytest.raises(BadInput, match="carry other labels"):
        paired_rows([("a", A), ("b", b)])
    unknown = dataclasses.replace(b, y_true=np.full(4, -1))
    assert paired_rows([("a", A), ("b", unknown)]).rows[1].y_true.tolist() == [0, 1, 0, 1]


def test_shared_images_only_where_that_is_asked_for() -> None:
    b = predictions(["b.png", "c.png", "e.png"], ("NV", "MEL"), 1)
    with pytest.raises(BadInput, match=r"2 image\(s\) are missing.*--matching-only"):
        paired_rows([("a", A), ("b", b)])
    found = paired_rows([("a", A), ("b", b)], matching_only=True)
    assert [r.image_id.tolist() for r in found.rows] == [["b", "c"]] * 2
    assert "a: 2 images that are not in every table and left out" in found.notes
    assert "b: 1 image that is not in every table and left out" in found.notes
    other = predictions(["x", "y"], ("NV", "MEL"), 1)
    with pytest.raises(BadInput, match="no image is shared"):
        paired_rows([("a", A), ("b", other)], matching_only=True)
