"""Uvicorn, set up for one process: a header timer, small limits, a drain on SIGTERM."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lesionlab.deployment.http_errors import PROBLEM, Problem
from lesionlab.deployment.server import AppState, create_app
from lesionlab.deployment.server_audit import AuditLog
from lesionlab.deployment.server_gate import Gate
from lesionlab.deployment.server_guard import App, Rules, send_problem
from lesionlab.deployment.server_metrics import Metrics
from lesionlab.deployment.server_models import Models
from lesionlab.deployment.server_schema import ServerLimits
from lesionlab.errors import BadInput
from lesionlab.platforms import usable_cpus

TOKEN_VARIABLE = "LESIONLAB_TOKEN"  # noqa: S105 (the name of a variable)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADER_SECONDS = 10.0
WRITE_SECONDS = 30.0  # for a client to take what waits for it
HEADER_BYTES = 32 * 1024
DRAIN_SECONDS = 30
CONNECTIONS = 512  # answered; those above are told to come back, and cut off at twice as many


@dataclass(frozen=True)
class ServeSettings:
    """How to serve. `token` is asked of every request to /v1 and /metrics where given."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 0  # 0: one a core
    queue: int = 32  # images that may wait
    max_body_mb: int = 20
    token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    audit: Path | None = None
    key: Path | None = None  # public key that must have signed every bundle


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol with limits on who may wait for what, and its refusals as problems."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > 2 * CONNECTIONS:
            transport.abort()
        elif len(self.connections) > CONNECTIONS:
            self.app = too_many
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        elif not busy and self._header_timer is None:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._header_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes its answers slowly: not for ever."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem document like every other refusal."""
        problem = Problem(400, "http", "malformed HTTP request")
        body = problem.body()
        headers = [
            (b"content-type", PROBLEM.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            events = (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._header_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


async def too_many(_: Any, __: Any, send: Any) -> None:
    """The application of a connection above the limit."""
    await send_problem(
        Problem(503, "connections", "too many connections: try again later", Retry_After="5"), send
    )


def read_token(path: Path | None) -> str | None:
    """The bearer token of a file, else of the environment; None where there is none."""
    token, where = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    if path is not None:
        where = str(path)
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot be read ({error})", where=where) from None
    elif not token:
        return None
    if len(token) < 16:
        raise BadInput(
            "the token is shorter than 16 characters",
            where=where,
            remedy="make one with: openssl rand -hex 32",
        )
    return token


def build(bundles: list[Path], settings: ServeSettings) -> tuple[App, AppState]:
    """The application and what it shares; every bundle is checked and self-tested first."""
    exposed = settings.host not in LOOPBACK
    if exposed and settings.token is None:
        raise BadInput(
            f"{settings.host} can be reached from other machines",
            where="--host",
            remedy="give --token-file, or serve on 127.0.0.1 behind a reverse proxy",
        )
    hosts = {*LOOPBACK, *(h.lower() for h in settings.allow_hosts)}
    hosts |= {settings.host.lower()} if settings.host not in ("0.0.0.0", "::") else set()  # noqa: S104
    token = settings.token
    rules = Rules(
        hosts=frozenset(hosts),
        token_sha256=None if token is None else hashlib.sha256(token.encode()).hexdigest(),
        max_body=settings.max_body_mb * 2**20,
    )
    workers = settings.workers or usable_cpus()
    state = AppState(
        models=Models(bundles, settings.key),
        gate=Gate(workers, settings.queue),
        metrics=Metrics(),
        limits=ServerLimits(workers=workers, queue=settings.queue),
        audit=None if settings.audit is None else AuditLog(settings.audit),
    )
    return create_app(state, rules), state


def configuration(app: App, settings: ServeSettings) -> uvicorn.Config:
    """Uvicorn's settings: no access log (it would hold addresses), no server header."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        backlog=256,
    )


def run_server(app: App, settings: ServeSettings) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run are finished first."""
    uvicorn.Server(configuration(app, settings)).run()
