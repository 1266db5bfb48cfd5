"""What `bundle.json` may hold, and that it is read back as it was written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.schema import BundleInfo, point_name
from lesionlab.evaluation.conformal import Conformal
from lesionlab.evaluation.operating_point import OperatingPoint


@pytest.fixture
def raw(bundle_folder: Path) -> dict[str, Any]:
    return read_bundle(bundle_folder).info.model_dump(mode="json")


def test_points_and_rules_are_those_of_the_evaluation(raw: dict[str, Any]) -> None:
    raw["conformal"][0]["quantile"] = [0.5, None, 0.25]
    info = BundleInfo.model_validate(raw)
    (point,), (rule,) = info.operating_points, info.conformal
    assert isinstance(point, OperatingPoint)
    assert isinstance(rule, Conformal)
    assert rule.quantile == (0.5, math.inf, 0.25)
    assert (point_name(point), rule.name) == ("sensitivity 0.9", "90 %")
    assert info.model_dump(mode="json") == raw


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Unexpected keyword argument": lambda i: i["operating_points"][0].update(more=1),
    "outside \\[0, 2\\]": lambda i: i["operating_points"][0].update(threshold=3.0),
    "score names no class": lambda i: i["operating_points"][0].update(score=[]),
    "finite number": lambda i: i["operating_points"][0]["sensitivity"].update(value=math.nan),
    "valid integer": lambda i: i["operating_points"][0].update(positive_groups="many"),
    "no conformal method 'x'": lambda i: i["conformal"][0].update(method="x"),
    "outside \\(0, 1\\)": lambda i: i["conformal"][0].update(alpha=1.0),
    "unknown key 'also'": lambda i: i["conformal"][0].update(also=1),
    "calibrated_on": lambda i: i["conformal"][0].pop("calibrated_on"),
    "could not convert string": lambda i: i["conformal"][0].update(quantile=[0.5, "x", 0.5]),
    "for other classes": lambda i: i["conformal"][0].update(quantile=[0.5]),
    "not one of the classes": lambda i: i["operating_points"][0].update(score=["cat"]),
}


@pytest.mark.parametrize("said", CHANGES)
def test_what_cannot_be_meant_is_refused(raw: dict[str, Any], said: str) -> None:
    CHANGES[said](raw)
    with pytest.raises(ValidationError, match=said):
        BundleInfo.model_validate(raw)
