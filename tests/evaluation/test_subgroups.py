"""Subgroups: every image in one level, known numbers, and silence where there is too little."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subgroups import LEVELS, subgroups

N = 400


@pytest.fixture
def predictions() -> Predictions:
    rng = np.random.default_rng(2)
    y_true = np.arange(N) % 2
    p = 1 / (1 + np.exp(-(1.2 * (2 * y_true - 1) + rng.normal(size=N))))
    ids = np.array([f"i{k}" for k in range(N)], dtype=object)
    blank = np.full(N, "", dtype=object)
    return Predictions(ids, blank, blank, ("nv", "mel"), y_true, np.stack([1 - p, p], axis=1))


@pytest.fixture
def metadata() -> pd.DataFrame:
    k = np.arange(N)
    return pd.DataFrame(
        {
            "age": np.where(k % 10 == 9, np.nan, (k // 4) % 95),
            "sex": np.where(k < 180, "female", np.where(k < 360, "male", "")),
            "site": [f"site {i % 15}" for i in k],
            "skin_type": "",
            "source": np.where(k < 380, "here", "there"),
            "width": np.where(k % 3 == 0, 600, 4000),
            "height": np.where(k % 3 == 0, 450, 3000),
        },
        index=[f"i{i}" for i in k],
    ).iloc[::-1]


def test_every_image_falls_into_one_level(predictions: Predictions, metadata: pd.DataFrame) -> None:
    found = subgroups(predictions, metadata, malignant=("mel",), resampling=Resampling(50))
    assert [a.name for a in found] == ["age", "sex", "site", "source", "image_size"]
    for attribute in found:
        assert sum(s.n for s in attribute.levels) == N
        assert sum(s.positives for s in attribute.levels) == N // 2
        assert attribute.everybody.n == N
        json.dumps(attribute.to_json(), allow_nan=False)


def test_numbers_are_those_of_the_rows(predictions: Predictions, metadata: pd.DataFrame) -> None:
    found = subgroups(
        predictions,
        metadata,
        malignant=("mel",),
        attributes=["sex"],
        threshold=0.4,
        resampling=Resampling(50),
    )[0]
    female = next(s for s in found.levels if s.level == "female")
    rows = metadata.loc[list(predictions.image_id), "sex"].to_numpy() == "female"
    y, score = predictions.y_true[rows] == 1, predictions.y_prob[rows, 1]
    assert female.metric.value == pytest.approx(metrics.roc_auc(y, score))
    assert female.metric.low is not None
    assert female.calibration.value == pytest.approx(y.mean() - score.mean())
    assert (female.observed, female.predicted) == (y.mean(), score.mean())
    assert female.sensitivity is not None
    assert female.sensitivity.value == pytest.approx((score[y] >= 0.4).mean())
    assert found.unknown == 40
    assert found.levels[-1].level == "unknown"


def test_too_few_to_say(predictions: Predictions, metadata: pd.DataFrame) -> None:
    found = subgroups(
        predictions, metadata, malignant=("mel",), attributes=["source"], threshold=0.4,
        resampling=Resampling(50),
    )[0]  # fmt: skip
    here, there = found.levels
    assert (there.n, there.note) == (20, "too few to say")
    for m in (there.metric, there.calibration, there.sensitivity, there.specificity):
        assert m is not None
        assert (m.low, m.high) == (None, None)
        assert "too few" in m.method
    assert here.note == ""
    assert here.metric.low is not None
    fewer = subgroups(
        predictions,
        metadata,
        malignant=("mel",),
        attributes=["source"],
        minimum=10,
        resampling=Resampling(50),
    )[0]
    assert fewer.levels[1].note == ""


def test_a_level_of_one_kind_has_no_metric(
    predictions: Predictions, metadata: pd.DataFrame
) -> None:
    table = metadata.assign(sex=["female" if int(i[1:]) % 2 else "male" for i in metadata.index])
    found = subgroups(
        predictions, table, malignant=("mel",), attributes=["sex"], resampling=Resampling(50)
    )[0]
    assert all(s.metric.value is None for s in found.levels)
    assert all("one kind" in s.metric.method for s in found.levels)


def test_calibration_sees_a_model_that_understates_the_risk(
    predictions: Predictions, metadata: pd.DataFrame
) -> None:
    p = predictions.y_prob.copy()
    p[:180, 1] *= 0.5
    p[:, 0] = 1 - p[:, 1]
    shy = Predictions(
        predictions.image_id, predictions.patient_id, predictions.lesion_id, predictions.classes,
        predictions.y_true, p,
    )  # fmt: skip
    found = subgroups(
        shy, metadata, malignant=("mel",), attributes=["sex"], resampling=Resampling(50)
    )[0]
    female, male = found.levels[:2]
    assert female.calibration.low is not None
    assert female.calibration.low > 0.1
    assert male.calibration.low is not None
    assert male.calibration.low < 0 < (male.calibration.high or 0)


def test_bands_sizes_and_rare_words(metadata: pd.DataFrame) -> None:
    ages = set(LEVELS["age"](metadata))
    assert ages == {"0-29", "30-44", "45-59", "60-74", "75 and over", "unknown"}
    assert set(LEVELS["image_size"](metadata)) == {"256-511 px", "2048 px and over"}
    sites = LEVELS["site"](metadata)
    assert len(set(sites)) == 13
    assert (sites == "other").any()
    assert set(LEVELS["skin_type"](metadata)) == {"unknown"}
    assert set(LEVELS["age"](metadata.drop(columns="age"))) == {"unknown"}


def test_levels_stand_in_reading_order(predictions: Predictions, metadata: pd.DataFrame) -> None:
    found = subgroups(
        predictions, metadata, malignant=("mel",), attributes=["age"], resampling=Resampling(20)
    )
    assert [s.level for s in found[0].levels] == [
        *("0-29", "30-44", "45-59", "60-74", "75 and over", "unknown")
    ]


def test_without_malignant_classes_the_mean_auc(
    predictions: Predictions, metadata: pd.DataFrame
) -> None:
    found = subgroups(
        predictions, metadata, malignant=(), attributes=["sex"], resampling=Resampling(50)
    )[0]
    assert found.metric == "roc_auc"
    assert found.levels[0].metric.value is not None
    assert found.levels[0].calibration.value is None


def test_refusals(predictions: Predictions, metadata: pd.DataFrame) -> None:
    with pytest.raises(BadInput, match="did you mean 'sex'"):
        subgroups(predictions, metadata, malignant=("mel",), attributes=["sexe"])
    with pytest.raises(BadInput, match="have no row of metadata, the first is 'i399'"):
        subgroups(predictions, metadata.drop(index="i399"), malignant=("mel",))
    twice = pd.concat([metadata, metadata.iloc[:1]])
    with pytest.raises(BadInput, match="two rows"):
        subgroups(predictions, twice, malignant=("mel",))
