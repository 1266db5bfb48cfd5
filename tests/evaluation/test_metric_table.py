from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lesionlab.array_types import Floats
from lesionlab.cli.evaluate import command as evaluate
from lesionlab.evaluation import confusion
from lesionlab.evaluation.cases import Cases
from lesionlab.evaluation.headline import INTERVALS, headline
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.metric_table import (
    METRICS,
    RANKING_METRICS,
    HeadlineMeasures,
    Metric,
    bounds_of,
    highlighted,
)
from lesionlab.evaluation.predictions import Predictions, write_predictions
from lesionlab.reporting.language import LANGUAGES, language


def geometric_mean(counts: Floats, present: confusion.Mask) -> Floats:
    """Of the sensitivities: a metric that the table does not have."""
    product = confusion.sensitivity(counts)[..., present].prod(-1)
    return np.asarray(product ** (1 / present.sum()))


def table(path: Path, n: int = 150) -> Path:
    generator = np.random.default_rng(0)
    y_true = np.arange(n) % 3
    z = generator.normal(size=(n, 3)) + 2 * np.eye(3)[y_true]
    y_prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    image_id = np.array([f"i{i}" for i in range(n)], dtype=object)
    none = np.full(n, "", dtype=object)
    data = Predictions(image_id, none, none, ("nv", "mel", "bkl"), y_true, y_prob)
    write_predictions(path, data)
    return path


def test_a_row_of_the_table_comes_out_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One function, one row, one string in each language: the whole of adding a metric."""
    row = Metric("geometric_mean", "logit t", counts=geometric_mean, minimum=20, position=7)
    monkeypatch.setitem(METRICS, row.name, row)
    words = {"en": "Geometric mean of the sensitivities", "zh": "灵敏度的几何平均"}
    for code, text in words.items():
        monkeypatch.setitem(language(code).strings, "metric.geometric_mean", text)  # type: ignore[arg-type]
    source = table(tmp_path / "some.csv")
    for code, text in words.items():
        command = [str(source), "--resamples", "100", "--out", str(tmp_path / code)]
        result = CliRunner().invoke(evaluate, [*command, "--lang", code])
        assert result.exit_code == 0, result.output
        assert "geometric_mean" in result.output
        page = (tmp_path / code / "report.html").read_text(encoding="utf-8")
        assert page.count(text) >= 2, "in the chart and in the table"
    found = json.loads((tmp_path / "en" / "metrics.json").read_text(encoding="utf-8"))
    measure = found["metrics"]["geometric_mean"]
    counts = np.array(found["confusion"]["counts"])
    expected = (counts.diagonal() / counts.sum(1)).prod() ** (1 / 3)
    assert measure["value"] == pytest.approx(expected)
    assert measure["low"] < measure["value"] < measure["high"]
    assert measure["method"] == "logit t, 100 resamples, 150 groups"


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_metric_has_words_in_every_language(code: str) -> None:
    words = language(code).strings
    shown = {*METRICS, *RANKING_METRICS}
    assert not [name for name in shown if f"metric.{name}" not in words]
    watched = [m.name for m in METRICS.values() if m.watched is not None]
    assert not [name for name in watched if f"history.valid_{name}" not in words]


def test_every_row_has_what_its_family_needs() -> None:
    needs = {
        "proportion": "per_case", "log t": "per_case", "logit t": "counts", "none": "single",
        "MOVER over sensitivities": "counts", "MOVER over F1": "counts",
    }  # fmt: skip
    for name, row in METRICS.items():
        assert name == row.name
        assert row.family in INTERVALS
        if row.family in needs:
            assert getattr(row, needs[row.family]) is not None, name
        assert row.family == "none" or row.minimum >= 5, name
    assert all(row.minimum >= 5 for row in RANKING_METRICS.values())


def cases(k: int, ordered: bool = False) -> Cases:
    y = np.arange(8 * k) % k
    prob = (np.eye(k)[y] + 0.5) / (1 + 0.5 * k)
    names = tuple(f"c{i}" for i in range(k))
    return Cases(names, y, prob, y, None, np.arange(8 * k), 8 * k, {}, frozenset(), ordered)


def test_no_row_of_a_table_is_another_row_again() -> None:
    several = {"hand_till_auc", "top_2_accuracy", "top_3_accuracy", "quadratic_kappa"}

    def left_out(c: Cases) -> set[str]:
        return {name for name, row in METRICS.items() if not row.applies(c)}

    assert left_out(cases(2, ordered=True)) == several
    assert left_out(cases(3)) == several - {"hand_till_auc"}
    assert left_out(cases(4)) == {"quadratic_kappa"}, "classes are no grades unless one says so"
    assert left_out(cases(4, ordered=True)) == set()
    m = measure_cases(cases(2), resamples=20, seed=0, bands=False)
    assert not several & {*headline(m, None), *m.undefined, *m.replicates}


def test_attributes_name_every_metric() -> None:
    assert set(HeadlineMeasures.__annotations__) == {*METRICS, *RANKING_METRICS}


def test_the_highlighted_metrics_have_an_order() -> None:
    assert highlighted()[0] == "balanced_accuracy_prior_corrected"
    assert len({METRICS[name].position for name in highlighted()}) == len(highlighted())


def test_bounds() -> None:
    assert bounds_of("mcc") == (-1.0, 1.0)
    assert bounds_of("partial_auc_80") == (0.0, 0.2)
    assert bounds_of("nll") == (0.0, float("inf"))
    assert bounds_of("sensitivity") == (0.0, 1.0)
