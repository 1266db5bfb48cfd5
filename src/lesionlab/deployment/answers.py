"""What a person or a program is told about one image: probabilities and what follows.

`Answer` is the one definition of a prediction's fields: the server's JSON and its OpenAPI
description, the JSON of `predict` and the columns of its CSV all come from it. What is said of the
request or the file (name, error, heat map, time) stands in `server_schema` and `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.deployment.schema import BundledConformal, BundleInfo, point_name
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.conformal import prediction_sets
from lesionlab.evaluation.operating_point import OperatingPoint

NEIGHBOURS_SHOWN = 5
ABSTENTION = {
    "none": "always decide",
    "ood": "no decision on an image that is not like the training images",
    "ood_or_set": "nor where the conformal set holds classes of both sides of the decision",
}
DEFAULT_ABSTENTION = "ood"


@dataclass(frozen=True)
class CsvColumn:
    """The name of a field's column in the CSV of `predict`; None: the field is not in the CSV.

    A field without it has a column of its own name. A mapping has a column for each of its
    `keys`, the bundle's classes or its conformal rules, whose name replaces `{}`.
    """

    name: str | None
    keys: Literal["", "classes", "rules"] = ""


class Decision(BaseModel):
    """Positive or not at one operating point; null where the policy abstains."""

    model_config = ConfigDict(frozen=True)

    operating_point: str
    score: float = Field(description="summed probability of the positive classes")
    threshold: float
    positive: bool | None = Field(description="score >= threshold; null: no decision")
    reason: Annotated[str, CsvColumn("abstained_because")] = Field(
        description="why there is no decision"
    )


class OodScores(BaseModel):
    """Distances over their thresholds; above 1 the image is not like the training images."""

    model_config = ConfigDict(frozen=True)

    score: Annotated[float, CsvColumn("ood_score")] = Field(description="the larger of the two")
    mahalanobis: Annotated[float, CsvColumn(None)]
    knn: Annotated[float, CsvColumn(None)]
    flagged: Annotated[bool, CsvColumn("ood_flag")] = Field(description="score > 1")


class Answer(BaseModel):
    """All that is said about one image."""

    model_config = ConfigDict(frozen=True)

    probabilities: Annotated[dict[str, float], CsvColumn("prob_{}", "classes")] = Field(
        description="calibrated, at the prevalence of the data set"
    )
    logits: Annotated[dict[str, float], CsvColumn("logit_{}", "classes")]
    class_at_dataset_prior: str = Field(description="the most probable class")
    class_at_uniform_prior: str = Field(
        description="the most probable class, were all equally frequent"
    )
    decision: Decision | None = None
    conformal: Annotated[dict[str, list[str]], CsvColumn("set {}", "rules")] = Field(
        default_factory=dict, description='conformal rule, e.g. "90 %": the classes in its set'
    )
    ood: OodScores | None = None
    similar: Annotated[dict[str, int] | None, CsvColumn(None)] = Field(
        None, description="classes of the nearest training images"
    )


def find_point(info: BundleInfo, name: str | None) -> OperatingPoint | None:
    """The operating point of that name (None: the first); None where the bundle has none."""
    if name is None:
        return info.operating_points[0] if info.operating_points else None
    for point in info.operating_points:
        if point_name(point) == name:
            return point
    raise BadInput(
        f"no operating point '{name}'",
        where=info.name,
        remedy=nearest(name, [point_name(p) for p in info.operating_points])
        if info.operating_points
        else f"the bundle has none: {info.no_operating_point or 'its maker gave no reason'}",
    )


def answers(
    predictor: Predictor,
    outputs: Outputs,
    point: OperatingPoint | None = None,
    abstain: str = DEFAULT_ABSTENTION,
) -> list[Answer]:
    """One `Answer` for each of the N images of `outputs`."""
    if abstain not in ABSTENTION:
        raise BadInput(f"no abstention policy '{abstain}'", remedy=nearest(abstain, ABSTENTION))
    ood, similar = _surroundings(predictor, outputs)
    return [
        _answer(predictor.info, outputs, row, point, abstain, ood[row], similar[row])
        for row in range(len(outputs.prob))
    ]


def _answer(
    info: BundleInfo,
    outputs: Outputs,
    row: int,
    point: OperatingPoint | None,
    abstain: str,
    ood: OodScores | None,
    similar: dict[str, int] | None,
) -> Answer:
    prob = outputs.prob[row]
    sets = {rule.name: _members(rule, prob) for rule in info.conformal}
    decision = None
    if point is not None:
        decision = _decide(info, prob, point, abstain, ood, sets)
    uniform = prob / np.array([info.prior[c] or np.inf for c in info.classes])
    return Answer(
        logits=_named(info, outputs.logits[row]),
        probabilities=_named(info, prob),
        class_at_dataset_prior=info.classes[int(prob.argmax())],
        class_at_uniform_prior=info.classes[int(uniform.argmax())],
        decision=decision,
        conformal=sets,
        ood=ood,
        similar=similar,
    )


def _decide(
    info: BundleInfo,
    prob: Any,
    point: OperatingPoint,
    abstain: str,
    ood: OodScores | None,
    sets: dict[str, list[str]],
) -> Decision:
    score = float(score_of(prob[None], info.classes, point.score)[0])
    reason = ""
    if abstain != "none" and ood is not None and ood.flagged:
        reason = "not like the training images"
    elif abstain == "ood_or_set" and any(_both_sides(s, point) for s in sets.values()):
        reason = "the conformal set holds classes of both sides"
    positive = None if reason else score >= point.threshold
    return Decision(
        operating_point=point_name(point),
        score=score,
        threshold=point.threshold,
        positive=positive,
        reason=reason,
    )


def _members(rule: BundledConformal, prob: Any) -> list[str]:
    members = prediction_sets(rule, prob[None])[0]
    return [name for name, inside in zip(rule.classes, members, strict=True) if inside]


def _both_sides(members: Sequence[str], point: OperatingPoint) -> bool:
    sides = {c in point.score for c in members}
    return len(sides) != 1  # an empty set is as undecided as a mixed one


def _named(info: BundleInfo, values: Any) -> dict[str, float]:
    return {name: float(v) for name, v in zip(info.classes, values, strict=True)}


def _surroundings(
    predictor: Predictor, outputs: Outputs
) -> tuple[list[OodScores | None], list[dict[str, int] | None]]:
    """Out-of-distribution scores and the classes of the nearest training images, by image."""
    detector, limits = predictor.detector, predictor.info.ood
    if detector is None or limits is None:
        return [None] * len(outputs.prob), [None] * len(outputs.prob)
    far = detector.mahalanobis(outputs.embedding) / limits.mahalanobis_threshold
    distances, rows = detector.neighbours(outputs.embedding)
    alone = distances[:, -1] / limits.knn_threshold
    score = np.maximum(far, alone)
    flags = [
        OodScores(score=float(s), mahalanobis=float(m), knn=float(k), flagged=bool(s > 1))
        for s, m, k in zip(score, far, alone, strict=True)
    ]
    classes = predictor.info.classes
    nearest_labels = detector.labels[rows[:, :NEIGHBOURS_SHOWN]]
    similar = [
        {classes[k]: int((row == k).sum()) for k in dict.fromkeys(row.tolist())}
        for row in nearest_labels
    ]
    return list(flags), list(similar)
