"""Talking to the server as a client would."""

from __future__ import annotations

import io
from typing import Any

import httpx
from PIL import Image
from starlette.testclient import TestClient

HOST = "127.0.0.1:8000"


def client(app: Any) -> TestClient:
    return TestClient(app, base_url=f"http://{HOST}")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def post(web: TestClient, data: bytes, **more: Any) -> httpx.Response:
    headers = {"content-type": "application/octet-stream", **more.pop("headers", {})}
    return web.post("/v1/predict", content=data, headers=headers, **more)


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert "\n" not in problem["detail"]
    assert code in (None, problem["code"])
    return problem
