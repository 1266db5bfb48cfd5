"""What the server answers, and what it says of itself."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from helpers.serving import encoded, post, refused
from lesionlab.api.predict import predict


def test_the_same_answer_as_the_command_line(
    web: TestClient, good: bytes, bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(good)
    wanted = predict(bundle_folder, tmp_path / "a.png")["predictions"][0]
    said = post(web, good).json()["predictions"][0]
    shared = set(said) & set(wanted)
    assert {"probabilities", "decision", "conformal", "ood", "similar", "logits"} <= shared
    for key in sorted(shared):
        alike(said[key], wanted[key], key)


def alike(said: Any, wanted: Any, where: str) -> None:
    """The same values throughout; numbers up to the rounding of another number of threads."""
    if isinstance(wanted, float):
        assert said == pytest.approx(wanted, rel=1e-5, abs=1e-6), where
    elif isinstance(wanted, dict | list | tuple):
        keys = list(wanted) if isinstance(wanted, dict) else range(len(wanted))
        assert len(said) == len(wanted), where
        for key in keys:
            alike(said[key], wanted[key], f"{where}.{key}")
    else:
        assert said == wanted, where


def test_several_files_and_a_bad_one(web: TestClient, good: bytes) -> None:
    files = [("image", ("a.png", good)), ("image", ("b.png", b"")), ("image", ("c.png", good))]
    answer = web.post("/v1/predict?heatmap=true", files=files)
    assert answer.status_code == 200
    said = answer.json()["predictions"]
    assert [p["name"] for p in said] == ["a.png", "b.png", "c.png"]
    assert [p["status"] for p in said] == [200, 422, 200]
    assert np.array(said[0]["cam"]["mel"]).shape == (16, 16)


def test_json_with_base64(web: TestClient, good: bytes) -> None:
    body = {"images": [{"name": "a", "data": base64.b64encode(good).decode()}]}
    said = web.post("/v1/predict", json=body).json()
    assert said["predictions"][0]["probabilities"] == pytest.approx(
        post(web, good).json()["predictions"][0]["probabilities"]
    )


@pytest.mark.parametrize("way", ["data URI", "in lines", "for URLs", "without padding"])
def test_base64_as_people_have_it(web: TestClient, good: bytes, way: str) -> None:
    text = base64.b64encode(good).decode()
    sent = {
        "data URI": f" data:image/png;charset=x;base64,{text}",
        "in lines": base64.encodebytes(good).decode().replace("\n", "\r\n"),
        "for URLs": base64.urlsafe_b64encode(good).decode(),
        "without padding": text.rstrip("="),
    }[way]
    said = web.post("/v1/predict", json={"images": [{"name": "a", "data": sent}]}).json()
    wanted = post(web, good).json()["predictions"][0]["probabilities"]
    assert said["predictions"][0]["probabilities"] == pytest.approx(wanted)


@pytest.mark.parametrize("data", ["data:image/png,%89PNG", "data:;base64,***", "a photograph!"])
def test_what_is_no_base64_is_refused(web: TestClient, data: str) -> None:
    answer = web.post("/v1/predict", json={"images": [{"name": "a", "data": data}]})
    refused(answer, 400, "json")
    assert "base64" in answer.text


@pytest.mark.parametrize("abstain", ["none", "ood", "ood_or_set"])
def test_each_abstention(web: TestClient, good: bytes, abstain: str) -> None:
    assert post(web, good, params={"abstain": abstain}).status_code == 200


def test_a_region_is_cut_out(web: TestClient, good: bytes) -> None:
    roi = {"roi_x": "10", "roi_y": "10", "roi_size": "12"}
    whole, part = post(web, good), post(web, good, params=roi)
    assert whole.json()["predictions"][0]["logits"] != part.json()["predictions"][0]["logits"]


def test_other_methods_and_pages(web: TestClient) -> None:
    refused(web.put("/v1/predict"), 405)
    refused(web.get("/absent"), 404)
    refused(web.get("/docs"), 404)


def test_health_models_metrics(web: TestClient, good: bytes) -> None:
    assert web.get("/health/live").json() == {"status": "live"}
    assert web.get("/health/ready").json() == {"status": "ready"}
    models = web.get("/v1/models").json()["models"]
    assert [m["id"] for m in models] == ["tiny"]
    assert models[0] == web.get("/v1/models/tiny").json()
    assert "Research use only" in models[0]["card"]
    post(web, good)
    refused(post(web, good, headers={"origin": "https://elsewhere.example"}), 403)
    text = web.get("/metrics").text
    for name in ("queue", "decode", "inference"):
        assert f'lesionlab_seconds_count{{phase="{name}"}}' in text
    assert 'lesionlab_rejects_total{reason="origin"}' in text


def test_every_answer_has_the_security_headers(web: TestClient) -> None:
    for path in ("/", "/v1/models", "/absent"):
        headers = web.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_names_are_given_back_and_not_run(web: TestClient, good: bytes) -> None:
    """55: the answer is JSON, never HTML; the page writes names as text."""
    name = "<img src=x onerror=alert(1)>.png"
    answer = web.post("/v1/predict", files=[("image", (name, good))])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["predictions"][0]["name"] == name


def test_nothing_is_written_anywhere(
    web: TestClient, good: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No spool file, no log line with a name: an upload leaves no trace."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was asked for")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    large = encoded(Image.fromarray(noise))  # 750 kB: more than a spooled part may keep
    with caplog.at_level("DEBUG"):
        files = [("image", ("secret-patient.png", large))]
        assert web.post("/v1/predict", files=files).status_code == 200
        web.post("/v1/predict", files=[("image", ("secret-patient.png", b"broken"))])
    ours = [r for r in caplog.records if not r.name.startswith("httpx")]
    assert not [r for r in ours if "secret-patient" in r.getMessage()]


def test_the_description_is_served_and_complete(web: TestClient) -> None:
    described = web.get("/openapi.json").json()
    assert set(described["paths"]) >= {"/v1/predict", "/v1/models", "/health/live", "/metrics"}
    assert "ProblemShape" in described["components"]["schemas"]
    json.dumps(described)
