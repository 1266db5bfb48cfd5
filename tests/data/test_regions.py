from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.data.images import Roi
from lesionlab.data.regions import balanced, breast_mask, crop_png, dihedral, otsu, random_point
from lesionlab.errors import BadInput


def film() -> Image.Image:
    pixels = np.zeros((256, 256), np.uint8)
    pixels[40:220, 0:120] = 160  # the breast
    pixels[10:40, 200:240] = 250  # a label
    return Image.fromarray(pixels)


def test_the_breast_is_the_largest_bright_area() -> None:
    mask = breast_mask(film())
    assert mask.shape == (32, 32)
    assert mask[10, 5]
    assert not mask[2, 27]
    assert 0.25 < mask.mean() < 0.4
    assert breast_mask(Image.new("L", (64, 64))).all()


def test_otsu_parts_dark_from_bright() -> None:
    assert 10 <= otsu(np.array([10] * 50 + [200] * 50, np.uint8)) < 200


def test_random_points_keep_their_distance_from_the_rim() -> None:
    draw = np.random.default_rng(0)
    points = np.array([random_point(breast_mask(film()), 32, draw) for _ in range(50)])
    assert points[:, 0].max() < 120 - 16
    assert points[:, 1].min() > 40 + 16
    assert points[:, 1].max() < 220 - 16
    assert len({tuple(p) for p in points}) > 40


def test_twelve_versions_of_which_eight_differ() -> None:
    patch = Image.fromarray(np.arange(48 * 48, dtype=np.uint32).astype(np.uint8).reshape(48, 48))
    patch.putpixel((3, 1), 7)
    versions = dihedral(patch)
    assert len({name for name, _ in versions}) == 12
    assert len({image.tobytes() for _, image in versions}) == 8


def test_crops_are_grey_and_of_the_size_asked() -> None:
    assert crop_png(film(), Roi(60, 100, 96), 48).size == (48, 48)


def mias_like() -> pd.DataFrame:
    kinds = {"CIRC": (20, 4), "CALC": (15, 12), "SPIC": (11, 8)}
    rows = []
    for kind, (benign, malignant) in kinds.items():
        rows += [{"abnormality": kind, "label": "benign"}] * benign
        rows += [{"abnormality": kind, "label": "malignant"}] * malignant
    rows += [{"abnormality": "NORM", "label": "normal"}] * 100
    return pd.DataFrame(rows).assign(image_id=[f"i{n}" for n in range(len(rows))])


def test_class_balance_is_within_each_kind() -> None:
    table = mias_like()
    kept = table[balanced(table, "class", 0, ("malignant",))]
    n = kept.groupby(["abnormality", "label"]).size().to_dict()
    assert n == {("CALC", "benign"): 12, ("CALC", "malignant"): 12, ("CIRC", "benign"): 4,
                 ("CIRC", "malignant"): 4, ("SPIC", "benign"): 8, ("SPIC", "malignant"): 8,
                 ("NORM", "normal"): 16}  # fmt: skip


def test_full_balance_cuts_every_kind_to_the_rarest() -> None:
    table = mias_like()
    kept = table[balanced(table, "full", 0, ("malignant",))]
    assert set(kept.groupby(["abnormality", "label"]).size().drop(("NORM", "normal"))) == {4}
    assert (kept["label"] == "normal").sum() == 8


def test_balance_without_kinds_equals_benign_and_malignant() -> None:
    table = mias_like().drop(columns="abnormality")
    kept = table[balanced(table, "class", 0, ("malignant",))]
    assert (kept["label"] == "malignant").sum() == 24
    assert len(kept) == 48


def test_balance_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    table = mias_like()
    plain = set(table[balanced(table, "class", 0, ("malignant",))]["image_id"])
    mixed = table.sample(frac=1, random_state=1)
    assert set(mixed[balanced(mixed, "class", 0, ("malignant",))]["image_id"]) == plain
    assert set(table[balanced(table, "class", 1, ("malignant",))]["image_id"]) != plain
    with pytest.raises(BadInput, match="no balance 'half'"):
        balanced(table, "half", 0, ("malignant",))
