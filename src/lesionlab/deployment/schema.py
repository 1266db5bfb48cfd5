"""`bundle.json`, typed: what a model must carry to be used by people who did not train it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from lesionlab.config import InputSettings, Strict
from lesionlab.errors import BadInput
from lesionlab.evaluation.conformal import SCORES, Conformal
from lesionlab.evaluation.operating_point import OperatingPoint
from lesionlab.run_folder import FactsCoding

# 2: filter and crop of the input, first weights, offset of the map (docs/decisions/0143).
# A bundle of version 1 has none of them and is read with what 0.1.0 did: bilinear, whole, none.
SCHEMA_VERSION = 2


def point_name(point: OperatingPoint) -> str:
    """How a person refers to an operating point, e.g. "sensitivity_bound 0.95"."""
    return point.policy if point.target is None else f"{point.policy} {point.target:g}"


@dataclass(frozen=True)
class BundledConformal(Conformal):
    """The rule of the deployed model's prediction sets, and the split that calibrated it."""

    calibrated_on: str

    @property
    def name(self) -> str:
        """How a person refers to it, e.g. "90 %"."""
        return f"{100 * (1 - self.alpha):g} %"

    def to_json(self) -> dict[str, Any]:
        """A JSON object; an infinite quantile is null."""
        return {**super().to_json(), "calibrated_on": self.calibrated_on}


def _possible_point(point: OperatingPoint) -> OperatingPoint:
    if not 0 <= point.threshold <= 2:  # just above 1: nobody is positive
        raise ValueError(f"threshold {point.threshold:g} lies outside [0, 2]")
    if not point.score:
        raise ValueError("score names no class")
    return point


def _read_rule(value: Any) -> Any:
    """From JSON, by the rule's own reader: pydantic would refuse its infinite quantiles."""
    if not isinstance(value, Mapping):
        return value
    unknown = sorted(set(value) - {field.name for field in fields(BundledConformal)})
    if unknown or "calibrated_on" not in value:
        raise ValueError(f"unknown key '{unknown[0]}'" if unknown else "no key 'calibrated_on'")
    try:
        rule = Conformal.from_json(value)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return BundledConformal(**vars(rule), calibrated_on=str(value["calibrated_on"]))


def _possible_rule(rule: BundledConformal) -> BundledConformal:
    if rule.method not in SCORES:
        raise ValueError(f"no conformal method '{rule.method}'")
    if not 0 < rule.alpha < 1:
        raise ValueError(f"alpha {rule.alpha:g} lies outside (0, 1)")
    return rule


Point = Annotated[OperatingPoint, AfterValidator(_possible_point)]
ConformalRule = Annotated[
    BundledConformal,
    BeforeValidator(_read_rule),
    AfterValidator(_possible_rule),
    PlainSerializer(BundledConformal.to_json),
]


class OutOfDistribution(Strict):
    """When an image is "not like the training images": either distance above its threshold."""

    mahalanobis_threshold: float
    knn_threshold: float
    k: int = Field(ge=1)
    residual_scale: float = Field(ge=0)  # 1 / standard deviation outside the kept directions
    fitted_on: str
    n: int
    expected_rate: float  # share of the fitting images that would be flagged


class Parity(Strict):
    """How far the bundle is from the original network, on the same images."""

    images: int
    part: str
    max_probability_difference: float
    mean_probability_difference: float
    tolerance: float
    max_difference_to_run: float | None = None  # to predictions-valid.csv, whatever its precision


class Training(Strict):
    """What the model has learnt from, for whoever asks later."""

    dataset: str
    source: str
    licence: str
    modality: str = ""
    images: dict[str, int]
    classes: dict[str, int]  # images of the training part, by class
    depth: Literal[8, 10, 12, 14, 16] = 16  # bits that the 16-bit greys of its data set use
    regions: bool  # trained on regions (roi_x, roi_y, roi_size), not on whole images
    model: str
    preset: str
    seed: int
    fingerprint: str
    # What the network began with: file, source, licence, SHA-256; empty for a random start.
    weights: dict[str, str] = Field(default_factory=dict)


# More than two places would be no picture of the network; it is measured to a quarter.
CamOffset = Annotated[float, Field(ge=-2, le=2)]


class FileRecord(Strict):
    """Length and hash of one file of the bundle."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BundleInfo(Strict):
    """`bundle.json`. Probabilities are softmax(z / temperature + log prior - log train_prior)."""

    schema_version: int = SCHEMA_VERSION
    name: str
    created: str
    lesionlab_version: str
    classes: tuple[str, ...] = Field(min_length=2)
    malignant: tuple[str, ...] = ()
    preprocessing: InputSettings
    temperature: float = Field(gt=0, allow_inf_nan=False)
    calibration_notes: tuple[str, ...] = ()  # where the labels did not determine the temperature
    prior: dict[str, float]
    train_prior: dict[str, float]
    facts: FactsCoding | None = None  # of a network that also reads age, sex or site
    outputs: tuple[Literal["logits", "embedding", "cam"], ...]
    # How far down and right of equal parts of the side the places of the map lie, in places.
    cam_offset: tuple[CamOffset, CamOffset] = (0.0, 0.0)
    embedding_size: int = Field(ge=1)
    operating_points: tuple[Point, ...] = ()
    no_operating_point: str = ""  # why there is none, as the report of the run says it
    conformal: tuple[ConformalRule, ...] = ()
    ood: OutOfDistribution | None = None
    training: Training
    parity: Parity
    precision: Literal["float32", "int8"] = "float32"
    int8: dict[str, Any] | None = None  # what quantisation cost, where it was done
    self_test: tuple[float, ...]  # logits of the test picture (`predictor.test_picture`)
    leaky: bool = False
    leak_reason: str = ""
    synthetic: bool = False
    research_only: Literal[True] = True
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        names = set(self.classes)
        if len(names) != len(self.classes):
            raise ValueError("a class is named twice")
        for key, prior in (("prior", self.prior), ("train_prior", self.train_prior)):
            if set(prior) != names or not all(0 <= p <= 1 for p in prior.values()):
                raise ValueError(f"{key} needs one probability for each class")
        if any(self.prior[c] > 0 and self.train_prior[c] == 0 for c in names):
            raise ValueError("a class with a prior was never trained")
        spoken = {c for p in self.operating_points for c in p.score} | set(self.malignant)
        if spoken - names:
            raise ValueError(f"'{sorted(spoken - names)[0]}' is not one of the classes")
        for rule in self.conformal:
            if rule.classes != self.classes or len(rule.quantile) != len(self.classes):
                raise ValueError("a conformal rule is for other classes")
        if len(self.self_test) != len(self.classes):
            raise ValueError("self_test needs one logit for each class")
        return self
