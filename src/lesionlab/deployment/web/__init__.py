"""The page at `/`: the same files for the server and for the static folder.

Files of `web/` make the page; those of `web/browser/` compute the answer in a browser and are
only part of the static folder.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
ENGINE = "engine.js"  # what app.js imports
SERVER_ENGINE = "engine_http.js"
BROWSER_ENGINE = "engine_onnx.js"


@cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """name -> (content, media type) of the page as a server shows it."""
    found = {
        name: (content, KINDS["." + name.rsplit(".", 1)[-1]]) for name, content in _read().items()
    }
    found[ENGINE] = found.pop(SERVER_ENGINE)
    return found


def static_files() -> dict[str, bytes]:
    """Relative path -> content of the page as a static folder, without bundle and libraries."""
    own, inner = _read(), _read("browser")
    own.pop(SERVER_ENGINE)
    inner[ENGINE] = inner.pop(BROWSER_ENGINE)
    at_root = {"index.html": own.pop("index.html"), "sw.js": inner.pop("sw.js")}
    return {**at_root, **{f"page/{n}": c for n, c in {**own, **inner}.items()}}


def _read(*below: str) -> dict[str, bytes]:
    folder = resources.files(__package__).joinpath(*below)
    suffixes = tuple(KINDS)
    return {e.name: e.read_bytes() for e in folder.iterdir() if e.name.endswith(suffixes)}
