"""Fetching a file that is whole and unchanged, over a connection that is neither.

A download goes into a part file beside the target, resumes with a range request that is bound
to the version first seen (If-Range), is checked by size and hash, and is moved into place last.
"""

from __future__ import annotations

import http.client
import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionlab import __version__, files, platforms
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

CHUNK = 1 << 20  # progress counts in MiB
ATTEMPTS = 6  # without a new byte in between
RESTARTS = 3  # of a file that changes while it is being fetched
TIMEOUT = 60.0


@dataclass(frozen=True)
class Remote:
    """A file to fetch. `size` in bytes and `sha256` are checked where they are known."""

    url: str
    name: str
    size: int | None = None
    sha256: str = ""


@dataclass
class _State:
    """What the part file holds a piece of; `tag` is the server's name for this version."""

    url: str
    tag: str = ""
    size: int | None = None


class _Changed(Exception):
    """The server has another version than the one that was begun."""


def fetch(
    remote: Remote,
    folder: Path,
    *,
    headers: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
    pause: Callable[[float], None] = time.sleep,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch `remote` into `folder` and return its path; a whole file there already is kept.

    Cut connections, time-outs and server errors (5xx, 429) are retried with growing pauses, from
    the byte reached. Raises `BadInput` where the server refuses (4xx), lies about the length,
    keeps changing the file, where the hash differs, or where the disk is too small.
    """
    target = folder / remote.name
    if target.exists() and _is_whole(target, remote):
        return target
    part = target.with_name(f".{target.name}.part")
    note = target.with_name(f".{target.name}.part.json")
    state = _remembered(note, remote.url, part)
    failures = restarts = 0
    while True:
        before = _length(part)
        try:
            _receive(remote, part, note, state, headers or {}, progress, timeout)
            break
        except _Changed:
            restarts += 1
            if restarts > RESTARTS:
                raise _failed(remote, "the file changed during the download") from None
            part.unlink(missing_ok=True)
            state = _State(remote.url)
        except (OSError, http.client.HTTPException) as error:
            failures = 0 if _length(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise _failed(remote, _reason(error)) from None
            pause(min(2.0**failures, 30.0))
    _check(remote, part, state)
    platforms.replace(part, target)
    platforms.sync_folder(folder)
    note.unlink(missing_ok=True)
    return target


def _is_whole(target: Path, remote: Remote) -> bool:
    if remote.sha256:
        return files.sha256_file(target) == remote.sha256
    return remote.size is None or target.stat().st_size == remote.size


def _remembered(note: Path, url: str, part: Path) -> _State:
    """The state of an earlier try; a part without a version cannot be trusted and goes."""
    try:
        state = _State(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        state = _State(url)
    if state.url != url or not state.tag:
        part.unlink(missing_ok=True)
        return _State(url)
    return state


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(
    remote: Remote,
    part: Path,
    note: Path,
    state: _State,
    headers: Mapping[str, str],
    progress: Progress,
    timeout: float,
) -> None:
    """One request: append what comes to the part file. Raises where it ends too early."""
    done = _length(part) if state.tag else 0  # without a version there is nothing to go on with
    if done and done == (remote.size or state.size):
        return
    asked = {"Accept-Encoding": "identity", "User-Agent": f"lesionlab/{__version__}", **headers}
    if done:
        asked |= {"Range": f"bytes={done}-", "If-Range": state.tag}
    try:
        response = open_url(remote.url, asked, timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the file is shorter than what we hold: another version
            raise _Changed from None
        if error.code < 500 and error.code != 429:
            raise _failed(remote, f"{error.code} {error.reason}") from None
        raise
    with response:
        done = _begin(response, done, remote, state)
        files.write_text(note, json.dumps(asdict(state)))
        _check_disk(part, (state.size or 0) - done, remote)
        with part.open("ab") as out:
            out.truncate(done)
            left = None if state.size is None else max(1, -(-(state.size - done) // CHUNK))
            for chunk in progress(_chunks(response), f"{remote.name} (MiB)", left):
                out.write(chunk)
    if state.size is not None and _length(part) < state.size:
        raise http.client.IncompleteRead(b"", state.size - _length(part))


def _begin(response: Any, done: int, remote: Remote, state: _State) -> int:
    """At which byte this answer starts; also remembers version and size. `_Changed` if other."""
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    tag = "" if tag.startswith("W/") else tag  # a weak tag promises nothing about bytes
    length = response.headers.get("Content-Length")
    if response.status == 206 and done:
        span = response.headers.get("Content-Range", "")
        total = state.size if state.size is not None else span.rpartition("/")[2]
        if tag != state.tag or not span.startswith(f"bytes {done}-") or f"/{total}" not in span:
            raise _Changed
        return done
    size = int(length) if length and length.isdigit() else None
    if remote.size is not None and size is not None and size != remote.size:
        raise _failed(remote, f"the server has {size} bytes instead of the published {remote.size}")
    state.tag, state.size = tag, size
    return 0


def _chunks(response: Any) -> Iterator[bytes]:
    while chunk := response.read(CHUNK):
        yield chunk


def _check_disk(part: Path, needed: int, remote: Remote) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise BadInput(
            f"needs {needed / 2**30:.1f} GiB, but the disk has {free / 2**30:.1f} GiB free",
            where=remote.name,
            remedy="choose another folder",
        )


def _check(remote: Remote, part: Path, state: _State) -> None:
    """Size and hash of the whole file; a wrong one is removed, so that the next try is fresh."""
    size = _length(part)
    wrong = ""
    if remote.size is not None and size != remote.size:
        wrong = f"{size} bytes instead of the published {remote.size}"
    elif state.size is not None and size != state.size:
        wrong = f"{size} bytes instead of the {state.size} that the server stated"
    elif remote.sha256 and files.sha256_file(part) != remote.sha256:
        wrong = "its SHA-256 differs from the published one"
    if wrong:
        part.unlink(missing_ok=True)
        raise _failed(remote, wrong)


def _failed(remote: Remote, why: str) -> BadInput:
    plain = urllib.parse.urlsplit(remote.url)._replace(query="", fragment="").geturl()
    return BadInput(f"cannot be downloaded from {plain} ({why})", where=remote.name,
                    remedy="run the same command again to resume")  # fmt: skip


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection repeatedly ends {error.expected} bytes too early"
    return str(getattr(error, "reason", "") or error or type(error).__name__)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http(s) only, and give a secret to the first host alone."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        old_host, new_host = (urllib.parse.urlsplit(u).netloc for u in (req.full_url, newurl))
        if new is not None and old_host != new_host:
            for name in [n for n in new.headers if n.lower() == "authorization"]:
                del new.headers[name]
        return new


def open_url(url: str, headers: Mapping[str, str], timeout: float = TIMEOUT) -> Any:
    """An open response for an http or https address; certificates are checked."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise BadInput(f"'{url}' is not an http address")
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 (checked above)
    return urllib.request.build_opener(_Redirects).open(request, timeout=timeout)


def record(folder: Path, name: str, licence: str, paths: list[Path]) -> dict[str, Any]:
    """Write `download.json`: what was fetched, its size and hash, under which licence."""
    told = {
        "schema_version": 1,
        "name": name,
        "licence": licence,
        "files": [
            {"name": p.name, "size": p.stat().st_size, "sha256": files.sha256_file(p)}
            for p in paths
        ],
    }
    files.write_json(folder / "download.json", told)
    return told
