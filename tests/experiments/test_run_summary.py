"""Repeated runs in one table: means, spread, the corrected interval, and paired differences."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lesionlab.errors import BadInput
from lesionlab.experiments.run_summary import (
    METHOD,
    NO_INTERVAL,
    differences,
    markdown,
    ratio,
    spread,
    table_csv,
)

AUC = (0.80, 0.84, 0.79, 0.85)


def measure(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "n": 20}


def run(name: str, **parts: dict[str, float | None]) -> dict[str, Any]:
    """A finished run of 20 held-out and 80 training images."""
    measured = {p: {k: measure(v) for k, v in found.items()} for p, found in parts.items()}
    return {"name": name, "fold": name[-1], "seed": 0, "n": dict.fromkeys(parts, 20),
            "n_train": 80, "seconds": 2.0, "parts": measured}  # fmt: skip


def runs(values: tuple[float | None, ...], metric: str = "roc_auc") -> list[dict[str, Any]]:
    return [run(f"fold{i}", fold={metric: v}) for i, v in enumerate(values)]


def test_the_interval_is_that_of_nadeau_and_bengio() -> None:
    found = spread(runs(AUC))["fold"]["roc_auc"]
    sd = np.std(AUC, ddof=1)
    half = stats.t.ppf(0.975, 3) * sd * math.sqrt(1 / 4 + 20 / 80)
    assert found["mean"] == pytest.approx(0.82)
    assert found["sd"] == pytest.approx(sd)
    assert (found["low"], found["high"]) == pytest.approx((0.82 - half, 0.82 + half))
    naive = stats.t.interval(0.95, 3, 0.82, sd / 2)
    assert found["low"] < naive[0] < naive[1] < found["high"]  # training parts overlap
    assert found["method"] == METHOD
    assert found["runs"] == dict(zip(["fold0", "fold1", "fold2", "fold3"], AUC, strict=True))


def test_the_order_of_the_runs_does_not_matter() -> None:
    there, back = spread(runs(AUC))["fold"], spread(runs(AUC)[::-1])["fold"]
    for key in ("mean", "sd", "low", "high", "n"):
        assert there["roc_auc"][key] == pytest.approx(back["roc_auc"][key])


@pytest.mark.parametrize("values", [(0.8,), (0.8, 0.8, 0.8), (0.1 + 0.2, 0.3)])
def test_no_interval_of_one_run_or_without_variation(values: tuple[float, ...]) -> None:
    found = spread(runs(values))["fold"]["roc_auc"]
    assert found["low"] is found["high"] is None
    assert found["method"] == NO_INTERVAL
    assert (found["sd"] is None) == (len(values) == 1)


def test_an_interval_stays_on_the_metrics_scale() -> None:
    wide = spread(runs((0.6, 1.0)))["fold"]["roc_auc"]
    assert (wide["low"], wide["high"]) == (0.0, 1.0)
    loss = spread(runs((0.5, 2.5), "nll"))["fold"]["nll"]
    assert loss["low"] == 0
    assert loss["high"] > 2.5  # a loss has no upper end


def test_parts_that_the_runs_share_get_no_interval() -> None:
    both = [run(f"fold{i}", fold={"roc_auc": v}, valid={"roc_auc": v}) for i, v in enumerate(AUC)]
    found = spread(both)
    assert list(found) == ["fold", "valid"]
    assert found["fold"]["roc_auc"]["low"] is not None
    assert found["valid"]["roc_auc"]["low"] is None
    assert found["valid"]["roc_auc"]["sd"] == found["fold"]["roc_auc"]["sd"]


def test_a_metric_that_some_run_lacks_is_left_out() -> None:
    results = [run("fold0", fold={"roc_auc": 0.8, "nll": 0.4}), run("fold1", fold={"nll": 0.5})]
    assert list(spread(results)["fold"]) == ["nll"]
    assert spread(runs((0.8, None)))["fold"] == {}
    assert spread([]) == {}


def test_the_ratio_is_the_mean_over_the_runs() -> None:
    small, large = run("fold0", fold={}), run("fold1", fold={})
    large["n"]["fold"], large["n_train"] = 60, 100
    assert ratio([small, large], "fold") == pytest.approx((0.25 + 0.6) / 2)


def test_a_difference_is_paired_by_name_whatever_the_order() -> None:
    other = (0.75, 0.80, 0.76, 0.80)
    found = differences(runs(AUC), runs(other)[::-1])["roc_auc"]
    d = np.subtract(AUC, other)
    error = d.std(ddof=1) * math.sqrt(1 / 4 + 20 / 80)
    half = stats.t.ppf(0.975, 3) * error
    assert found["value"] == pytest.approx(d.mean())
    assert (found["low"], found["high"]) == pytest.approx((d.mean() - half, d.mean() + half))
    assert found["p_value"] == pytest.approx(2 * stats.t.sf(d.mean() / error, 3))
    back = differences(runs(other), runs(AUC))["roc_auc"]
    assert (back["value"], back["low"], back["high"]) == pytest.approx(
        (-found["value"], -found["high"], -found["low"])
    )
    assert back["p_value"] == pytest.approx(found["p_value"])


def test_a_difference_has_the_overlap_of_the_larger_held_out_part() -> None:
    first, second = runs(AUC), runs((0.75, 0.80, 0.76, 0.80))
    plain = differences(first, second)["roc_auc"]
    for one in second:
        one["n"]["fold"] = 40
    wider = differences(first, second)["roc_auc"]
    assert wider["high"] - wider["low"] == pytest.approx(
        (plain["high"] - plain["low"]) * math.sqrt((1 / 4 + 0.5) / (1 / 4 + 0.25))
    )


def test_runs_that_cannot_be_paired_give_no_difference() -> None:
    assert differences(runs(AUC), runs(AUC[:3])) == {}
    assert differences(runs(AUC[:1]), runs(AUC[1:2])) == {}
    assert differences(runs(AUC), runs(AUC)) == {}  # equal: no spread to judge by
    assert differences(runs(AUC), runs((0.7, None, 0.7, 0.8))) == {}
    assert differences(runs(AUC), runs(AUC, "nll")) == {}


def test_the_csv_has_a_line_for_each_value_and_an_empty_cell_for_none() -> None:
    results = [run("fold0", fold={"roc_auc": 0.8, "nll": None}), run("fold1", valid={"nll": 0.5})]
    rows = list(csv.DictReader(io.StringIO(table_csv(results, leaky=True))))
    cells = [(r["run"], r["part"], r["metric"], r["value"], r["low"], r["n"]) for r in rows]
    assert cells == [
        ("fold0", "fold", "roc_auc", "0.8", "", "20"),
        ("fold0", "fold", "nll", "", "", "20"),
        ("fold1", "valid", "nll", "0.5", "", "20"),
    ]
    assert {r["leaky"] for r in rows} == {"true"}
    assert "true" not in table_csv(results)


def test_the_table_for_people_is_rectangular_and_names_restarts() -> None:
    results = [
        run(f"fold{i}", fold={"roc_auc": v, "brier": 0.1}, train={"accuracy": 1.0})
        for i, v in enumerate(AUC)
    ]
    results[2]["begun_again"] = "crashed once"
    text = markdown("tiny", results, spread(results))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {4}
    assert table[0] == "| run | roc_auc | seconds |"  # metrics that are shown, not all
    assert table[2] == "| fold0 | 0.800 | 2 |"
    assert table[-2] == "| **fold: mean (SD)** | 0.820 (0.029) | |"
    assert table[-1] == "| **train: mean (SD)** |  | |"
    assert "Restarted: fold2 (crashed once)." in text
    assert "Restarted" not in markdown("tiny", results[:2], spread(results[:2]))


def test_a_run_without_a_finite_value_is_named() -> None:
    with pytest.raises(BadInput, match="run 'fold1' has no finite value"):
        spread(runs((0.8, float("nan"))))
