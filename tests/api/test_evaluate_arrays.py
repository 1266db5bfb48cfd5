"""`lesionlab.evaluate` on arrays: the numbers and refusals of the command, in a typed result."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lesionlab
from lesionlab import files
from lesionlab.cli.main import run as run_cli
from lesionlab.errors import BadInput
from lesionlab.evaluation.from_arrays import predictions_from_arrays
from lesionlab.evaluation.metric_table import HeadlineMeasures
from lesionlab.evaluation.predictions import write_predictions
from lesionlab.reporting.array_evaluation import ArrayEvaluation

CLASSES = ("bcc", "mel", "nv")
FEW = 100  # resamples
N = 240


def draw(k: int, n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and groups of two cases each."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    z = rng.normal(0, 1, (n, k)) + 1.5 * np.eye(k)[y]
    prob = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return y, prob, np.array([f"g{seed}-{i // 2}" for i in range(n)])


Y, PROB, GROUPS = draw(3)
Y2, PROB2, _ = draw(2)
OTHER = dict(zip(("y_true", "y_prob", "groups"), draw(3, n=320, seed=1), strict=True))


def measured(**given: Any) -> ArrayEvaluation:
    options = {"y_true": Y, "y_prob": PROB, "classes": CLASSES, "groups": GROUPS, "resamples": FEW}
    return lesionlab.evaluate(**(options | given))  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def found() -> ArrayEvaluation:
    return measured(positive=("bcc", "mel"))


def written(folder: Path, name: str = "table", **given: Any) -> Path:
    """The same arrays as a predictions CSV."""
    given = {"y_true": Y, "y_prob": PROB, "classes": CLASSES, "groups": GROUPS} | given
    path = folder / f"{name}.csv"
    write_predictions(path, predictions_from_arrays(**given).predictions)
    return path


def by_command(path: Path, *words: str) -> dict[str, Any]:
    out = path.parent / "by-command"
    assert run_cli(["evaluate", str(path), "--out", str(out), "--resamples", str(FEW), *words]) == 0
    answer: dict[str, Any] = files.read_json(out / "metrics.json")
    return answer


def test_the_command_gives_the_same_numbers_for_the_same_data(
    tmp_path: Path, found: ArrayEvaluation
) -> None:
    theirs = by_command(written(tmp_path), "--malignant", "bcc,mel")
    ours = json.loads(json.dumps(found.to_json()))
    assert ours == theirs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "valid"}, ["--split", "valid"]),
        ({"split": "valid", "policy": "youden"}, ["--split", "valid", "--policy", "youden"]),
        ({"threshold": 0.3}, ["--threshold", "0.3"]),
        ({"split": "valid", "policy": "specificity", "target": 0.8, "prevalences": [0.03]},
         ["--split", "valid", "--policy", "specificity", "--target", "0.8",
          "--prevalence", "0.03"]),
        ({"unit": "patient", "seed": 3}, ["--unit", "patient", "--seed", "3"]),
        ({"ordered": True}, ["--ordered"]),
    ],
)  # fmt: skip
def test_options_mean_what_they_mean_on_the_command_line(
    tmp_path: Path, options: dict[str, Any], words: list[str]
) -> None:
    positive = ["bcc", "mel"]
    theirs = by_command(written(tmp_path), "--malignant", ",".join(positive), *words)
    ours = measured(positive=positive, **options).to_json()
    assert json.loads(json.dumps(ours)) == theirs


def test_other_arrays_calibrate_as_another_table_does(tmp_path: Path) -> None:
    path = written(tmp_path)
    calib = written(tmp_path, "calib", **OTHER, prefix="calib:")
    words = ["--calib", str(calib), "--calibration", "platt", "--sets", "aps", "--alpha", "0.2"]
    theirs = by_command(path, "--malignant", "mel", *words)
    ours = measured(positive="mel", calib=OTHER, calibration="platt", sets="aps", alpha=0.2)
    assert json.loads(json.dumps(ours.to_json())) == theirs
    assert theirs["conformal"]["coverage"]["value"] > 0.7
    assert theirs["operating_points"][0]["chosen"]["chosen_on"] == "calib"


def test_two_classes_from_one_column_are_those_of_two(tmp_path: Path) -> None:
    y, p = Y2 == 1, PROB2[:, 1]
    both = np.stack([1 - p, p], axis=1)
    one = measured(y_true=y, y_prob=p, classes=None)
    assert one.evaluation.positive == "True"
    expected = measured(y_true=Y2, y_prob=both, classes=None)
    assert one.metrics == expected.metrics
    tensor = torch.tensor(p, requires_grad=True)
    assert measured(y_true=torch.tensor(y), y_prob=tensor, classes=None).metrics == one.metrics
    text = by_command(written(tmp_path, y_true=Y2, y_prob=both, classes=["0", "1"]))
    assert text["metrics"] == one.to_json()["metrics"]


def test_every_metric_is_an_attribute_with_its_interval() -> None:
    two = measured(y_true=Y2, y_prob=PROB2, classes=("nv", "mel"))
    y, prob, _ = draw(4)
    grades = measured(y_true=y, y_prob=prob, classes=("g1", "g2", "g3", "g4"), ordered=True)
    assert set(HeadlineMeasures.__annotations__) == {*two.metrics, *grades.metrics}
    assert grades.quadratic_kappa is grades.metrics["quadratic_kappa"]
    assert "quadratic_kappa" not in two.metrics
    assert two.roc_auc is two.metrics["roc_auc"]
    auc = two.roc_auc
    assert auc.value is not None
    assert auc.low is not None
    assert auc.high is not None
    assert 0.5 < auc.low < auc.value < auc.high < 1
    assert auc.n == two.n == N
    assert two.groups == N // 2
    assert "120 groups" in auc.method
    assert {"roc_auc", "report", "n"} <= set(dir(two))


def test_it_shows_itself_and_escapes_what_it_shows() -> None:
    names = ("<b>x</b>", "mel", "nv")
    shown = measured(classes=names, positive="<b>x</b>", groups=None)
    html = shown._repr_html_()
    assert "roc_auc" in html
    assert "<b>x" not in html
    assert "no groups were given" in html
    assert "no groups were given" in repr(shown)
    assert "accuracy: 0." in repr(shown)


def test_the_report_is_that_of_the_command(tmp_path: Path, found: ArrayEvaluation) -> None:
    page = found.report(tmp_path / "new" / "page.html")
    html = page.read_text(encoding="utf-8")
    assert page == tmp_path / "new" / "page.html"
    path = written(tmp_path)
    by_command(path, "--malignant", "bcc,mel")
    theirs = (tmp_path / "by-command" / "report.html").read_text(encoding="utf-8")
    for section in ("headline", "confusion", "curves", "calibration"):
        assert f'id="{section}"' in html
        assert f'id="{section}"' in theirs
    assert files.read_json(page.with_suffix(".json"))["focus"] == "predictions"
    assert found.report(tmp_path).name == "report.html"
    assert 'lang="zh' in found.report(tmp_path / "zh.html", lang="zh").read_text("utf-8")


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured()
    assert list(tmp_path.iterdir()) == []


def test_a_prior_corrects_the_decision() -> None:
    by_name = measured(prior={"nv": 0.8, "mel": 0.15, "bcc": 0.05})
    by_place = measured(prior=[0.05, 0.15, 0.8])
    assert by_name.balanced_accuracy_prior_corrected.value is not None
    assert by_name.metrics == by_place.metrics


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"split": "test", "policy": "youden"}, "chosen on validation data, not on 'test'"),
        ({"policy": "youden"}, "chosen on validation"),
        ({"split": "tset"}, "no split 'tset'; did you mean 'test'"),
        ({"calibration": "platt"}, "must not be fitted"),
        ({"sets": "lac", "split": "valid"}, "cannot be evaluated on the data that calibrate them"),
        ({"calib": {"y_true": Y, "y_prob": PROB, "groups": GROUPS}}, "group(s) are in both"),
        ({"calib": {"y_true": Y}}, "calib: 'y_prob' is missing"),
        ({"calib": OTHER | {"y_porb": 1}}, "calib: no array 'y_porb'"),
        ({"calib": OTHER | {"y_true": Y[:3]}}, "calib: y_true has 3 cases"),
        ({"prior": [0.5, 0.5]}, "prior: 3 positive proportions"),
        ({"prior": {"mel": 1, "nv": 1}}, "prior: class 'bcc' has none"),
        ({"unit": "lesion"}, "no row has a lesion_id"),
        ({"resamples": 3}, "3 resamples are too few"),
        ({"positive": CLASSES}, "all classes are malignant"),
        ({"y_true": [None] * N}, "no case has a label"),
        ({"y_prob": None}, "y_prob is missing"),
        ({"source": "runs/a"}, "both a source and arrays"),
    ],
)  # fmt: skip
def test_refusals_are_those_of_the_command(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        measured(**({"positive": "mel"} | given))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_as_a_source_are_told_how() -> None:
    with pytest.raises(BadInput, match=r"evaluate\(y_true=\.\.\., y_prob=\.\.\.\)"):
        lesionlab.evaluate(Y)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="treshold"):
        measured(treshold=0.5)


def test_one_class_only_is_measured_as_far_as_it_goes() -> None:
    found = measured(y_true=np.ones(N, int), y_prob=PROB2[:, 1], classes=None)
    assert found.roc_auc.value is None
    assert found.accuracy.value is not None
    assert any("only one class occurs" in note for note in found.notes)


def test_decisions_in_place_of_probabilities_are_noticed(tmp_path: Path) -> None:
    decided = (PROB2[:, 1] > 0.5) * 1
    found = measured(y_true=Y2, y_prob=decided, classes=None)
    assert any("every probability is 0 or 1" in note for note in found.notes)
    path = written(tmp_path, y_true=Y2, y_prob=decided, classes=["0", "1"])
    assert any("every probability is 0 or 1" in note for note in by_command(path)["notes"])


def test_few_groups_get_no_interval() -> None:
    few = measured(groups=np.arange(N) % 4)
    assert few.roc_auc.value is not None
    assert few.roc_auc.low is None
    assert few.roc_auc.method.startswith("too few to say")


def test_help_shows_the_options_of_both() -> None:
    signature = inspect.signature(lesionlab.evaluate)
    assert {"source", "y_true", "y_prob", "groups", "truth", "out"} <= set(signature.parameters)
    assert "Parameters" in str(lesionlab.evaluate.__doc__)


def test_tables_of_pandas_go_straight_in() -> None:
    table = pd.DataFrame(PROB, columns=CLASSES).assign(dx=np.array(CLASSES)[Y], patient=GROUPS)
    found = lesionlab.evaluate(
        y_true=table["dx"], y_prob=table[["nv", "mel", "bcc"]], groups=table["patient"],
        resamples=FEW,
    )  # fmt: skip
    assert found.classes == ("nv", "mel", "bcc")
    assert found.accuracy == measured().accuracy


SAME = {"y_true": Y, "y_prob": PROB}


@pytest.mark.parametrize("options", [{}, {"sets": "lac"}, {"calibration": "platt"},
                                     {"policy": "youden"}])  # fmt: skip
def test_the_measured_rows_do_not_calibrate_themselves(options: dict[str, Any]) -> None:
    turned = np.random.default_rng(0).permutation(N)
    renamed = SAME | {"image_ids": [f"x{i}" for i in range(N)], "groups": np.arange(N) + 5000}
    fewer = {k: v[:90] for k, v in SAME.items()}
    for calib in (SAME, {k: v[turned] for k, v in SAME.items()}, renamed, fewer):
        with pytest.raises(BadInput, match="calib: it holds the rows that are measured"):
            measured(groups=None, positive="mel", calib=calib, **options)


def test_some_measured_rows_among_those_that_calibrate_are_said() -> None:
    def mixed(copies: int) -> dict[str, np.ndarray]:
        return {k: np.concatenate([SAME[k][:copies], OTHER[k][copies:]]) for k in SAME}

    found = measured(groups=None, positive="mel", calib=mixed(60), sets="lac")
    said = f"60 of {N} measured rows occur in the data that calibrate too"
    assert any(said in note for note in found.notes)
    assert any(said in note for note in found.content.notes)  # thus on the page
    other = measured(groups=None, positive="mel", calib=mixed(0))
    assert not any("occur in the data that calibrate" in note for note in other.notes)


def test_a_renamed_table_does_not_calibrate_itself(tmp_path: Path) -> None:
    path = written(tmp_path, groups=None)
    other = written(tmp_path, "other", groups=None, prefix="again")
    with pytest.raises(BadInput, match="it holds the rows that are measured"):
        lesionlab.evaluate(path, calib=other, out=tmp_path / "e", resamples=FEW)


def test_how_calib_was_read_is_said() -> None:
    other = OTHER | {
        "groups": np.where(np.arange(len(OTHER["groups"])) < 10, "nan", OTHER["groups"])
    }
    notes = measured(positive="mel", calib=other).notes
    assert "calib: patient_id 'nan' in 10 rows is read as not known" in notes
