"""A user's script as `mypy --strict` reads it; it is checked and never run.

Each `type: ignore` stands on a mistake that has to be seen: were a signature lost, mypy would call
the comment unused (tests/typing/test_typing.py).
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch

import lesionlab
from lesionlab import stats
from lesionlab.errors import BadInput
from lesionlab.evaluation.intervals import Measure
from lesionlab.reporting.array_evaluation import ArrayEvaluation


def used_rightly() -> ArrayEvaluation:
    assert_type(lesionlab.__version__, str)

    # The user's path: every verb says what it takes and gives.
    lesionlab.import_dataset("ham10000", "archive.zip", to="data/ham")
    lesionlab.split("data/ham", test=0.2, valid=0.15)
    run = lesionlab.train("data/ham", preset="ham10000-mobilenetv2-frozen", out="runs/ham", seed=1)
    assert_type(run, dict[str, Any])
    lesionlab.resume(Path("runs/ham"), threads=2)
    assert_type(lesionlab.evaluate("runs/ham", split="test"), dict[str, Any])
    assert_type(lesionlab.evaluate([Path("runs/a"), Path("runs/b")]), dict[str, Any])
    lesionlab.export("runs/ham", to="bundles/ham")
    lesionlab.predict("bundles/ham", "images")

    # Arrays give a typed result.
    y_true = np.array([0, 1, 1, 0])
    y_prob = np.array([0.1, 0.9, 0.8, 0.3])
    found = lesionlab.evaluate(y_true=y_true, y_prob=y_prob, groups=["a", "a", "b", "c"])
    assert_type(found, ArrayEvaluation)
    assert_type(found.roc_auc, Measure)
    assert_type(found.roc_auc.low, float | None)
    assert_type(found.n, int)
    assert_type(found.to_json(), dict[str, Any])
    assert_type(found.report("report.html"), Path)
    assert_type(found.per_class["1"]["sensitivity"], Measure)
    lesionlab.evaluate(y_true=torch.tensor([0, 1]), y_prob=torch.tensor([0.1, 0.9]), positive=1)
    lesionlab.evaluate(
        y_true=["nv", "mel"],
        y_prob=[[0.1, 0.9], [0.8, 0.2]],
        classes=("mel", "nv"),
        positive="mel",
        calib={"y_true": ["nv"], "y_prob": [[0.5, 0.5]]},
    )

    # Single statistics.
    assert_type(stats.auc_interval(y_true, y_prob), Measure)
    assert_type(lesionlab.stats.auc_interval(y_true, y_prob).value, float | None)
    assert_type(stats.paired_difference(y_true, y_prob, y_prob).p_value, float)
    assert_type(stats.operating_point(y_true, y_prob).threshold, float)
    assert_type(stats.conformal(y_true, y_prob).quantile, tuple[float, ...])
    assert_type(stats.calibrate(y_true, y_prob).n, int)

    try:
        lesionlab.compare(["a.csv", "b.csv"])
    except BadInput as error:
        print(error)
    return found


def mistaken(found: ArrayEvaluation, y_true: Any, y_prob: Any) -> None:
    # Mistakes that a type checker has to see.
    lesionlab.trian("data/ham")  # type: ignore[attr-defined]
    lesionlab.train("data/ham", preset="demo", out="runs/x", epochs="two")  # type: ignore[arg-type]
    lesionlab.train("data/ham", preset="demo")  # type: ignore[call-arg]
    lesionlab.train("data/ham", preset="demo", out="runs/x", epoch=2)  # type: ignore[call-arg]
    lesionlab.split("data/ham", test="a lot")  # type: ignore[arg-type]
    lesionlab.evaluate(y_true=y_true)  # type: ignore[call-overload]
    lesionlab.evaluate("runs/ham", y_true=y_true, y_prob=y_prob)  # type: ignore[call-overload]
    lesionlab.evaluate("runs/ham", splt="test")  # type: ignore[call-overload]
    lesionlab.evaluate(y_true=y_true, y_prob=y_prob, unit="eye")  # type: ignore[call-overload]
    lesionlab.evaluate(y_true=y_true, y_prob=y_prob, groups=7)  # type: ignore[call-overload]
    print(found.roc_acu)  # type: ignore[attr-defined]
    print(found.roc_auc.lower)  # type: ignore[attr-defined]
    found.notes = ()  # type: ignore[misc]
    stats.auc_interval(y_true)  # type: ignore[call-arg]
    stats.auc_interval(y_true, y_prob, confidence=0.9)  # type: ignore[call-arg]
    stats.conformal(y_true, y_prob, alpha="0.1")  # type: ignore[arg-type]
