"""Readers beside a model: by hand, solid or hollow, in words, and never on training images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.reader_pairs import AT_SENSITIVITY, AT_SPECIFICITY
from lesionlab.evaluation.readers import (
    PUBLISHED,
    compare_with_readers,
    published_points,
)
from lesionlab.evaluation.votes import Votes

N = 80


def model(skill: float = 1.0, n: int = N, patients: int | None = None) -> Predictions:
    rng = np.random.default_rng(1)
    y_true = np.arange(n) % 2
    p = 1 / (1 + np.exp(-(skill * (2 * y_true - 1) + rng.normal(size=n))))
    ids = np.array([f"i{k}" for k in range(n)], dtype=object)
    blank = np.full(n, "", dtype=object)
    owner = blank if patients is None else np.array([f"p{k % patients}" for k in range(n)], object)
    return Predictions(ids, owner, blank, ("nv", "mel"), y_true, np.stack([1 - p, p], axis=1))


def votes(n: int = N, right: int = 3, reads: int = 4) -> Votes:
    """Of the votes on each image `right` are right; classes in another order than the model's."""
    y_true = 1 - np.arange(n) % 2  # MEL stands first
    counts = np.full((n, 2), float(reads - right))
    counts[np.arange(n), y_true] = right
    return Votes(np.array([f"i{k}" for k in range(n)], object), ("MEL", "NV"), counts, y_true)


def compared(p: Predictions, v: Votes, **options: object) -> dict[str, object]:
    options = {"malignant": ("mel",), "held_out": True, "resampling": Resampling(100)} | options
    result = compare_with_readers(p, v, **options).to_json()  # type: ignore[arg-type]
    json.dumps(result, allow_nan=False)
    return result


def test_pooled_reader_by_hand() -> None:
    result = compared(model(), votes())
    for name in ("sensitivity", "specificity", "accuracy"):
        assert result["reader"][name]["value"] == 0.75  # type: ignore[index]
    assert result["reads"] == 4 * N
    assert result["point"]["same_images"] is True  # type: ignore[index]


def test_votes_are_found_over_the_spelling_of_the_ids() -> None:
    known, spelled = votes(), np.array([f"study/I{k}.jpg" for k in range(N)], object)
    plain, found = compared(model(), known), compared(model(), replace(known, image_id=spelled))
    assert found["difference"] == plain["difference"]
    assert plain["notes"] == []
    assert "80 ids matched without regard to" in found["notes"][0]  # type: ignore[index]


def test_an_image_counts_once_or_by_its_votes() -> None:
    v = votes()
    counts = v.counts.copy()
    counts[1] = [40, 0]  # i1 is malignant: forty votes for MEL
    v = replace(v, counts=counts)
    by_image = compared(model(), v)["reader"]["sensitivity"]["value"]  # type: ignore[index]
    by_read = compared(model(), v, weight="read")["reader"]["sensitivity"]["value"]  # type: ignore[index]
    assert by_image == pytest.approx((39 * 0.75 + 1) / 40)
    assert by_read == pytest.approx((39 * 3 + 40) / (39 * 4 + 40))


def test_the_difference_is_the_models_curve_at_the_readers_point() -> None:
    p = model(0.5)
    result = compared(p, votes(), threshold=0.5)
    score, malignant = p.y_prob[:, 1], p.y_true == 1
    cuts = np.unique(score)
    specificity = np.array([(score[~malignant] < c).mean() for c in cuts])
    sensitivity = np.array([(score[malignant] >= c).mean() for c in cuts])
    difference = result["difference"]
    best = sensitivity[specificity >= 0.75].max() - 0.75
    assert difference[AT_SPECIFICITY]["value"] == pytest.approx(best)  # type: ignore[index]
    best = specificity[sensitivity >= 0.75].max() - 0.75
    assert difference[AT_SENSITIVITY]["value"] == pytest.approx(best)  # type: ignore[index]
    own = (score[malignant] >= 0.5).mean()
    assert result["model"]["sensitivity"]["value"] == pytest.approx(own)  # type: ignore[index]
    assert difference["sensitivity"]["value"] == pytest.approx(own - 0.75)  # type: ignore[index]
    low, high = (difference[AT_SPECIFICITY][k] for k in ("low", "high"))  # type: ignore[index]
    assert low < difference[AT_SPECIFICITY]["value"] < high  # type: ignore[index]


def test_the_statement_in_words() -> None:
    text = str(compared(model(3.0), votes(right=2))["statement"])
    assert "differs from the pooled reader by +0." in text
    assert "not distinguishable" not in text
    assert "not distinguishable" in str(compared(model(0.7), votes())["statement"])
    few = compared(model(1.0, 20), votes(20))
    assert "too few" in str(few["statement"])


def test_the_point_is_solid_only_for_the_same_images() -> None:
    result = compared(model(), votes(N - 10))
    assert result["point"]["same_images"] is False  # type: ignore[index]
    assert (result["images"], result["without_votes"]) == (N - 10, 10)
    assert all(not p.same_images for p in published_points())


def test_training_images_are_refused_without_a_word_that_they_were_held_out() -> None:
    with pytest.raises(BadInput, match="training did not see"):
        compared(model(), votes(), held_out=False)


def test_several_classes_compare_recall_and_two_only_sides() -> None:
    rng, y = np.random.default_rng(3), np.arange(90) % 3
    prob = rng.dirichlet(np.ones(3), 90) * 0.5 + 0.5 * np.eye(3)[y]
    ids, blank = np.array([f"i{k}" for k in range(90)], object), np.full(90, "", object)
    p = Predictions(ids, blank, blank, ("mel", "nv", "bcc"), y, prob)
    v = Votes(ids, ("BCC", "MEL", "NV"), np.eye(3)[[1, 2, 0]][y] * 2 + 1, np.array([1, 2, 0])[y])
    result = compared(p, v, malignant=("mel", "bcc"))
    assert {"accuracy", "mean_recall"} <= set(result["difference"])  # type: ignore[call-overload]
    assert result["reader"]["accuracy"]["value"] == pytest.approx(3 / 5)  # type: ignore[index]
    assert result["reader"]["sensitivity"]["value"] == pytest.approx(4 / 5)  # type: ignore[index]
    two = Predictions(ids, blank, blank, ("benign", "malignant"), (y != 1) * 1, np.stack(
        [prob[:, 1], 1 - prob[:, 1]], axis=1
    ))  # fmt: skip
    result = compared(two, v, malignant=("malignant",))
    assert "accuracy" not in result["reader"]  # type: ignore[operator]
    assert result["reader"]["sensitivity"]["value"] == pytest.approx(4 / 5)  # type: ignore[index]


def test_readers_told_apart_are_points_of_their_own() -> None:
    good, poor = votes(right=4), votes(right=1)
    p = model(1.0)
    result = compared(p, replace(votes(), readers={"good": good, "poor": poor}))
    assert result["beaten"] == (1, 2)
    points = {q["name"]: q for q in result["individuals"]}  # type: ignore[attr-defined]
    assert points["good"]["sensitivity"]["value"] == 1.0
    assert points["poor"]["specificity"]["value"] == 0.25
    assert compared(p, votes())["beaten"] is None


def test_images_of_a_patient_widen_the_interval() -> None:
    def width(p: Predictions) -> float:
        m = compared(p, votes_that_vary())["reader"]["sensitivity"]  # type: ignore[index]
        return float(m["high"] - m["low"])

    assert width(model(patients=60)) > 1.1 * width(model())


def votes_that_vary() -> Votes:
    """Four images of a patient are read alike: all right, or all wrong."""
    v = votes()
    wrong = (np.arange(N) % 20) % 5 == 0
    return replace(v, counts=np.where(wrong[:, None], v.counts[:, ::-1], v.counts))


def test_refusals() -> None:
    with pytest.raises(BadInput, match="no labelled image has votes"):
        compared(model(), replace(votes(), image_id=np.array([f"x{k}" for k in range(N)], object)))
    with pytest.raises(BadInput, match="malignant in one truth"):
        compared(model(), replace(votes(), y_true=np.zeros(N, np.int64)))
    with pytest.raises(BadInput, match="did you mean 'mel'"):
        compared(model(), votes(), malignant=("mell",))
    with pytest.raises(BadInput, match="all malignant, or all benign"):
        compared(model().take(np.arange(0, N, 2)), votes())
    with pytest.raises(BadInput, match="did you mean 'isic201"):
        published_points("isic2061")
    assert len(published_points("haenssle2018")) == 2
    assert all(0 < row[2] < 1 and 0 < row[3] < 1 for row in PUBLISHED)
