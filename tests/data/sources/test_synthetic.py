from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from lesionlab.data.sources import synthetic
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

TREE = Tree("synthetic", {})


def test_even_full_knowledge_of_the_traits_is_not_enough() -> None:
    many = list(synthetic.lesions(0, 5000))
    truth, probability = [m.malignant for m in many], [m.probability for m in many]
    assert 0.88 < roc_auc_score(truth, probability) < 0.92
    assert 0.25 < np.mean(truth) < 0.4


def test_lesions_of_a_smaller_world_begin_the_larger_one() -> None:
    small, large = (list(synthetic.lesions(7, n)) for n in (20, 50))
    assert large[:20] == small
    assert list(synthetic.lesions(8, 20)) != small


def test_rows_have_patients_lesions_and_several_views() -> None:
    found = synthetic.find(TREE, {"lesions": 60, "seed": 1})
    rows = found.rows
    assert rows["lesion_id"].nunique() == 60
    assert rows["patient_id"].nunique() < 60
    assert rows.groupby("lesion_id").size().max() == 3
    assert rows.groupby("lesion_id")[["patient_id", "label"]].nunique().max().max() == 1
    assert set(rows["sex"]) == {"female", "male"}
    assert "bayes_probability" in synthetic.SOURCE.forbidden


def test_an_image_is_a_function_of_seed_lesion_and_view() -> None:
    first, second = list(synthetic.lesions(0, 2))
    assert (synthetic.render(0, first, 0) == synthetic.render(0, first, 0)).all()
    assert (synthetic.render(0, first, 0) != synthetic.render(0, first, 1)).any()
    assert (synthetic.render(0, first, 0) != synthetic.render(0, second, 0)).any()


def test_the_mask_covers_the_lesion() -> None:
    darker = []
    for lesion in synthetic.lesions(0, 30):
        pixels = synthetic.render(0, lesion, 0).astype(float).mean(2)
        mask = synthetic.mask(0, lesion, 0)
        assert set(np.unique(mask)) == {0, 255}
        assert 0.005 < (mask > 0).mean() < 0.8
        darker.append(pixels[mask > 0].mean() < np.median(pixels[mask == 0]))
    assert np.mean(darker) > 0.9


def test_files_are_images_and_masks_of_one_size() -> None:
    found = synthetic.find(TREE, {"lesions": 2, "seed": 0})
    row = found.rows.iloc[0]
    image, mask = (Image.open(io.BytesIO(found.read(row[c]))) for c in ("file", "mask_file"))
    assert image.size == mask.size == (160, 128)
    assert (image.format, mask.format, mask.mode) == ("JPEG", "PNG", "L")


def test_absurd_numbers_of_lesions_are_refused() -> None:
    with pytest.raises(BadInput, match="lesions=0"):
        synthetic.find(TREE, {"lesions": 0, "seed": 0})
