"""`lesionlab serve`: the same answers over HTTP, from FastAPI and one-thread ONNX sessions.

Nothing of a request is written to a disk or a log: bodies are parsed in memory, images are
decoded, answered and forgotten, file names only travel back to who sent them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lesionlab import __version__
from lesionlab.data.images import Roi, UnreadableImage
from lesionlab.deployment.answers import answers, find_point
from lesionlab.deployment.clinical_inputs import ClinicalInputs, encode_clinical, not_understood
from lesionlab.deployment.decode import read_view, refuse_pixels
from lesionlab.deployment.http_errors import PROBLEM, Problem
from lesionlab.deployment.schema import point_name
from lesionlab.deployment.server_audit import AuditLog
from lesionlab.deployment.server_body import Upload, read_uploads
from lesionlab.deployment.server_gate import Gate
from lesionlab.deployment.server_guard import App, Guard, Rules
from lesionlab.deployment.server_metrics import Metrics
from lesionlab.deployment.server_models import Models, ServedModel
from lesionlab.deployment.server_schema import (
    PREDICT_BODY,
    ModelShape,
    ModelsShape,
    PredictQuery,
    PredictShape,
    ProblemShape,
    ServerLimits,
    StatusShape,
    refusals,
)
from lesionlab.deployment.web import page_files
from lesionlab.errors import BadInput, one_line
from lesionlab.evaluation.operating_point import OperatingPoint

log = logging.getLogger("lesionlab.serve")


@dataclass
class AppState:
    """What the routes share."""

    models: Models
    gate: Gate
    metrics: Metrics
    limits: ServerLimits
    audit: AuditLog | None = None


@dataclass(frozen=True)
class PredictionRequest:
    """What a request asks for, beside its images."""

    model: ServedModel
    point: OperatingPoint | None
    abstain: str
    with_cam: bool
    roi: Roi | None
    clinical: ClinicalInputs


def create_app(state: AppState, rules: Rules) -> App:
    """The ASGI application: the routes behind the guard."""
    inner = FastAPI(
        title="lesionlab",
        version=__version__,
        description="Research use only. Not a medical device. Nothing here is advice to a patient.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(state),
    )
    _add_refusals(inner)
    _add_page(inner)
    _add_health(inner, state)
    _add_models(inner, state)
    _add_predict(inner, state)
    return Guard(inner, rules, state.metrics.rejected)


def _lifespan(state: AppState) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        def on_swap(_: str, succeeded: bool) -> None:
            state.metrics.swaps.labels("ok" if succeeded else "refused").inc()

        state.models.watch(on_swap)
        yield
        state.gate.close()
        state.models.close()
        if state.audit is not None:
            state.audit.close()

    return lifespan


def _add_refusals(app: FastAPI) -> None:
    def refused(problem: Problem) -> Response:
        headers = dict(problem.headers)
        if problem.status in (400, 408, 413, 415):
            headers["connection"] = "close"  # the rest of the body is not read
        return Response(problem.body(), problem.status, headers, media_type=PROBLEM)

    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return refused(error)

    @app.exception_handler(ClientDisconnect)
    async def on_hangup(_: Request, __: Exception) -> Response:
        return refused(Problem(400, "hangup", "the client closed the connection"))

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        what = {404: "not found", 405: "method not allowed"}.get(error.status_code, "refused")
        return refused(Problem(error.status_code, "http", what, **(error.headers or {})))

    @app.exception_handler(RequestValidationError)
    async def on_query(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        return refused(Problem(400, "query", f"{place}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def on_bug(_: Request, __: Exception) -> Response:
        return refused(Problem(500, "bug", "internal error: this is a bug in lesionlab"))


def _add_page(app: FastAPI) -> None:
    files = page_files()

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        content, kind = files["index.html"]
        return Response(content, media_type=kind)

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files:
            raise Problem(404, "page", "not found")
        content, kind = files[name]
        return Response(content, media_type=kind)


def _add_health(app: FastAPI, state: AppState) -> None:
    """Add the routes that an orchestrator and Prometheus poll."""

    @app.get("/health/live", response_model=StatusShape)
    async def live() -> Any:
        """Is the process answering?"""
        return {"status": "live"}

    @app.get("/health/ready", response_model=StatusShape, responses=refusals(503))
    async def ready() -> Any:
        """Have all models passed their self-test, and is there no shutdown under way?"""
        # No check of the models here: the server only starts once they have passed the self-test.
        if state.gate.draining:
            raise Problem(503, "draining", "shutting down", Retry_After="5")
        return {"status": "ready"}

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Prometheus metrics."""
        state.metrics.inside.set(state.gate.inside)  # images that wait or run
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_models(app: FastAPI, state: AppState) -> None:
    @app.get("/v1/models", response_model=ModelsShape)
    async def models() -> Any:
        """The served bundles."""
        return {"schema_version": 1, "models": [described(m) for m in state.models]}

    @app.get("/v1/models/{model}", response_model=ModelShape, responses=refusals(404))
    async def one(model: str) -> Any:
        """One served bundle."""
        return described(_model(state, model))


def described(model: ServedModel) -> dict[str, Any]:
    """What a client may know of a bundle: no path, no hashes."""
    bundle, info = model.predictor.bundle, model.predictor.info
    return {
        "id": model.id,
        "identity": bundle.identity,
        "name": info.name,
        "classes": list(info.classes),
        "malignant": list(info.malignant),
        "operating_points": [{"name": point_name(p), **p.to_json()} for p in info.operating_points],
        "no_operating_point": info.no_operating_point,
        "conformal": [{"name": c.name, **c.to_json()} for c in info.conformal],
        "outputs": list(info.outputs),
        "leaky": info.leaky,
        "synthetic": info.synthetic,
        "research_only": True,
        "needs_region": info.training.regions,
        "facts": None if info.facts is None else info.facts.model_dump(mode="json"),
        "fit": info.preprocessing.fit,
        "preprocessing": info.preprocessing.model_dump(mode="json"),
        "cam_offset": list(info.cam_offset),
        "training": info.training.model_dump(mode="json"),
        "card": bundle.card,
    }


def _model(state: AppState, name: str | None) -> ServedModel:
    model = state.models.find(name)
    if model is None:
        raise Problem(404, "model", "no such model")
    return model


def _add_predict(app: FastAPI, state: AppState) -> None:
    @app.post(
        "/v1/predict",
        response_model=None,
        responses={200: {"model": PredictShape}, **refusals(400, 404, 408, 413, 415, 422, 503)},
        openapi_extra=PREDICT_BODY,
    )
    async def predict(
        request: Request,
        query: Annotated[PredictQuery, Query()],
    ) -> Response:
        """Classify one or several images.

        One image that cannot be used is refused with its status; of several, each bad one has
        an `error` and a `status` of its own.
        """
        reading = False
        try:
            with state.gate.admit():
                prediction_request = _prediction_request(state, query)
                kind, reading = request.headers.get("content-type", ""), True
                uploads = await read_uploads(kind, request.stream(), state.limits.images)
                with state.gate.admit(len(uploads) - 1):
                    predictions = await asyncio.gather(
                        *(_one(state, prediction_request, u) for u in uploads)
                    )
        except Problem as problem:
            state.metrics.rejected(problem.code)
            if problem.status == 503 and not reading:
                async for _ in request.stream():  # else the client's sending breaks off
                    pass
            raise
        if len(predictions) == 1 and predictions[0]["error"]:
            raise Problem(predictions[0]["status"], "image", predictions[0]["error"])
        info = prediction_request.model.predictor.info
        return JSONResponse(
            {
                "schema_version": 1,
                "model": prediction_request.model.id,
                "identity": prediction_request.model.predictor.bundle.identity,
                "research_only": True,
                "leaky": info.leaky,
                "synthetic": info.synthetic,
                "predictions": predictions,
            }
        )

    app.openapi()["components"]["schemas"]["ProblemShape"] = ProblemShape.model_json_schema()


def _prediction_request(state: AppState, query: PredictQuery) -> PredictionRequest:
    model = _model(state, query.model)
    info = model.predictor.info
    try:
        point = find_point(info, query.operating_point)
    except BadInput as error:
        raise Problem(400, "operating_point", str(error)) from None
    corners = [v for v in (query.roi_x, query.roi_y, query.roi_size) if v is not None]
    if corners and len(corners) < 3:
        raise Problem(400, "roi", "give all of roi_x, roi_y and roi_size, or none")
    if info.training.regions and not corners:
        raise Problem(400, "roi", "this model was trained on regions: give roi_x, roi_y, roi_size")
    if info.facts is None and any(v is not None for v in (query.age, query.sex, query.site)):
        raise Problem(400, "facts", "this model does not read age, sex or site")
    clinical = ClinicalInputs(
        math.nan if query.age is None else query.age, query.sex or "", query.site or ""
    )
    roi = Roi(*corners) if corners else None
    return PredictionRequest(model, point, query.abstain, query.heatmap, roi, clinical)


async def _one(state: AppState, request: PredictionRequest, upload: Upload) -> dict[str, Any]:
    """The answer to one image, from a worker thread."""

    def job(waited: float) -> dict[str, Any]:
        state.metrics.phase.labels("queue").observe(waited)
        return _answered(state, request, upload)

    return await asyncio.wrap_future(state.gate.submit(job))


def _answered(state: AppState, request: PredictionRequest, upload: Upload) -> dict[str, Any]:
    predictor, data = request.model.predictor, bytes(upload.data)
    started = time.perf_counter()
    try:
        refuse_pixels(data, state.limits.pixels)
        depth = predictor.info.training.depth
        view = read_view(data, predictor.how, request.roi, name="image", depth=depth)
    except UnreadableImage as error:
        state.metrics.rejected("image")
        return {"name": upload.name, "error": one_line(error.reason), "status": error.status}
    decoded = time.perf_counter()
    coding = predictor.info.facts
    facts = None if coding is None else encode_clinical([request.clinical], coding)
    outputs = predictor.predict(view.pixels[None], request.with_cam, facts)
    answer = answers(predictor, outputs, request.point, request.abstain)[0].model_dump()
    state.metrics.phase.labels("decode").observe(decoded - started)
    state.metrics.phase.labels("inference").observe(time.perf_counter() - decoded)
    state.metrics.images.labels(request.model.id).inc()
    if outputs.cam is not None:
        maps = outputs.cam[0].round(4).tolist()
        answer["cam"] = dict(zip(predictor.info.classes, maps, strict=True))
    _note(state.audit, data, predictor.bundle.identity, answer)
    ignored = "" if coding is None else not_understood(request.clinical, coding)
    note = "; ".join(filter(None, (view.note, ignored)))
    return {"name": upload.name, "error": None, "status": 200, "note": note, **answer}


def _note(audit: AuditLog | None, data: bytes, identity: str, answer: dict[str, Any]) -> None:
    """One line in the audit log, where there is one; without it there is no answer."""
    if audit is None:
        return
    entry = {
        "image_sha256": hashlib.sha256(data).hexdigest(),
        "model": identity,
        "probabilities": answer["probabilities"],
        "decision": answer["decision"],
        "ood_flag": None if answer["ood"] is None else answer["ood"]["flagged"],
    }
    try:
        audit.add(entry)
    except OSError as error:
        log.error("the audit log cannot be written: %s", error.strerror)
        raise Problem(503, "audit", "the audit log cannot be written", Retry_After="60") from None
