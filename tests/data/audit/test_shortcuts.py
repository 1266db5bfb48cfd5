"""Artefacts and shortcuts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import pictures
from helpers.audits import by_key
from lesionlab.data.audit import audit_dataset
from lesionlab.data.audit.artefacts import INDICES, artefact_indices
from lesionlab.data.audit.columns import POST_DIAGNOSIS
from lesionlab.data.audit.shortcuts import _auc, encoded, measured
from lesionlab.data.manifest import Dataset, with_table


def test_artefact_indices_rank_what_they_are_named_for() -> None:
    plain = np.asarray(pictures.skin(3, 256, 256)).copy()
    y, x = np.indices((256, 256))
    corners, hair, ink, ruler = (plain.copy() for _ in range(4))
    corners[np.hypot(y - 128, x - 128) > 140] = 5
    for k in range(6):
        hair[(np.abs(y - 0.3 * x - 40 * k + 20) < 1.5)] = 40
    ink[225:] = (70, 60, 190)
    ruler[236:, ::16] = 20
    ruler[236:, 1::16] = 20
    base = artefact_indices(Image.fromarray(plain))
    for name, picture in zip(INDICES, (corners, hair, ink, ruler), strict=True):
        each = artefact_indices(Image.fromarray(picture))
        assert all(0 <= v <= 1 for v in each.values())
        assert each[name] > base[name] + 0.02, name
    assert set(base) == set(INDICES)


def test_a_shortcut_is_told_from_noise() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(["a", "b", "c"], 300)
    groups = np.arange(300) // 2
    labels = labels[groups]
    noise = pd.DataFrame({"x": draw.normal(size=300)})
    telling = pd.DataFrame({"word": np.where(labels == "a", "yes", "no").astype(object)})
    nothing = measured(noise, labels, groups, ("a", "b", "c"))
    something = measured(telling, labels, groups, ("a", "b", "c"))
    assert nothing["low"] < 0.5 < nothing["high"]
    assert something["low"] > 0.6
    assert something["by_class"]["a"] > 0.95
    alike = measured(pd.DataFrame({"x": np.ones(300)}), labels, groups, ("a", "b", "c"))
    assert (alike["value"], alike["method"]) == (0.5, "all images alike")


def test_shortcuts_are_in_the_findings(clean: Dataset, forest: None) -> None:
    table = clean.table.copy()
    table["source"] = np.where(table["label"] == "nevus", "clinic", "archive")
    shortcuts = by_key(audit_dataset(with_table(clean, table)))["shortcuts"]
    assert shortcuts.severity == "warning"
    assert "source" in shortcuts.text
    values = {s["name"]: s for s in shortcuts.data["shortcuts"]}
    assert values["source"]["value"] == 1.0
    assert values["image size"]["value"] == 0.5
    few = clean.table[:12].reset_index(drop=True)
    little = by_key(audit_dataset(with_table(clean, few)))["shortcuts"]
    assert "too few to say" in little.title


def test_the_bootstrap_auc_is_the_usual_one() -> None:
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(1)
    score = np.round(draw.normal(size=80), 1)
    positive = draw.random(80) < 0.4
    weights = np.stack([np.ones(80), draw.integers(0, 3, 80)]).astype(np.float32)
    areas = _auc(positive, score, weights)
    for row in range(2):
        assert areas[row] == pytest.approx(
            roc_auc_score(positive, score, sample_weight=weights[row])
        )


def test_encoding_words_and_gaps() -> None:
    frame = pd.DataFrame({"age": [30.0, np.nan, 50.0], "sex": np.array(["f", "", "f"], object)})
    assert encoded(frame).tolist() == [[30, 0, 1, 0], [40, 1, 0, 1], [50, 0, 1, 0]]


def test_the_forbidden_columns_of_the_facts_are_recognised() -> None:
    from lesionlab.data.audit.columns import _matches

    known = ("dx_type", "diagnosis_confirm_type", "concomitant_biopsy", "melanocytic", "iddx_full",
             "mel_thick_mm", "diagnosis_2", "attribution", "pathology")  # fmt: skip
    assert all(_matches(column) for column in known)
    assert not any(_matches(c) for c in ("age", "fitzpatrick", "clin_size_long_diam_mm", "region"))
    assert len(POST_DIAGNOSIS) == len(set(POST_DIAGNOSIS))
