"""The server as a process: what only sockets and signals show."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from lesionlab.deployment import server_run
from lesionlab.deployment.server_run import ServeSettings, build, configuration


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def port(bundle_folder: Path) -> Iterator[int]:
    patch = pytest.MonkeyPatch()
    patch.setattr(server_run, "HEADER_SECONDS", 0.8)
    settings = ServeSettings(port=free_port(), workers=1, max_body_mb=1)
    app, _ = build([bundle_folder], settings)
    app.rules = dataclasses.replace(app.rules, body_seconds=0.8)  # type: ignore[attr-defined]
    running = uvicorn.Server(configuration(app, settings))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield settings.port
    running.should_exit = True
    thread.join(20)
    patch.undo()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as made:
        yield made


def answered(made: socket.socket) -> str:
    """One whole answer, or all that comes until the server closes."""
    text = b""
    while not whole(text):
        piece = made.recv(65_536)
        if not piece:
            break
        text += piece
    return text.decode("latin-1")


def whole(text: bytes) -> bool:
    head, end, body = text.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and len(body) >= (int(length.group(1)) if length else 0)


def raw(port: int, *lines: str, body: bytes = b"") -> str:
    with connected(port) as made:
        head = "\r\n".join([*lines[:1], f"Host: 127.0.0.1:{port}", *lines[1:], "", ""])
        made.sendall(head.encode() + body)
        return answered(made)


POST = "POST /v1/predict HTTP/1.1"


@pytest.mark.parametrize("length", ["-5", "1e3", "5, 6", "99999999999999999999999"])
def test_34_lengths(port: int, length: str) -> None:
    assert raw(port, POST, f"Content-Length: {length}").startswith("HTTP/1.1 400")


def test_34_four_gigabytes_are_refused_from_the_header(port: int) -> None:
    assert raw(port, POST, f"Content-Length: {4 * 2**30}").startswith("HTTP/1.1 413")


def test_37_ten_thousand_headers(port: int) -> None:
    lines = [f"X-{n}: 1" for n in range(10_000)]
    assert raw(port, "GET /health/live HTTP/1.1", *lines).startswith("HTTP/1.1 400")


@pytest.mark.parametrize("line", ["\0\1\2", "GARBAGE", "GET  / HTTP/1.1"])
def test_no_http_at_all(port: int, line: str) -> None:
    assert raw(port, line).startswith("HTTP/1.1 400")


def test_headers_that_trickle_are_cut_off(port: int) -> None:
    with connected(port) as made:
        made.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127")
        started = time.monotonic()
        made.settimeout(10)
        assert made.recv(100) == b""
        assert time.monotonic() - started < 8


def test_35_a_trickle_is_cut_off_long_before_the_time_is_over(port: int) -> None:
    head = f"{POST}\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 500000\r\n"
    with connected(port) as made:
        made.sendall((head + "Content-Type: image/png\r\n\r\n").encode() + b"x" * 100)
        answer = answered(made)
    assert answer.startswith("HTTP/1.1 408")


def test_35_a_body_that_trickles_is_cut_off(port: int) -> None:
    with connected(port) as made:
        head = f"{POST}\r\nHost: 127.0.0.1:{port}\r\nContent-Type: image/png\r\n"
        made.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        with contextlib.suppress(OSError):
            for _ in range(15):
                made.sendall(b"1\r\nx\r\n")
                time.sleep(0.1)
        assert answered(made).startswith("HTTP/1.1 408")


def test_two_requests_on_one_connection(port: int) -> None:
    with connected(port) as made:
        for _ in range(2):
            made.sendall(f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert answered(made).startswith("HTTP/1.1 200")


def test_it_says_nothing_about_itself(port: int) -> None:
    assert "server:" not in httpx.get(f"http://127.0.0.1:{port}/").headers


def test_both_framings_at_once_are_refused(port: int) -> None:
    """A proxy that believes the one and a server that believes the other see two requests."""
    lines = ("Content-Length: 4", "Transfer-Encoding: chunked", "Content-Type: image/png")
    assert raw(port, POST, *lines, body=b"0\r\n\r\n").startswith("HTTP/1.1 400")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length : 5",),
        ("Host: 127.0.0.1",),
    ],
)
def test_headers_that_can_be_read_in_two_ways(port: int, lines: tuple[str, ...]) -> None:
    head = raw(port, POST, *lines, body=b"0\r\n\r\n").split("\r\n", 1)[0]
    assert head.split(" ")[1] in ("400", "403", "501")


def test_what_is_no_http_gets_a_problem_too(port: int) -> None:
    answer = raw(port, "GARBAGE")
    assert "application/problem+json" in answer
    assert "nosniff" in answer


def test_a_client_that_never_reads_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_run, "WRITE_SECONDS", 0.5)
    line = f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(20)
        made.connect(("127.0.0.1", port))
        with pytest.raises(ConnectionError):
            made.sendall(line * 100_000)
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200


def test_43_too_many_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_run, "CONNECTIONS", 3)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connected(port)) for _ in range(6)]
        time.sleep(0.1)
        line = f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        said = []
        for made in held:
            with contextlib.suppress(OSError):
                made.sendall(line)
                said.append(answered(made))
    assert any(a.startswith("HTTP/1.1 200") for a in said)
    refused = [a for a in said if a.startswith("HTTP/1.1 503")]
    assert refused
    assert all("retry-after" in a.lower() for a in refused)
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200


def inside(url: str) -> float:
    """Images that wait or run."""
    text = httpx.get(f"{url}/metrics", timeout=60).text
    found = re.search(r"^lesionlab_images_inside (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found.group(1))


@pytest.mark.slow
def test_sigterm_drains_and_the_next_start_is_ready(
    bundle_folder: Path, tmp_path: Path, tiny: Any
) -> None:
    port, stream = free_port(), io.BytesIO()
    big = tiny.picture("nv", np.random.default_rng(0), 2000)
    big.save(stream, "PNG")
    command = [sys.executable, "-m", "lesionlab", "serve", str(bundle_folder), "--json"]
    command += ["--port", str(port), "--audit", str(tmp_path / "audit.jsonl")]
    for how in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["models"] == ["tiny"]
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health/ready", timeout=60).status_code == 200:
                    break
            time.sleep(0.05)
        statuses: list[int] = []

        def ask(url: str = url, into: list[int] = statuses) -> None:
            headers = {"content-type": "image/png"}
            with contextlib.suppress(httpx.HTTPError):
                got = httpx.post(
                    f"{url}/v1/predict", content=stream.getvalue(), headers=headers, timeout=60
                )
                into.append(got.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        while not statuses and inside(url) == 0:  # until the request is under way
            time.sleep(0.005)
        os.kill(process.pid, how)
        asking.join(30)
        process.wait(30)
        if how is signal.SIGTERM:
            assert statuses == [200]
