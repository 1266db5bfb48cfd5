"""The two arms of the leakage experiment: trained on the right parts, compared seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lesionlab import files
from lesionlab.array_types import Labels
from lesionlab.data.groups import crossing, united_groups
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.experiments.inflation import compared_arms, metrics_of, sentence, trained_arms

LEAKY, CLEAN = (0.90, 0.88, 0.93), (0.80, 0.81, 0.79)


def row(seed: int, leaky: float, clean: float, name: str = "accuracy") -> dict[str, Any]:
    return {"seed": seed, "tested": 20, "with_siblings": 5 * seed, "training_images": 80,
            "leaky": {name: leaky}, "clean": {name: clean}}  # fmt: skip


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [row(i, a, b) for i, (a, b) in enumerate(zip(LEAKY, CLEAN, strict=True))]


@pytest.fixture(scope="module")
def dataset(lesions: Path) -> Dataset:
    return read_dataset(lesions)


@pytest.fixture(scope="module")
def groups(dataset: Dataset) -> Labels:
    """Of the rows that are not sealed."""
    return united_groups(dataset.table[dataset.table["split"] != "test"].reset_index(drop=True))


def test_the_difference_is_leaky_minus_clean_by_the_corrected_t(rows: list[Any]) -> None:
    found = compared_arms(rows)["accuracy"]
    d = np.subtract(LEAKY, CLEAN)
    half = stats.t.ppf(0.975, 2) * d.std(ddof=1) * math.sqrt(1 / 3 + 20 / 80)
    assert found["leaky"] == pytest.approx(np.mean(LEAKY))
    assert found["clean"] == pytest.approx(np.mean(CLEAN))
    told = found["difference"]
    assert told["value"] == pytest.approx(d.mean())
    assert (told["low"], told["high"]) == pytest.approx((d.mean() - half, d.mean() + half))
    assert told["n"] == 3
    turned = compared_arms(rows[::-1])["accuracy"]["difference"]
    assert turned["value"] == pytest.approx(told["value"])


def test_the_sentence_counts_siblings_over_all_seeds(rows: list[Any]) -> None:
    said = sentence(rows, compared_arms(rows))
    assert "the groups of 25% of the test images" in said  # (0 + 5 + 10) of 60
    assert "accuracy differs by +0.103 (-0.012 to +0.219, 3 seeds)" in said
    assert "3 seeds" in said


def test_the_sentence_is_of_the_prior_corrected_metric_where_there_is_one() -> None:
    metric = {"difference": {"value": -0.02, "low": -0.1, "high": 0.06, "n": 2}}
    names = ("accuracy", "balanced_accuracy", "balanced_accuracy_prior_corrected")
    for n in (1, 2, 3):
        said = sentence([row(1, 0, 0)], dict.fromkeys(names[:n], metric))
        assert f"{names[n - 1]} differs by -0.020 (-0.100 to +0.060" in said
        assert "not distinguishable" in said


def test_the_sentence_says_higher_only_where_the_interval_does() -> None:
    def said(low: float | None, high: float | None) -> str:
        told = {"value": 0.05, "low": low, "high": high, "n": 2, "method": "the runs do not vary"}
        return sentence([row(1, 0, 0)], {"accuracy": {"difference": told}})

    assert "0.080, 2 seeds) higher than" in said(0.02, 0.08)
    assert "lower than" in said(-0.08, -0.02)
    assert "higher" not in said(-0.02, 0.08)
    assert "higher" not in said(None, None)
    assert "do not vary" in said(None, None)


def test_the_metrics_that_are_compared() -> None:
    evaluation = {
        "metrics": {"roc_auc": {"value": 0.9}, "accuracy": {"value": None}, "nll": {"value": 1}},
        "malignant": ["mel", "bcc", "scc"],
        "per_class": {
            "mel": {"sensitivity": {"value": 0.0}},  # zero is a value
            "bcc": {"sensitivity": {"value": None}},
            "nv": {"sensitivity": {"value": 0.7}},
        },
    }
    assert metrics_of(evaluation) == {"roc_auc": 0.9, "sensitivity_mel": 0.0}
    assert metrics_of({"metrics": {}}) == {}


def test_both_arms_are_tested_on_the_same_images_and_only_one_has_their_siblings(
    dataset: Dataset, groups: Labels, tmp_path: Path
) -> None:
    seen: dict[bool, Any] = {}

    def fit(data: Path, run: Path, seed: int) -> Mapping[str, float]:
        twin = read_dataset(data)
        seen[twin.info.leaky] = twin.table.set_index("image_id")
        assert bool(twin.info.leak_reason) == twin.info.leaky
        return {"accuracy": 0.5}

    told = trained_arms(dataset, groups, 3, (0.2, 0.2), tmp_path, fit)
    leaky, clean = seen[True], seen[False]
    for part in ("test", "valid"):
        assert (leaky["split"] == part).equals(clean["split"] == part)
    counts = [
        t.loc[t["split"] == "train", "label"].value_counts().to_dict() for t in (leaky, clean)
    ]
    assert counts[0] == counts[1]
    sealed = dataset.table.loc[dataset.table["split"] == "test", "image_id"]
    assert set(leaky.loc[sealed, "split"]) == set(clean.loc[sealed, "split"]) == {""}
    ids = dataset.table.loc[dataset.table["split"] != "test", "image_id"]
    assert not crossing(groups, clean.loc[ids, "split"].to_numpy(object))
    assert crossing(groups, leaky.loc[ids, "split"].to_numpy(object))
    assert told["tested"] == (clean["split"] == "test").sum()
    assert told["training_images"] == (clean["split"] == "train").sum()
    assert 0 < told["with_siblings"] <= told["tested"]


def test_an_arm_that_is_finished_is_read_and_not_trained(
    dataset: Dataset, groups: Labels, tmp_path: Path
) -> None:
    asked: list[str] = []

    def fit(data: Path, run: Path, seed: int) -> Mapping[str, float]:
        asked.append(data.name)
        return {"accuracy": np.float32(0.5)}

    files.write_json(tmp_path / "seed1-leaky.json", {"accuracy": 0.75})
    (tmp_path / "seed1-clean-run").mkdir()  # begun, without a configuration: begun anew
    (tmp_path / "seed1-clean-run" / "half").touch()
    told = trained_arms(dataset, groups, 1, (0.2, 0.2), tmp_path, fit)
    assert asked == ["seed1-clean-data"]
    assert told["leaky"] == {"accuracy": 0.75}
    assert files.read_json(tmp_path / "seed1-clean.json") == {"accuracy": 0.5}
    assert not (tmp_path / "seed1-clean-run" / "half").exists()
