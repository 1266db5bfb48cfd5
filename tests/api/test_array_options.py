"""Every wrong value of every argument of `lesionlab.evaluate(y_true=...)` is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lesionlab
from lesionlab.api.array_options import CHECKS
from lesionlab.api.evaluate_arrays import evaluate_arrays
from lesionlab.errors import BadInput
from lesionlab.reporting.array_evaluation import ArrayEvaluation

N = 120
CLASSES = ("bcc", "mel", "nv")
Y = np.random.default_rng(0).integers(0, 3, N)
PROB = np.random.default_rng(1).dirichlet(np.ones(3), N)
GROUPS = np.arange(N) // 2
CALIB = {
    "y_true": Y,
    "y_prob": np.random.default_rng(2).dirichlet(np.ones(3), N),
    "groups": GROUPS + N,
}
KINDS: dict[str, Any] = {
    "None": None,
    "float": 0.5,
    "nan": float("nan"),
    "text": "nonsense",
    "bytes": b"mel",
    "boolean": True,
    "dict": {"a": 1},
    "set": {"mel"},
    "square": np.zeros((2, 2)),
    "cube": np.zeros((2, 2, 2)),
    "no dimension": np.array(0.5),
    "empty": np.array([]),
    "empty list": [],
    "objects": np.array([None, {}, []], dtype=object),
    "lists": [["a"], [1, 2]],
    "NA": pd.NA,
    "masked": np.ma.masked_array(np.zeros(N), mask=np.arange(N) < 3),
    "one masked": np.ma.masked,
    "frame": pd.DataFrame({"x": [1.0, 2.0]}),
    "column of NA": pd.Series([pd.NA, 1]),
    "tensor": torch.zeros((2, 2, 2)),
    "object": object(),
    "function": len,
    "type": float,
}
# What is meant, thus not refused: the default, a class by its number, a name, a flag, ...
FINE = {
    *((name, "None") for name in (
        "classes", "groups", "positive", "image_ids", "prior", "split", "policy", "target",
        "threshold", "calib", "calibration", "sets",
    )),
    ("target", "float"), ("threshold", "float"), ("alpha", "float"),
    ("title", "text"), ("ordered", "boolean"),
    ("prevalences", "empty"), ("prevalences", "empty list"),
    ("positive", "empty list"), ("positive", "set"),
}  # fmt: skip


def measured(**given: Any) -> ArrayEvaluation:
    options = {
        "y_true": Y, "y_prob": PROB, "classes": CLASSES, "groups": GROUPS, "positive": "mel",
        "resamples": 20,
    }  # fmt: skip
    return lesionlab.evaluate(**(options | given))  # type: ignore[call-overload, no-any-return]


def refused(**given: Any) -> str:
    with pytest.raises(BadInput) as caught:
        measured(**given)
    line = str(caught.value)
    assert "\n" not in line
    assert "--" not in line  # a caller in Python reads the words of Python
    assert "Traceback" not in line
    return line


ARGUMENTS = (*evaluate_arrays.__kwdefaults__, "y_true", "y_prob")


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_kind_names_its_argument(name: str, kind: str) -> None:
    given: dict[str, Any] = {name: KINDS[kind]}
    given |= {"target": {"split": "valid"}, "classes": {"positive": None}}.get(name, {})
    if (name, kind) in FINE:
        assert measured(**given).n == N
        return
    assert name in refused(**given)


def test_every_option_has_its_check() -> None:
    arrays = {"y_true", "y_prob", "classes", "groups", "positive", "image_ids", "prior"}
    assert set(ARGUMENTS) == set(CHECKS) | arrays


@pytest.mark.parametrize("key", ["y_true", "y_prob", "groups", "image_ids"])
@pytest.mark.parametrize("kind", KINDS)
def test_so_does_one_of_calib(key: str, kind: str) -> None:
    if key in ("groups", "image_ids") and kind == "None":
        return
    line = refused(calib=CALIB | {key: KINDS[kind]})
    assert line.startswith("calib: ")
    assert key in line


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prevalences": 0.1}, "prevalences: 0.1 cannot be used; give a list of numbers between"),
        ({"prevalences": [0.1, "x"]}, "prevalences: 'x' is not a finite number"),
        ({"prevalences": [1.5]}, "prevalence 1.5 lies outside (0, 1)"),
        ({"alpha": 2.0, "calib": CALIB}, "alpha: 2.0 lies outside (0, 1)"),
        ({"resamples": 200.0}, "resamples: 200.0 cannot be used; give a whole number"),
        ({"seed": -1}, "seed: -1 is less than 0"),
        ({"sets": "lca", "calib": CALIB}, "sets: no conformal method 'lca'; did you mean 'lac'"),
        ({"sets": "lac"}, "give other cases that calibrate them: calib"),
        ({"policy": "youden"}, "policy: an operating point may be chosen on validation"),
        ({"policy": "youden"}, "say split='valid' if these are validation predictions, or give "
                               "calib or threshold"),
        ({"policy": "youden", "positive": None, "classes": ("a", "b", "c")},
         "name them: positive"),
        ({"policy": "yuden"}, "policy: no policy 'yuden'; did you mean 'youden'"),
        ({"policy": "cost", "split": "valid"}, "the policy 'cost' needs a target"),
        ({"threshold": -1.0}, "target -1.0 does not fit the policy 'fixed'"),
        ({"target": 2.0, "split": "valid"}, "target 2.0 does not fit"),
        ({"calibration": "plat", "calib": CALIB}, "calibration: no calibration 'plat'"),
        ({"calibration": "platt"}, "calibration: a calibration must not be fitted"),
        ({"unit": "lesion"}, "no row has a lesion_id"),
        ({"unit": "lesions"}, "unit: no unit 'lesions'; did you mean 'lesion'"),
        ({"rare": "incluse"}, "rare: no way with rare classes 'incluse'"),
        ({"split": "vaild"}, "split: no split 'vaild'; did you mean 'valid'"),
        ({"sets": "lac", "calib": {k: v[:9] for k, v in CALIB.items()}}, "groups on calib"),
        ({"prior": {"mel": "x", "nv": 0.5, "bcc": 0.2}}, "prior: 'x' is not a finite number"),
        ({"prior": [0.5, 0.5, 0.5]}, "prior: 3 positive proportions that sum to 1"),
        ({"positive": "mell"}, "positive: 'mell' is not a class; did you mean 'mel'"),
        ({"classes": {"bcc", "mel", "nv"}}, "classes: it is a set; give a list of names"),
        ({"groups": {"patient": GROUPS}}, "groups: no kind of group 'patient'"),
        ({"y_true": ["mel", "nv", [1]] * 40}, "y_true[2]: a list is no single value"),
        ({"calib": CALIB | {3: 4}}, "calib: no array '3'"),
        ({"calib": {"y_true": Y}}, "calib: 'y_prob' is missing"),
        ({"calib": CALIB | {"y_true": [None] * N}}, "calib: y_true: no case has a label"),
    ],
)  # fmt: skip
def test_messages_speak_of_arguments(given: dict[str, Any], says: str) -> None:
    assert says in refused(**given)


def test_notes_speak_of_arguments() -> None:
    found = measured(calib=CALIB, calibration="platt")
    assert any("recalibrated (platt) on 120 images of calib" in note for note in found.notes)
    few = {k: v[:6] for k, v in CALIB.items()}
    for other in (found, measured(), measured(calib=few), measured(split="valid", groups=None)):
        assert not any("--" in note for note in other.notes)
        assert "--" not in str(other.to_json()["conformal"])


@pytest.mark.parametrize("path", [None, 3, "", b"r.html", ["r.html"], "r.pdf", "r.json"])
def test_a_report_goes_into_a_page(path: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as caught:
        measured().report(path)
    assert "html" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lang", [None, "xx", ["en"], 3])
def test_a_report_has_a_language(lang: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="lang") as caught:
        measured().report(tmp_path / "new" / "r.html", lang=lang)
    assert "--" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written"):
        measured().report(tmp_path / "file" / "r.html")
