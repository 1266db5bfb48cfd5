"""To 1e-12 of the official programs, on the tables that scripts/record_official_scores.py made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation import metrics
from lesionlab.evaluation.challenge import medmnist
from lesionlab.evaluation.challenge.scorers import Score, judge

FIXTURE = json.loads((Path(__file__).parent / "official.json").read_text(encoding="utf-8"))
PACKAGE = {case["name"]: case for case in FIXTURE["package"]}
SCORED = [n for n, c in PACKAGE.items() if "score" in c and n != "isic2018-unsorted-weights"]
REFUSED = [n for n, c in PACKAGE.items() if "refusal" in c]
STOPPED = [n for n, c in PACKAGE.items() if "traceback" in c]
EXACT = {"rel": 0, "abs": 1e-12}


def scored(case: dict[str, Any], folder: Path) -> Score:
    truth, prediction = folder / "truth.csv", folder / "prediction.csv"
    truth.write_text(case["truth"], encoding="utf-8")
    prediction.write_text(case["prediction"], encoding="utf-8")
    return judge(case["challenge"], truth, prediction).score


def test_the_fixture_holds_what_it_should() -> None:
    kinds = {name.split("-", 1)[1] for name in SCORED}
    assert {"random", "tied", "weighted", "zero-weights", "perfect", "constant"} <= kinds
    assert {n.split("-")[0] for n in SCORED} == {
        *("isic2016", "isic2017", "isic2018", "isic2019", "isic2020")
    }
    assert len(REFUSED) >= 15
    assert len(FIXTURE["isic2024"]) >= 5


@pytest.mark.parametrize("name", SCORED)
def test_every_number_is_the_official_one(name: str, tmp_path: Path) -> None:
    case = PACKAGE[name]
    ours, official = scored(case, tmp_path), case["score"]
    assert ours.value == pytest.approx(official["overall"], **EXACT)
    assert ours.validation == pytest.approx(official["validation"], nan_ok=True, **EXACT)
    for metric, row in official["per_category"].items():
        for category, value in row.items():
            found = ours.per_class[category][metric]
            assert found == pytest.approx(value, nan_ok=True, **EXACT), (metric, category)
    for metric, value in official["macro_average"].items():
        assert ours.macro[metric] == pytest.approx(value, nan_ok=True, **EXACT), metric


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_official_package_refuses_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refusal:
        scored(PACKAGE[name], tmp_path)
    assert "prediction.csv" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_where_the_official_program_stops_we_answer_and_say_why(tmp_path: Path) -> None:
    assert STOPPED == ["stops-class-absent"]
    score = scored(PACKAGE[STOPPED[0]], tmp_path)
    assert any("VASC" in note for note in score.notes)
    assert np.isnan(score.per_class["VASC"]["auc"])
    assert 0 <= score.value <= 1


def test_weights_follow_their_image_even_where_the_official_package_misplaces_them(
    tmp_path: Path,
) -> None:
    in_order, reverse = PACKAGE["isic2018-sorted-weights"], PACKAGE["isic2018-unsorted-weights"]
    assert reverse["score"]["overall"] != pytest.approx(in_order["score"]["overall"], abs=1e-6)
    ours = scored(reverse, tmp_path)
    assert ours.value == pytest.approx(in_order["score"]["overall"], **EXACT)
    assert any("not sorted" in note for note in ours.notes)


@pytest.mark.parametrize("case", FIXTURE["medmnist"], ids=lambda c: c["name"])
def test_medmnist(case: dict[str, Any], tmp_path: Path) -> None:
    labels = tmp_path / "truth.npz"
    np.savez(labels, test_labels=np.array(case["truth"]))
    result = tmp_path / "setmnist_test_result.csv"
    rows = [",".join(map(repr, [i, *row])) for i, row in enumerate(case["score"])]
    result.write_text("\n".join(reversed(rows)) + "\n", encoding="utf-8")
    score = judge("medmnist", labels, result).score
    assert score.value == pytest.approx(case["auc"], **EXACT)
    assert score.parts["accuracy"] == pytest.approx(case["accuracy"], **EXACT)
    assert medmnist.read_medmnist(labels, result).task in case["task"]


@pytest.mark.parametrize("case", FIXTURE["isic2024"], ids=lambda c: c["name"])
def test_isic2024(case: dict[str, Any], tmp_path: Path) -> None:
    found = metrics.partial_auc(np.array(case["truth"]), np.array(case["score"]), 0.8)
    assert found == pytest.approx(case["partial_auc"], **EXACT)
    truth, prediction = tmp_path / "truth.csv", tmp_path / "sub.csv"
    pairs = list(enumerate(zip(case["truth"], case["score"], strict=True)))
    truth.write_text(
        "isic_id,malignant\n" + "".join(f"ISIC_{i},{t}\n" for i, (t, _) in pairs), encoding="utf-8"
    )
    prediction.write_text(
        "isic_id,target\n" + "".join(f"ISIC_{i},{s!r}\n" for i, (_, s) in reversed(pairs)),
        encoding="utf-8",
    )
    score = judge("isic2024", truth, prediction).score
    assert score.value == pytest.approx(case["partial_auc"], **EXACT)
    assert 0 <= score.value <= 0.2
