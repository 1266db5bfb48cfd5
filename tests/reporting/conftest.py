"""Small random predictions and the report content made of them, once for all these tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.operating_point import OperatingPoint, choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import DataFacts, Part, ReportContent

HOSTILE = ('<img src=x onerror="alert(1)">', "</script><script>alert(2)</script>", "nv & 'co'")
PRIOR = np.array([0.2, 0.15, 0.65])


def draw(classes: tuple[str, ...], n: int = 180, seed: int = 0) -> Predictions:
    """Predictions of n images of 2n/3 lesions, better than chance and not perfect."""
    rng = np.random.default_rng(seed)
    lesion = np.sort(np.r_[np.arange(2 * n // 3), rng.integers(0, 2 * n // 3, n - 2 * n // 3)])
    truth = rng.choice(3, 2 * n // 3, p=PRIOR)[lesion]
    z = rng.normal(0, 1, (n, 3)) + np.log(PRIOR)
    z[np.arange(n), truth] += 1.5
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    names = [
        np.array([f"{kind}{i}" for i in v], object) for kind, v in (("I", range(n)), ("L", lesion))
    ]
    none = np.array([""] * n, object)
    return Predictions(names[0], none, names[1], classes, truth.astype(np.int64), prob, z)


def measure(
    predictions: Predictions, point: OperatingPoint | None, malignant: int = 2
) -> dict[str, Any]:
    """The JSON twin, with few resamples."""
    return evaluate_predictions(
        predictions,
        malignant=predictions.classes[:malignant],
        prior=PRIOR,
        operating_points=[point] if point else [],
        resampling=Resampling(60),
    ).to_json()


def history() -> list[dict[str, Any]]:
    return [
        {"stage": "head" if e < 3 else "all", "epoch": e, "step": 10 * e, "train_loss": 1 / e,
         "valid_loss": 1.2 / e, "valid_roc_auc": 0.9 - 0.3 / e, "lr": 1e-3 / e, "seconds": 2.0,
         "images_per_second": 90.0}
        for e in range(1, 6)
    ]  # fmt: skip


CONFIG = {
    "settings": {
        "name": "demo", "model": {"name": "net", "head": "linear"}, "input": {"size": 32},
        "loss": {"class_weights": "none"}, "sampling": "natural", "seed": 3,
        "stages": [{"name": "head", "epochs": 2}, {"name": "all", "epochs": 3}],
    },
    "weights": {"start.safetensors": "ab" * 32},
    "device": "cpu", "precision": "float32", "environment": {"numpy": "2.1"},
    "created": "2026-01-01T00:00:00Z", "dataset": {"fingerprint": "cd" * 32},
}  # fmt: skip


def build(classes: tuple[str, ...]) -> ReportContent:
    """A whole content on validation: every section has something to say."""
    valid, train = draw(classes, seed=1), draw(classes, seed=2)
    point = choose_operating_point(
        valid, score=classes[:2], chosen_on="valid", policy="sensitivity", target=0.9
    )
    counts = {c: int((valid.y_true == k).sum()) for k, c in enumerate(classes)}
    part = {"images": 180, "groups": 120, "classes": counts}
    return ReportContent(
        title="runs of a test",
        parts=(
            Part("valid", valid, measure(valid, point)),
            Part("train", train, measure(train, point)),
        ),
        malignant=classes[:2],
        data=DataFacts("set", "somewhere", "CC0", images=360, groups=240,
                       parts={"train": part, "valid": part}, split_policy={"policy": "grouped"}),
        openings=[],
        history=history(),
        config=CONFIG,
        calibration={"temperature": 1.5, "fitted_on": "valid"},
        created="2026-01-02T00:00:00Z",
        provenance={"run": "a"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def content() -> ReportContent:
    """Content with plain names."""
    return build(("mel", "bcc", "nv"))


@pytest.fixture(scope="session")
def hostile() -> ReportContent:
    """Content in which every name is an attack."""
    made = build(HOSTILE)
    bad = HOSTILE[1]
    predictions = dataclasses.replace(
        made.focus.predictions,
        image_id=np.array([f"{bad}{i}" for i in range(180)], object),
    )
    parts = (dataclasses.replace(made.focus, predictions=predictions), *made.parts[1:])
    assert made.data is not None
    facts = dataclasses.replace(made.data, name=bad, licence=bad, leaky=True, leak_reason=bad,
                                notes=(bad,))  # fmt: skip
    opening = {"when": bad, "who": bad, "run": bad, "hash": bad}
    return dataclasses.replace(
        made, title=bad, parts=parts, data=facts, openings=[opening], notes=(bad,),
        provenance={bad: bad}, config=CONFIG | {"environment": {bad: bad}, "weights": {bad: bad}},
    )  # fmt: skip


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Predictions]:
    """`draw(classes, n, seed)`."""
    return draw


@pytest.fixture(scope="session")
def measured() -> Callable[..., dict[str, Any]]:
    """`measure(predictions, point, malignant)`."""
    return measure
