"""`bundle.json`, typed: what a model must carry to be used by people who did not train it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lesionlab.config import InputSettings, Strict
from lesionlab.run import FactsCoding

# 2: filter and crop of the input, first weights, offset of the map (docs/decisions/0143).
# A bundle of version 1 has none of them and is read with what 0.1.0 did: bilinear, whole, none.
SCHEMA_VERSION = 2


class Measure(Strict):
    """A measured number with its 95 % interval; null where there is too little to say."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = ""


class OperatingPoint(Strict):
    """A locked decision, as `evaluation.operating_point` writes it.

    An image is positive where the summed probability of the classes in `score` >= `threshold`.
    """

    policy: str
    target: float | None
    threshold: float = Field(ge=0, le=2, allow_inf_nan=False)  # just above 1: nobody is positive
    score: tuple[str, ...] = Field(min_length=1)
    chosen_on: str
    prior: dict[str, float] | None
    positive_groups: int
    negative_groups: int
    sensitivity: Measure
    specificity: Measure

    @property
    def name(self) -> str:
        """How a person refers to it, e.g. "sensitivity_bound 0.95"."""
        return self.policy if self.target is None else f"{self.policy} {self.target:g}"


class Conformal(Strict):
    """Prediction sets, as `evaluation.conformal` writes them: class k where its score <= quantile.

    A null quantile: too few groups to calibrate, the class is in every set.
    """

    method: Literal["lac", "aps", "raps"]
    alpha: float = Field(gt=0, lt=1)
    classes: tuple[str, ...]
    quantile: tuple[float | None, ...]
    groups: tuple[int, ...]  # calibration groups of each class
    seed: int
    warnings: tuple[str, ...]
    calibrated_on: str

    @property
    def name(self) -> str:
        """How a person refers to it, e.g. "90 %"."""
        return f"{100 * (1 - self.alpha):g} %"


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
    prior: dict[str, float]
    train_prior: dict[str, float]
    facts: FactsCoding | None = None  # of a network that also reads age, sex or site
    outputs: tuple[Literal["logits", "embedding", "cam"], ...]
    # How far down and right of equal parts of the side the places of the map lie, in places.
    cam_offset: tuple[CamOffset, CamOffset] = (0.0, 0.0)
    embedding_size: int = Field(ge=1)
    operating_points: tuple[OperatingPoint, ...] = ()
    no_operating_point: str = ""  # why there is none, as the report of the run says it
    conformal: tuple[Conformal, ...] = ()
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
