"""The server's answers and refusals (facts: HTTP 34-44, images 1-14, faults 29)."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lesionlab.api.predict import predict
from lesionlab.api.serve import serve
from lesionlab.deployment.server import House
from lesionlab.deployment.server_audit import Audit, read_audit
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.errors import BadInput

HOST = "127.0.0.1:8000"


def client(app: Any) -> TestClient:
    return TestClient(app, base_url=f"http://{HOST}")


@pytest.fixture(scope="module")
def served(bundle_folder: Path) -> Iterator[tuple[TestClient, House]]:
    app, house = build([bundle_folder], ServeSettings(workers=2, queue=6, max_body_mb=1))
    with client(app) as talking:
        yield talking, house


@pytest.fixture
def web(served: tuple[TestClient, House]) -> TestClient:
    return served[0]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def good(tiny: Any) -> bytes:
    return encoded(tiny.picture("mel", np.random.default_rng(3), 40))


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


def test_the_same_answer_as_the_command_line(
    web: TestClient, good: bytes, bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(good)
    wanted = predict(bundle_folder, tmp_path / "a.png")["predictions"][0]
    said = post(web, good).json()["predictions"][0]
    for key in ("probabilities", "decision", "conformal", "ood", "similar", "logits"):
        assert said[key] == pytest.approx(wanted[key]) if key == "logits" else said[key], key
    assert said["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)
    assert said["decision"]["positive"] == wanted["decision"]["positive"]


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


@pytest.mark.parametrize("abstain", ["none", "ood", "ood_or_set"])
def test_each_abstention(web: TestClient, good: bytes, abstain: str) -> None:
    assert post(web, good, params={"abstain": abstain}).status_code == 200


def header_of(png: bytes, side: int) -> bytes:
    """A PNG whose header claims side x side pixels, with a checksum that fits."""
    head = png[12:16] + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4, "big") + png[33:]


def picture_files(tmp: Any = None) -> dict[str, tuple[bytes, int]]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    huge = bytearray(encoded(image, "BMP"))
    huge[18:26] = (50_000).to_bytes(4, "little") * 2
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 0.0, 0.0)}
    return {
        "1 empty": (b"", 422),
        "2 text": (b"this is no image", 415),
        "3 truncated": (encoded(image, "JPEG")[:-200], 422),
        "4 50,000 x 50,000": (bytes(huge), 413),
        "5 tiny file, huge dimensions": (header_of(encoded(image, "PNG"), 30_000), 413),
        "6 PDF": (b"%PDF-1.4 ...", 415),
        "6 SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        "6 FITS": (b"SIMPLE  =                    T" + b" " * 2850, 415),
        "6 PSD": (b"8BPS\0\1" + b"\0" * 40, 415),
        "7 animated": (
            encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
            422,
        ),
        "7 pages": (encoded(image, "TIFF", save_all=True, append_images=[image]), 422),
        "8 16-bit": (encoded(Image.fromarray(np.full((40, 40), 40_000, np.uint16)), "PNG"), 200),
        "9 CMYK": (encoded(image.convert("CMYK"), "JPEG"), 200),
        "9 palette": (encoded(image.convert("P"), "PNG"), 200),
        "9 alpha": (encoded(image.convert("RGBA"), "PNG"), 200),
        "11 GPS": (encoded(image, "JPEG", exif=exif), 200),
        "12 one pixel": (encoded(image.resize((1, 1)), "PNG"), 422),
        "12 extreme": (encoded(image.resize((2000, 10)), "PNG"), 422),
        "13 blank": (encoded(Image.new("RGB", (40, 40), "white"), "PNG"), 200),
        "14 polyglot": (encoded(image, "JPEG") + b"<script>alert(1)</script>", 200),
    }


@pytest.mark.parametrize("case", picture_files())
def test_images(web: TestClient, case: str) -> None:
    data, status = picture_files()[case]
    answer = post(web, data)
    if status != 200:
        refused(answer, status, "image")
        return
    assert answer.status_code == 200, answer.text
    assert b"<script>" not in answer.content
    assert answer.headers["x-content-type-options"] == "nosniff"


def dicom(preamble: bytes = bytes(128), syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> bytes:
    """A DICOM file of 40 x 40 greys that names a person, with changes."""
    pydicom = pytest.importorskip("pydicom")
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = pydicom.uid.UID(syntax)
    head.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    head.MediaStorageSOPInstanceUID = "1.2.3"
    stored = pydicom.dataset.FileDataset("a", {}, file_meta=head, preamble=preamble)
    values = {"Rows": 40, "Columns": 40, "SamplesPerPixel": 1, "BitsAllocated": 8}
    values |= {"BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    values |= {"PhotometricInterpretation": "MONOCHROME2", "PatientName": "Secret^Name"}
    values |= {"PixelData": bytes(range(40)) * 40, **tags}
    for name, value in values.items():
        setattr(stored, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, stored, enforce_file_format=True, implicit_vr=False, little_endian=True
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("case", "changes", "status"),
    [
        ("15 names a person", {}, 200),
        ("16 burned-in text", {"BurnedInAnnotation": "YES"}, 200),
        ("18 absurd dimensions", {"Rows": 60_000, "Columns": 60_000}, 413),
        ("18 wrong bits", {"BitsAllocated": 1}, 422),
        ("18 less data than it says", {"PixelData": b"\0\0"}, 422),
        ("19 unknown transfer syntax", {"syntax": "1.2.3.4.5"}, 422),
        ("20 MONOCHROME1", {"PhotometricInterpretation": "MONOCHROME1"}, 200),
        ("21 program", {"preamble": b"MZ" + bytes(126)}, 415),
        ("21 program", {"preamble": b"\x7fELF" + bytes(124)}, 415),
        ("more than one frame", {"NumberOfFrames": 2}, 422),
    ],
)
def test_dicom(
    web: TestClient,
    case: str,
    changes: dict[str, Any],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = dicom(**changes)
    with caplog.at_level("DEBUG"):
        answer = post(web, data, headers={"content-type": "application/dicom"})
    assert answer.status_code == status, answer.text
    assert "Secret" not in answer.text + caplog.text
    if case == "16 burned-in text":
        assert answer.json()["predictions"][0]["note"] == "text is burned into the image"
    if case == "20 MONOCHROME1":
        plain = post(web, dicom()).json()["predictions"][0]
        assert answer.json()["predictions"][0]["logits"] != plain["logits"]


def test_17_a_dicomdir_that_points_elsewhere(web: TestClient) -> None:
    """A directory of files is no image; nothing that it names is opened."""
    pydicom = pytest.importorskip("pydicom")
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "..", "etc", "passwd"]
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    head.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    head.MediaStorageSOPInstanceUID = "1.2.3"
    stored = pydicom.dataset.FileDataset("DICOMDIR", {}, file_meta=head, preamble=bytes(128))
    stored.DirectoryRecordSequence = [record]
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, stored, enforce_file_format=True, implicit_vr=False, little_endian=True
    )
    refused(post(web, stream.getvalue()), 422, "image")


def test_13_a_blank_image_is_not_like_the_training_images(web: TestClient) -> None:
    said = post(web, encoded(Image.new("RGB", (40, 40), "white"))).json()["predictions"][0]
    assert said["ood"]["flagged"]
    assert said["decision"]["positive"] is None


def test_10_a_turned_image_is_turned_back(web: TestClient, tiny: Any) -> None:
    image = tiny.picture("nv", np.random.default_rng(4), 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(image.rotate(90, expand=True), "PNG", exif=exif)
    plain = post(web, encoded(image)).json()["predictions"][0]["logits"]
    assert post(web, turned).json()["predictions"][0]["logits"] == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("length", ["-1", "1e9", "abc", "+5"])
def test_34_a_length_that_is_no_number(web: TestClient, length: str) -> None:
    refused(post(web, b"", headers={"content-length": length}), 400, "length")


def test_34_four_gigabytes(web: TestClient) -> None:
    refused(post(web, b"", headers={"content-length": str(4 * 2**30)}), 413, "body")


def test_35_chunks_without_end(web: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
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


def test_43_over_capacity(served: tuple[TestClient, House], good: bytes) -> None:
    web, house = served
    with house.gate.place(house.gate.capacity):
        answer = post(web, good)
        refused(answer, 503, "capacity")
        assert int(answer.headers["retry-after"]) >= 1
        assert web.get("/health/live").status_code == 200
    assert post(web, good).status_code == 200
    files = [("image", (f"{n}.png", good)) for n in range(house.gate.capacity + 1)]
    refused(web.post("/v1/predict", files=files), 503, "capacity")
    assert house.gate.inside == 0


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


def test_a_region_is_cut_out(web: TestClient, good: bytes) -> None:
    roi = {"roi_x": "10", "roi_y": "10", "roi_size": "12"}
    whole, part = post(web, good), post(web, good, params=roi)
    assert whole.json()["predictions"][0]["logits"] != part.json()["predictions"][0]["logits"]


def test_too_many_images(web: TestClient, good: bytes) -> None:
    files = [("image", (f"{n}.png", b"x")) for n in range(17)]
    refused(web.post("/v1/predict", files=files), 413, "images")


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


def test_a_bearer_token(bundle_folder: Path, good: bytes) -> None:
    token = "0123456789abcdef"
    app, _ = build([bundle_folder], ServeSettings(workers=1, token=token))
    with client(app) as web:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {token}"}):
            answer = post(web, good, headers=headers)
            refused(answer, 401, "token")
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(web.get("/metrics", headers=headers), 401, "token")
        assert post(web, good, headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert web.get("/health/ready").status_code == 200
        assert web.get("/").status_code == 200


def test_58_a_token_is_never_said(
    bundle_folder: Path, good: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    token = "0123456789abcdef-secret"
    app, house = build([bundle_folder], ServeSettings(workers=1, token=token))
    headers = {"authorization": f"Bearer {token}"}
    with caplog.at_level("DEBUG"), client(app) as web:
        said = [post(web, good, headers={"authorization": f"Bearer {token[:-1]}x"}).text]
        said += [
            web.get(p, headers=headers).text for p in ("/metrics", "/openapi.json", "/v1/models")
        ]
        said += [post(web, b"broken", headers=headers).text, caplog.text, repr(house)]
    assert not [text for text in said if "secret" in text]


def test_an_exposed_address_needs_a_token(bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="give --token-file"):
        build([bundle_folder], ServeSettings(host="0.0.0.0"))
    (tmp_path / "token").write_text("short")
    with pytest.raises(BadInput, match="shorter than 16"):
        serve(bundle_folder, token_file=tmp_path / "token")


def test_two_bundles(
    make_bundle: Callable[..., Any], bundle_folder: Path, tmp_path: Path, good: bytes
) -> None:
    make_bundle(tmp_path / "other.zip", name="the other one")
    app, _ = build([bundle_folder, tmp_path / "other.zip"], ServeSettings(workers=1))
    with client(app) as web:
        assert post(web, good).json()["model"] == "tiny"
        other = post(web, good, params={"model": "the-other-one"})
        assert other.json()["model"] == "the-other-one"
    with pytest.raises(BadInput, match="two bundles are called 'tiny'"):
        build([bundle_folder, bundle_folder], ServeSettings())


def test_a_replaced_bundle_is_swapped_in(
    make_bundle: Callable[..., Any], bundle_folder: Path, tmp_path: Path, good: bytes
) -> None:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "b"))
    app, house = build([folder], ServeSettings(workers=1))
    swaps: list[bool] = []
    with client(app) as web:
        before = post(web, good).json()
        (folder / "model.onnx").write_bytes(b"broken")
        house.models.refresh(lambda _, ok: swaps.append(ok))
        assert post(web, good).json()["identity"] == before["identity"]
        make_bundle(tmp_path / "new", temperature=3.0)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "new", folder)
        house.models.refresh(lambda _, ok: swaps.append(ok))
        after = post(web, good).json()
    assert swaps == [False, True]
    assert after["identity"] != before["identity"]
    assert after["predictions"][0]["probabilities"] != before["predictions"][0]["probabilities"]


def test_the_audit_log_holds_hashes_only(bundle_folder: Path, tmp_path: Path, good: bytes) -> None:
    log = tmp_path / "audit.jsonl"
    for _ in range(2):  # a second server goes on with the chain
        app, _ = build([bundle_folder], ServeSettings(workers=1, audit=log))
        with client(app) as web:
            web.post("/v1/predict", files=[("image", ("secret.png", good))])
    lines = list(read_audit(log))
    assert [line["n"] for line in lines] == [1, 2]
    assert "secret" not in log.read_text()
    altered = log.read_text().replace('"n": 1', '"n": 7')
    log.write_text(altered)
    with pytest.raises(BadInput, match="line 1 does not fit the chain"):
        list(read_audit(log))


def test_the_audit_log_survives_a_power_cut(bundle_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    first = Audit(log)
    first.add({"a": 1})
    with pytest.raises(BadInput, match="another server writes to it"):
        Audit(log)
    first.close()
    with log.open("a") as stream:
        stream.write('{"schema_version": 1, "n": 2, "to')  # torn
    second = Audit(log)
    second.add({"a": 2})
    second.close()
    assert [line["a"] for line in read_audit(log)] == [1, 2]


def test_without_its_audit_log_there_is_no_answer(
    bundle_folder: Path, tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, house = build([bundle_folder], ServeSettings(workers=1, audit=tmp_path / "audit.jsonl"))
    assert house.audit is not None
    with client(app) as web:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
            refused(post(web, good), 503, "audit")
        assert post(web, good).status_code == 200
    assert len(list(read_audit(tmp_path / "audit.jsonl"))) == 1


def test_a_short_token_in_the_environment_is_refused(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLAB_TOKEN", "short")
    with pytest.raises(BadInput, match="LESIONLAB_TOKEN: the token is shorter"):
        serve(bundle_folder)


def test_whatever_a_new_bundle_does_the_old_one_goes_on(
    bundle_folder: Path, tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "b"))
    app, house = build([folder], ServeSettings(workers=1))
    swaps: list[bool] = []
    with client(app) as web:
        os.utime(folder / "bundle.json", (1, 1))
        monkeypatch.setattr("lesionlab.deployment.server_models.read_bundle", lambda _: 1 / 0)
        house.models.refresh(lambda _, ok: swaps.append(ok))
        assert post(web, good).status_code == 200
    assert swaps == [False]


def test_the_description_is_served_and_complete(web: TestClient) -> None:
    described = web.get("/openapi.json").json()
    assert set(described["paths"]) >= {"/v1/predict", "/v1/models", "/health/live", "/metrics"}
    assert "ProblemShape" in described["components"]["schemas"]
    json.dumps(described)
