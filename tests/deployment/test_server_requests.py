"""Requests that are refused (bad inputs 34 to 44)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from helpers.serving import HOST, post, refused
from lesionlab.deployment.server import AppState


@pytest.mark.parametrize("length", ["-1", "1e9", "abc", "+5"])
def test_34_a_length_that_is_no_number(web: TestClient, length: str) -> None:
    refused(post(web, b"", headers={"content-length": length}), 400, "length")


def test_34_four_gigabytes(web: TestClient) -> None:
    refused(post(web, b"", headers={"content-length": str(4 * 2**30)}), 413, "body")


def test_35_chunks_without_end(web: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 65_536

    answer = web.post(
        "/v1/predict", content=endless(), headers={"content-type": "application/octet-stream"}
    )
    refused(answer, 413, "body")


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "br"])
def test_36_a_compressed_body(web: TestClient, encoding: str) -> None:
    refused(post(web, b"\x1f\x8b", headers={"content-encoding": encoding}), 415, "encoding")


def test_37_ten_thousand_parts(web: TestClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n\r\n'
    body = part * 10_000 + b"--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(post(web, body, headers=headers), 400, "parts")


def test_37_ten_thousand_headers(web: TestClient) -> None:
    headers = {f"x-{n}": "1" for n in range(10_000)}
    refused(web.get("/health/live", headers=headers), 400, "headers")


def test_37_a_part_with_endless_headers(web: TestClient) -> None:
    body = b"--x\r\n" + b"a: b\r\n" * 100 + b"\r\n\r\n--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(post(web, body, headers=headers), 400)


def test_38_a_flood_of_ranges(web: TestClient) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(1000))
    refused(web.get("/", headers={"range": ranges}), 416, "range")
    assert web.get("/", headers={"range": "bytes=0-1"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "", "[", "evil:8000"),
        *("x@127.0.0.1", "127.0.0.1/evil", "127.0.0.1:8000@evil", "127.0.0.1#", "127.0.0.1:"),
    ],
)
def test_39_a_foreign_host(web: TestClient, host: str) -> None:
    refused(web.get("/v1/models", headers={"host": host}), 403, "host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8000"])
def test_39_our_own_names(web: TestClient, host: str) -> None:
    assert web.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "file://"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_40_another_origin(web: TestClient, good: bytes, headers: dict[str, str]) -> None:
    refused(post(web, good, headers=headers), 403, "origin")


def test_40_our_own_origin_and_no_cors(web: TestClient, good: bytes) -> None:
    answer = post(web, good, headers={"origin": f"http://{HOST}"})
    assert answer.status_code == 200
    assert not [h for h in answer.headers if h.startswith("access-control")]
    asked = web.options("/v1/predict", headers={"access-control-request-method": "POST"})
    assert asked.status_code == 405


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "%2e%2e", "absent", "tiny%00", "a" * 5000])
def test_41_a_model_that_is_not_there(web: TestClient, name: str) -> None:
    refused(web.get(f"/v1/models/{name}"), 404)
    refused(web.get(f"/page/{name}"), 404)


def test_41_predict_with_an_unknown_model(web: TestClient, good: bytes) -> None:
    refused(post(web, good, params={"model": "../tiny"}), 404, "model")


def test_42_prediction_by_url_is_off(web: TestClient) -> None:
    for body in ({"url": "http://169.254.169.254/"}, {"images": [{"url": "file:///etc/passwd"}]}):
        assert "URL is off" in refused(web.post("/v1/predict", json=body), 400, "field")["detail"]
    form = b'--x\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttp://a\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(post(web, form, headers=headers), 400, "field")
    refused(web.post("/v1/predict", data={"url": "http://a"}), 415, "kind")


def test_43_over_capacity(served: tuple[TestClient, AppState], good: bytes) -> None:
    web, state = served
    with state.gate.admit(state.gate.capacity):
        answer = post(web, good)
        refused(answer, 503, "capacity")
        assert int(answer.headers["retry-after"]) >= 1
        assert web.get("/health/live").status_code == 200
    assert post(web, good).status_code == 200
    files = [("image", (f"{n}.png", good)) for n in range(state.gate.capacity + 1)]
    refused(web.post("/v1/predict", files=files), 503, "capacity")
    assert state.gate.inside == 0


@pytest.mark.parametrize(
    "body",
    [
        '{"images": [{"data": NaN}]}',
        "[" * 200_000,
        "{",
        "[]",
        "3",
        '{"images": {}}',
        '{"images": [3]}',
        '{"images": [{"data": "!"}]}',
        '{"images": [{"data": ""}], "x": 1}',
    ],
)
def test_44_json_that_is_wrong(web: TestClient, body: str) -> None:
    headers = {"content-type": "application/json"}
    refused(web.post("/v1/predict", content=body, headers=headers), 400, "json")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"x", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"garbage", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
            400,
        ),
        ("application/json", b'{"images": []}', 400),
    ],
)
def test_bodies_that_are_wrong(web: TestClient, kind: str, body: bytes, status: int) -> None:
    refused(post(web, body, headers={"content-type": kind}), status)


@pytest.mark.parametrize(
    "query",
    [
        "operating_point=absent",
        "abstain=maybe",
        "heatmap=perhaps",
        "roi_x=1",
        "roi_x=nan&roi_y=1&roi_size=1",
        "roi_x=1&roi_y=1&roi_size=-1",
    ],
)
def test_queries_that_are_wrong(web: TestClient, good: bytes, query: str) -> None:
    refused(post(web, good, params=dict(p.split("=") for p in query.split("&"))), 400)


def test_too_many_images(web: TestClient, good: bytes) -> None:
    files = [("image", (f"{n}.png", b"x")) for n in range(17)]
    refused(web.post("/v1/predict", files=files), 413, "images")
