"""Steps of `explain` that need no trained network: what is shown, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("captum", reason="maps need the extra 'train'")

from PIL import Image

from lesionlab.api.explain_lesions import ON_CARD, card_facts, lesion_of, lesions_by_class
from lesionlab.api.explain_network import better, facts_of
from lesionlab.api.explain_show import main_method
from lesionlab.data.abcd import NAMES
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.predictions import Predictions
from lesionlab.explanation.study import MethodRow
from lesionlab.reporting.explanations_pictures import FAILED, framed
from lesionlab.reporting.language import language


def row(name: str, passed: bool | None) -> MethodRow:
    return MethodRow(name, sanity=SimpleNamespace(passed=passed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdicts", "main"),
    [
        ({"cam": True, "saliency": True}, "cam"),
        ({"cam": False, "saliency": None, "occlusion": True}, "occlusion"),
        ({"cam": False, "saliency": None}, "saliency"),
        ({"cam": False, "saliency": False}, "cam"),
        ({"cam": False}, "cam"),
    ],
)
def test_the_gallery_shows_a_method_that_passed_where_there_is_one(
    verdicts: dict[str, bool | None], main: str
) -> None:
    rows = [MethodRow("centre", reference=True), *(row(k, v) for k, v in verdicts.items())]
    assert main_method(tuple(verdicts), rows) == main


def drawn(signal: float, n: int = 120, classes: int = 2) -> Predictions:
    """Predictions of n patients; of no signal they know nothing."""
    rng = np.random.default_rng(3)
    truth = np.arange(n) % classes
    z = rng.normal(size=(n, classes)) + signal * np.eye(classes)[truth]
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"i{k}" for k in range(n)], object)
    none = np.array([""] * n, object)
    return Predictions(ids, ids, none, ("a", "b", "c")[:classes], truth, prob, z)


def test_chance_and_better_than_chance() -> None:
    assert facts_of(drawn(2.0))["better_than_chance"] is True
    blind = facts_of(drawn(0.0))
    assert blind["better_than_chance"] is False
    assert blind["roc_auc"]["low"] < 0.5 < blind["roc_auc"]["high"]
    assert blind["chance"] == {"balanced_accuracy": 0.5, "roc_auc": 0.5}
    assert facts_of(drawn(2.0, classes=3))["chance"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert facts_of(drawn(2.0, n=8))["better_than_chance"] is None


def test_images_of_unknown_truth_do_not_count() -> None:
    known = drawn(2.0)
    half = np.where(np.arange(120) < 60, known.y_true, -1)
    lost = Predictions(known.image_id, known.patient_id, known.lesion_id, known.classes, half,
                       known.y_prob, known.logits)  # fmt: skip
    assert facts_of(lost)["balanced_accuracy"]["n"] == 60


def test_ranking_alone_is_better_than_chance() -> None:
    # Calls the commonest class throughout, yet ranks: its maps have something to explain.
    skewed = drawn(2.0)
    logits = skewed.logits + np.array([9.0, 0.0])
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = facts_of(Predictions(skewed.image_id, skewed.patient_id, skewed.lesion_id,
                                 skewed.classes, skewed.y_true, prob, logits))  # fmt: skip
    assert found["balanced_accuracy"]["low"] <= 0.5
    assert found["better_than_chance"] is True


def test_a_single_class_says_nothing() -> None:
    measure = Measure(0.9, 0.8, 0.95, 40, "")
    assert better({"balanced_accuracy": measure}, {"balanced_accuracy": 1.0}) is None


def lesions() -> pd.DataFrame:
    table = pd.DataFrame({name: [0.25, np.nan] for name in NAMES})
    table["diameter"] = [1234.4, np.nan]
    return table.assign(image_id=["x", "y"], label=["a", "b"])


def test_lesion_numbers_on_a_card_and_by_class() -> None:
    words = language("en")
    facts = card_facts(lesion_of(lesions(), 0), words)
    assert [name for name, _ in facts] == [
        "asymmetry", "border irregularity", "colour variegation", "diameter (px)"
    ]  # fmt: skip
    assert [value for _, value in facts] == ["0.25", "0.25", "0.25", "1,234"]
    assert card_facts(lesion_of(lesions(), 1), words) == []
    assert lesion_of(None, 0) is None
    assert len(card_facts(lesion_of(lesions(), 0), language("zh"))) == len(ON_CARD)
    rows = lesions_by_class(("a", "b"), lesions())
    assert [r["n"] for r in rows] == [1, 0]
    assert rows[0]["diameter"] == pytest.approx([1234.4] * 3)
    assert rows[1]["diameter"] == [None] * 3


def test_the_frame_is_red_and_leaves_the_middle_alone() -> None:
    plain = Image.new("RGB", (80, 80), (10, 20, 30))
    found = np.asarray(framed(plain))
    assert (found[[0, 1, -1]] == FAILED).all()
    assert (found[:, [0, -1]] == FAILED).all()
    assert (found[5:-5, 5:-5] == (10, 20, 30)).all()
    assert plain.getpixel((0, 0)) == (10, 20, 30)
