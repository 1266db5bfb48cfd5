"""The shapes of the server's answers, for its OpenAPI description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from lesionlab.deployment.answers import Answer, Decision, OodScores
from lesionlab.deployment.clinical_inputs import MAX_AGE
from lesionlab.deployment.http_errors import PROBLEM


class PredictQuery(BaseModel):
    """What a request asks for, beside its images: the query of /v1/predict."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = Field(None, description="a served bundle's id; by default the first")
    operating_point: str | None = Field(None, description="by default the model's first")
    abstain: Literal["none", "ood", "ood_or_set"] = "ood"
    heatmap: bool = False
    roi_x: float | None = Field(None, allow_inf_nan=False)
    roi_y: float | None = Field(None, allow_inf_nan=False)
    roi_size: float | None = Field(None, gt=0, le=1e5)
    age: float | None = Field(None, ge=0, le=MAX_AGE, description="years")
    sex: Literal["female", "male"] | None = None
    site: str | None = Field(None, max_length=100, description="in the words of the model")


class DecisionShape(Decision):
    """Positive or not at one operating point; null where the policy abstains."""


class OodShape(OodScores):
    """Distances over their thresholds; above 1 the image is not like the training images."""


def prediction_shape(answer: type[Answer] = Answer) -> type[BaseModel]:
    """The fields of `answer`, absent where an image cannot be used, and those of the server."""
    optional: dict[str, Any] = {
        name: (field.annotation | None, Field(None, description=field.description))  # type: ignore[operator]
        for name, field in answer.model_fields.items()
    }
    # Clients that are generated from the description know these two by their names.
    optional |= {"decision": (DecisionShape | None, None), "ood": (OodShape | None, None)}
    return create_model(
        "PredictionShape",
        __doc__="What is said about one image, or `error` and `status`.",
        name=(str, ...),
        error=(str | None, None),
        status=(int, 200),
        note=(str, ""),
        **optional,
        cam=(dict[str, list[list[float]]] | None, None),
    )


PredictionShape = prediction_shape()


class PredictShape(BaseModel):
    """The answer of /v1/predict."""

    schema_version: int
    model: str
    identity: str
    research_only: bool
    leaky: bool
    synthetic: bool
    predictions: list[PredictionShape]  # type: ignore[valid-type]


class ModelShape(BaseModel):
    """A served bundle: `bundle.json` without hashes, statistics and self-test."""

    id: str
    identity: str
    name: str
    classes: list[str]
    malignant: list[str]
    operating_points: list[dict[str, Any]]
    no_operating_point: str
    conformal: list[dict[str, Any]]
    outputs: list[str]
    leaky: bool
    synthetic: bool
    research_only: bool
    needs_region: bool
    facts: dict[str, Any] | None  # what it reads of age, sex and site
    fit: str  # also in `preprocessing`; it stands here for clients of 0.1.0
    preprocessing: dict[str, Any]  # how an image becomes its input
    cam_offset: tuple[float, float]  # how far down and right the places of `cam` lie, in places
    training: dict[str, Any]
    card: str


class ModelsShape(BaseModel):
    """The answer of /v1/models."""

    schema_version: int
    models: list[ModelShape]


class StatusShape(BaseModel):
    """The answer of the health checks."""

    status: str


class ProblemShape(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may refuse with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemShape"}
    return {
        status: {"description": "Refused", "content": {PROBLEM: {"schema": schema}}}
        for status in statuses
    }


PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {
                        "image": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("application/octet-stream", "image/jpeg", "image/png")
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["data"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "data": {"type": "string", "format": "byte"},
                                },
                            },
                        }
                    },
                }
            },
        },
    }
}


class ServerLimits(BaseModel):
    """What a server takes."""

    workers: int = Field(1, ge=1)
    queue: int = Field(16, ge=0)
    images: int = Field(16, ge=1)  # in one request
    pixels: int = Field(40_000_000, ge=1)
