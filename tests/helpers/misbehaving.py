"""A local HTTP server that does what real ones do on bad days, by a script of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server serves, and how badly. `log` holds (path, headers) of every request."""

    body: bytes = b""
    etag: str = '"v1"'
    ranges: bool = True
    honours_if_range: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which each answer is cut
    claims: int | None = None  # a false Content-Length
    statuses: list[int] = field(default_factory=list)  # errors to give first
    after: Callable[[Site], None] | None = None  # runs after each answer
    redirect: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)  # other paths
    log: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *args: object) -> None:
            return

        def do_GET(self) -> None:
            site.log.append((self.path, dict(self.headers)))
            if site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
                return
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            if self.path in site.pages:
                self._send(200, site.pages[self.path], {})
                return
            if site.pages and self.path != "/f":
                self.send_error(404)
                return
            self._file()
            if site.after:
                site.after(site)

        def _file(self) -> None:
            wanted = self.headers.get("Range", "")
            same = self.headers.get("If-Range") == site.etag or not site.honours_if_range
            headers = {"ETag": site.etag} if site.etag else {}
            if not (wanted and site.ranges and same):
                self._send(200, site.body, headers)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(site.body):
                self.send_error(416)
                return
            headers["Content-Range"] = f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
            self._send(206, site.body[start:], headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            claimed = site.claims if site.claims is not None and status == 200 else len(body)
            self.send_header("Content-Length", str(claimed))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            cut = site.cuts.pop(0) if site.cuts and body is not None else len(body)
            with contextlib.suppress(OSError):
                self.wfile.write(body[:cut])

    return Handler


@contextlib.contextmanager
def served(site: Site) -> Iterator[Site]:
    """Serve `site` on a local port; `site.url` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
