"""Tokens, bundles swapped while it serves, the audit log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.serving import client, post, refused
from lesionlab.api.serve import serve
from lesionlab.deployment.server_audit import AuditLog, read_audit
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.errors import BadInput


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
    app, state = build([bundle_folder], ServeSettings(workers=1, token=token))
    headers = {"authorization": f"Bearer {token}"}
    with caplog.at_level("DEBUG"), client(app) as web:
        said = [post(web, good, headers={"authorization": f"Bearer {token[:-1]}x"}).text]
        said += [
            web.get(p, headers=headers).text for p in ("/metrics", "/openapi.json", "/v1/models")
        ]
        said += [post(web, b"broken", headers=headers).text, caplog.text, repr(state)]
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
    app, state = build([folder], ServeSettings(workers=1))
    swaps: list[bool] = []
    with client(app) as web:
        before = post(web, good).json()
        (folder / "model.onnx").write_bytes(b"broken")
        state.models.refresh(lambda _, ok: swaps.append(ok))
        assert post(web, good).json()["identity"] == before["identity"]
        make_bundle(tmp_path / "new", temperature=3.0)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "new", folder)
        state.models.refresh(lambda _, ok: swaps.append(ok))
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
    first = AuditLog(log)
    first.add({"a": 1})
    with pytest.raises(BadInput, match="another server is writing to it"):
        AuditLog(log)
    first.close()
    with log.open("a") as stream:
        stream.write('{"schema_version": 1, "n": 2, "to')  # torn
    second = AuditLog(log)
    second.add({"a": 2})
    second.close()
    assert [line["a"] for line in read_audit(log)] == [1, 2]


def test_without_its_audit_log_there_is_no_answer(
    bundle_folder: Path, tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, state = build([bundle_folder], ServeSettings(workers=1, audit=tmp_path / "audit.jsonl"))
    assert state.audit is not None
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
    app, state = build([folder], ServeSettings(workers=1))
    swaps: list[bool] = []
    with client(app) as web:
        os.utime(folder / "bundle.json", (1, 1))
        monkeypatch.setattr("lesionlab.deployment.server_models.read_bundle", lambda _: 1 / 0)
        state.models.refresh(lambda _, ok: swaps.append(ok))
        assert post(web, good).status_code == 200
    assert swaps == [False]
