"""What a person or a program is told about one image: probabilities and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.deployment.schema import BundleInfo, Conformal, OperatingPoint
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation import conformal
from lesionlab.evaluation.conformal import prediction_sets

NEIGHBOURS_SHOWN = 5
ABSTENTION = {
    "none": "always decide",
    "ood": "no decision on an image that is not like the training images",
    "ood_or_set": "nor where the conformal set holds classes of both sides of the decision",
}
DEFAULT_ABSTENTION = "ood"


@dataclass(frozen=True)
class Decision:
    """Positive or not at one operating point; None where the policy abstains."""

    operating_point: str
    score: float  # summed probability of the positive classes
    threshold: float
    positive: bool | None
    reason: str = ""  # why there is no decision


@dataclass(frozen=True)
class Answer:
    """All that is said about one image. `conformal`: "90 %" -> the classes in the set."""

    logits: dict[str, float]
    probabilities: dict[str, float]
    class_at_dataset_prior: str
    class_at_uniform_prior: str
    decision: Decision | None = None
    conformal: dict[str, list[str]] = field(default_factory=dict)
    ood: dict[str, Any] | None = None
    similar: dict[str, int] | None = None  # classes of the nearest training images

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            **self.__dict__,
            "decision": None if self.decision is None else dict(self.decision.__dict__),
        }


def find_point(info: BundleInfo, name: str | None) -> OperatingPoint | None:
    """The operating point of that name (None: the first); None where the bundle has none."""
    if name is None:
        return info.operating_points[0] if info.operating_points else None
    for point in info.operating_points:
        if point.name == name:
            return point
    raise BadInput(
        f"no operating point '{name}'",
        where=info.name,
        remedy=nearest(name, [p.name for p in info.operating_points])
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
    ood: dict[str, Any] | None,
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
    ood: Mapping[str, Any] | None,
    sets: Mapping[str, Sequence[str]],
) -> Decision:
    score = float(sum(float(prob[info.classes.index(c)]) for c in point.score))
    reason = ""
    if abstain != "none" and ood is not None and ood["flagged"]:
        reason = "not like the training images"
    elif abstain == "ood_or_set" and any(_both_sides(s, point) for s in sets.values()):
        reason = "the conformal set holds classes of both sides"
    positive = None if reason else score >= point.threshold
    return Decision(point.name, score, point.threshold, positive, reason)


def _members(rule: Conformal, prob: Any) -> list[str]:
    found = prediction_sets(_rules(rule), prob[None])[0]
    return [name for name, inside in zip(rule.classes, found, strict=True) if inside]


@cache
def _rules(rule: Conformal) -> conformal.Conformal:
    return conformal.Conformal.from_json(rule.model_dump())


def _both_sides(members: Sequence[str], point: OperatingPoint) -> bool:
    sides = {c in point.score for c in members}
    return len(sides) != 1  # an empty set is as undecided as a mixed one


def _named(info: BundleInfo, values: Any) -> dict[str, float]:
    return {name: float(v) for name, v in zip(info.classes, values, strict=True)}


def _surroundings(
    predictor: Predictor, outputs: Outputs
) -> tuple[list[dict[str, Any] | None], list[dict[str, int] | None]]:
    """Out-of-distribution scores and the classes of the nearest training images, by image."""
    detector, limits = predictor.detector, predictor.info.ood
    if detector is None or limits is None:
        return [None] * len(outputs.prob), [None] * len(outputs.prob)
    far = detector.mahalanobis(outputs.embedding) / limits.mahalanobis_threshold
    distances, rows = detector.neighbours(outputs.embedding)
    alone = distances[:, -1] / limits.knn_threshold
    score = np.maximum(far, alone)
    flags = [
        {"score": float(s), "mahalanobis": float(m), "knn": float(k), "flagged": bool(s > 1)}
        for s, m, k in zip(score, far, alone, strict=True)
    ]
    classes = predictor.info.classes
    nearest_labels = detector.labels[rows[:, :NEIGHBOURS_SHOWN]]
    similar = [
        {classes[k]: int((row == k).sum()) for k in dict.fromkeys(row.tolist())}
        for row in nearest_labels
    ]
    return list(flags), list(similar)
