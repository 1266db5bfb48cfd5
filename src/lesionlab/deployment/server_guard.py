"""What every request must pass before the application sees it: plain ASGI, no body is kept.

Host and Origin are checked because a page on another site can make a browser talk to
127.0.0.1 (DNS rebinding, cross-site requests); sizes and times because anybody can send much,
slowly, for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lesionlab.deployment.http_errors import PROBLEM, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEADERS = 100
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
OPEN_PATHS = ("/", "/health/live", "/health/ready")  # and the page's own files


@dataclass(frozen=True)
class Rules:
    """Whom the server talks to, and how much it takes."""

    hosts: frozenset[str]  # names without port, lower case
    token_sha256: str | None = None
    max_body: int = 20 * 2**20  # bytes
    body_seconds: float = 30.0
    grace_seconds: float = 5.0  # after that a body must have come at `least_rate` on average
    least_rate: float = 16 * 1024  # bytes a second


class Guard:
    """Refuses what breaks the `Rules`; adds the security headers to every answer."""

    def __init__(self, app: App, rules: Rules, on_reject: Callable[[str], None]) -> None:
        self.app = app
        self.rules = rules
        self.on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {name.lower() for name, _ in message.get("headers", [])}
                extra = [(k.encode(), v.encode()) for k, v in SECURITY.items()]
                message["headers"] = [
                    *message.get("headers", []),
                    *((k, v) for k, v in extra if k not in own),
                ]
            await send(message)

        try:
            check_head(scope, self.rules)
            await self.app(scope, Body(scope, receive, self.rules), sending)
        except Problem as problem:
            self.on_reject(problem.code)
            if started:
                raise
            await send_problem(problem, sending)


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer with the problem document and close: what is left of the body is not read."""
    body = problem.body()
    headers = {
        "content-type": PROBLEM,
        "content-length": str(len(body)),
        **{k.lower(): v for k, v in problem.headers.items()},
    }
    if problem.status in (400, 408, 413, 415) or problem.code == "connections":
        headers["connection"] = "close"
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def check_head(scope: Scope, rules: Rules) -> None:
    """Raise `Problem` for a request that its first lines condemn."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    if len(scope["headers"]) > MAX_HEADERS:
        raise Problem(400, "headers", f"more than {MAX_HEADERS} headers")
    _check_host(headers, rules)
    if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
        _check_origin(headers)
    ranges = ",".join(headers.get("range", []))
    if "," in ranges:
        raise Problem(416, "range", "more than one range")
    encoding = headers.get("content-encoding", ["identity"])
    if any(e.strip().lower() not in ("", "identity") for e in encoding):
        raise Problem(415, "encoding", "a compressed body is not accepted: send the image itself")
    _check_length(headers, rules)
    _check_token(scope, headers, rules)


def _check_host(headers: dict[str, list[str]], rules: Rules) -> None:
    given = headers.get("host", [])
    if len(given) != 1 or _name(given[0]) not in rules.hosts:
        raise Problem(403, "host", "this host name is not allowed (see --allow-host)")


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" where it is none."""
    match = HOST.fullmatch(host)
    return match.group(1).strip("[]").lower() if match else ""


def _check_origin(headers: dict[str, list[str]]) -> None:
    site = headers.get("sec-fetch-site", ["same-origin"])
    origin = headers.get("origin")
    same = origin is None or (
        len(origin) == 1 and urlsplit_netloc(origin[0]) == headers["host"][0].lower()
    )
    if not same or any(s not in ("same-origin", "none") for s in site):
        raise Problem(403, "origin", "requests from pages of another origin are not allowed")


def urlsplit_netloc(origin: str) -> str:
    """`host:port` of an Origin header; "" for "null" and nonsense."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _check_length(headers: dict[str, list[str]], rules: Rules) -> None:
    if "content-length" in headers and "transfer-encoding" in headers:
        # Two readers that disagree on where a request ends can be told two stories (RFC 9112, 6.1).
        raise Problem(400, "length", "both Content-Length and Transfer-Encoding")
    for text in headers.get("content-length", []):
        if not text.isascii() or not text.isdigit():
            raise Problem(400, "length", "Content-Length is not a number")
        if int(text[:20]) > rules.max_body:
            raise Problem(413, "body", f"more than {rules.max_body} bytes")


def _check_token(scope: Scope, headers: dict[str, list[str]], rules: Rules) -> None:
    path = scope["path"]
    if rules.token_sha256 is None or path in OPEN_PATHS or path.startswith("/page/"):
        return
    given = headers.get("authorization", [""])[0]
    kind, _, token = given.partition(" ")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    if kind.lower() != "bearer" or not hmac.compare_digest(digest, rules.token_sha256):
        raise Problem(401, "token", "a bearer token is required", WWW_Authenticate="Bearer")


class Body:
    """`receive` with a cap on bytes and on time: a body without end, or a trickle, is cut off."""

    def __init__(self, scope: Scope, receive: Receive, rules: Rules) -> None:
        self._receive = receive
        self._rules = rules
        self._bytes = 0
        self._complete = False
        self._started = asyncio.get_running_loop().time()

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the client to hang up
        seconds = self.allowance()
        try:
            async with asyncio.timeout_at(self._started + seconds):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                408, "slow", f"the body is too slow: {self._bytes} bytes within {seconds:.1f} s"
            ) from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._bytes > self._rules.max_body:
                raise Problem(413, "body", f"more than {self._rules.max_body} bytes")
        return message

    def allowance(self) -> float:
        """Seconds from the start by which the next piece must be there."""
        rules = self._rules
        return min(rules.body_seconds, rules.grace_seconds + self._bytes / rules.least_rate)
