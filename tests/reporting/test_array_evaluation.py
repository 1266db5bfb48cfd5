"""What `evaluate` on arrays returns: attributes, tables, text, page."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.array_evaluation import COLUMNS, ArrayEvaluation
from lesionlab.reporting.content import ReportContent

Drawn = Callable[..., Predictions]


@pytest.fixture(scope="module")
def found(drawn: Drawn, content: ReportContent) -> ArrayEvaluation:
    predictions = drawn(("mel", "bcc", "nv"), seed=1)
    evaluation = evaluate_predictions(
        predictions, malignant=("mel", "bcc"), resampling=Resampling(40)
    )
    return ArrayEvaluation(evaluation, {"alpha": 0.1}, ("beware",), content)


def with_metrics(found: ArrayEvaluation, **metrics: Measure) -> ArrayEvaluation:
    return dataclasses.replace(
        found, evaluation=dataclasses.replace(found.evaluation, metrics=metrics)
    )


def test_it_passes_on_what_was_measured(found: ArrayEvaluation) -> None:
    e = found.evaluation
    assert (found.n, found.groups, found.resampled) == (180, 120, "lesion")
    assert found.classes == ("mel", "bcc", "nv")
    assert found.roc_auc is found.metrics["roc_auc"] is e.metrics["roc_auc"]
    assert found.per_class is e.per_class
    assert found.malignant_v_benign is e.malignant_v_benign
    assert found.operating_points == []
    assert {"roc_auc", "report", "n", "conformal"} <= set(dir(found))
    assert "partial_auc_80" not in dir(found)  # of two classes only


def test_an_unknown_attribute_names_the_nearest(found: ArrayEvaluation) -> None:
    with pytest.raises(AttributeError, match="no metric 'roc_acu'; did you mean 'roc_auc'"):
        found.roc_acu  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'to_frame'"):
        found.to_fram  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"given for two classes only.*`malignant_v_benign`"):
        found.partial_auc_80  # noqa: B018
    assert not hasattr(found, "_repr_png_")


def test_it_can_be_copied_and_kept_and_not_changed(found: ArrayEvaluation) -> None:
    plain = dataclasses.replace(found, content=None)  # type: ignore[arg-type]
    for other in (copy.copy(found), copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        assert other.roc_auc == found.roc_auc
        assert other.notes == ("beware",)
    with pytest.raises(AttributeError):
        found.notes = ()  # type: ignore[misc]


def test_a_frame_holds_a_row_a_metric(found: ArrayEvaluation) -> None:
    frame = found.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert list(frame.index) == list(found.metrics)
    assert frame.index.name == "metric"
    assert frame.loc["accuracy", "low"] == found.accuracy.low
    assert frame.loc["accuracy", "method"] == found.accuracy.method
    assert np.isnan(frame.loc["balanced_accuracy_prior_corrected", "value"])


def test_a_frame_of_classes_holds_a_row_a_class_and_metric(found: ArrayEvaluation) -> None:
    frame = found.to_frame(per_class=True)
    assert frame.index.names == ["class", "metric"]
    assert len(frame) == 3 * len(found.per_class["mel"])
    for name in ("mel", "bcc", "nv"):
        expected = found.per_class[name]["sensitivity"]
        assert frame.loc[(name, "sensitivity"), "value"] == expected.value
        assert frame.loc[(name, "sensitivity"), "n"] == expected.n


def test_a_frame_without_any_number_holds_floats(found: ArrayEvaluation) -> None:
    nothing = with_metrics(found, roc_auc=Measure(None, None, None, 3, "undefined"))
    frame = nothing.to_frame()
    assert frame.dtypes[["value", "low", "high"]].eq(float).all()
    assert frame["value"].isna().all()
    assert frame["n"].tolist() == [3]


def test_the_json_is_that_of_the_evaluation_and_the_sets(found: ArrayEvaluation) -> None:
    told = found.to_json()
    json.dumps(told, allow_nan=False)
    assert told == {**found.evaluation.to_json(), "conformal": {"alpha": 0.1}}


def test_the_text_says_each_metric_its_interval_or_why_it_has_none(found: ArrayEvaluation) -> None:
    shown = with_metrics(
        found,
        accuracy=Measure(0.8125, 0.75, 0.86, 9, "Wilson"),
        roc_auc=Measure(0.9, None, None, 9, "too few to say: 3 groups, 5 needed"),
        mcc=Measure(None, None, None, 9, "undefined"),
    )
    assert repr(shown).splitlines() == [
        "ArrayEvaluation of 180 cases, 120 groups (lesion), 3 classes; 95 % confidence intervals",
        "  accuracy: 0.812 (0.750 to 0.860)",
        "  roc_auc: 0.900 (too few to say: 3 groups, 5 needed)",
        "  mcc: undefined",
        "  note: beware",
    ]


def test_a_notebook_sees_the_measures_and_no_markup_of_others(found: ArrayEvaluation) -> None:
    html = dataclasses.replace(found, notes=("<script>x</script>",))._repr_html_()
    assert "<td>n</td><td colspan=2>180</td>" in html
    assert "<td>accuracy</td>" in html
    assert "<svg" in html
    assert "<script>" not in html
    assert "&lt;script&gt;x" in html


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("page.html", "page.html"),
        ("new/deep/page.HTM", "new/deep/page.HTM"),
        (".", "report.html"),
        ("folder", "folder/report.html"),
        ("with.dot", "with.dot/report.html"),  # a folder that is there, whatever its name
    ],
)
def test_where_the_page_is_written(
    given: str, written: str, tmp_path: Path, found: ArrayEvaluation
) -> None:
    (tmp_path / "with.dot").mkdir()
    page = found.report(str(tmp_path / given))
    assert page == tmp_path / written
    assert 'lang="en"' in page.read_text("utf-8")
    assert files.read_json(page.with_suffix(".json"))["title"] == found.content.title


def test_the_page_in_chinese(tmp_path: Path, found: ArrayEvaluation) -> None:
    assert 'lang="zh' in found.report(tmp_path / "a.html", lang="zh").read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "lang", "words"),
    [
        (
            "a.pdf",
            "en",
            r"a\.pdf: a report is a page of HTML, not '\.pdf'; name it a\.html; a brow",
        ),
        ("", "en", "report: a str is no place for a report"),
        (3, "en", "report: a int is no place for a report; give a file such as 'report.html'"),
        (None, "en", "a NoneType is no place"),
        ("a\0.html", "en", "a str is no place for a report"),
        ("new/a.html", "fr", "fr"),
        ("new/a.html", None, "lang: it is no text; give 'en' or 'zh'"),
    ],
)
def test_a_page_that_cannot_be(
    path: Any, lang: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    found: ArrayEvaluation,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=words):
        found.report(path, lang)
    assert list(tmp_path.iterdir()) == []  # no folder is left behind


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, found: ArrayEvaluation) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(BadInput, match=r"a\.html: cannot be written \((Not a|File exists).*choose"):
        found.report(tmp_path / "file" / "a.html")
    if sys.platform != "win32":
        with pytest.raises(BadInput, match="cannot be written"):
            found.report(tmp_path / ("n" * 300 + ".html"))
