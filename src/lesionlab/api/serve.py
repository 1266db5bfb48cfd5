"""`lesionlab.serve`: bundles over HTTP, with a page for people. Needs the extra `serve`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lesionlab import extras


def serve(
    bundles: str | Path | Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 0,
    queue: int = 32,
    max_body_mb: int = 20,
    token_file: str | Path | None = None,
    allow_hosts: Sequence[str] = (),
    audit: str | Path | None = None,
    key: str | Path | None = None,
    on_ready: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run are finished first.

    `workers` images are answered at once (0: one a core), `queue` more may wait, the rest gets
    503 with Retry-After. A bearer token, from `token_file` or the environment variable
    LESIONLAB_TOKEN, is needed where `host` is not the loopback. `audit` names a hash-chained log
    of hashes and answers; `key` the public key that must have signed every bundle. `on_ready` is
    called with `{url, models, ...}` once all bundles have passed their self-test.
    """
    extras.need("serve", "serve")
    from lesionlab.deployment.server_run import ServeSettings, build, read_token, run_server

    given = [bundles] if isinstance(bundles, str | Path) else list(bundles)
    settings = ServeSettings(
        host=host,
        port=port,
        workers=workers,
        queue=queue,
        max_body_mb=max_body_mb,
        token=read_token(None if token_file is None else Path(token_file)),
        allow_hosts=tuple(allow_hosts),
        audit=None if audit is None else Path(audit),
        key=None if key is None else Path(key),
    )
    app, state = build([Path(b) for b in given], settings)
    on_ready(
        {
            "schema_version": 1,
            "url": f"http://{f'[{host}]' if ':' in host else host}:{port}/",
            "models": [m.id for m in state.models],
            "workers": state.limits.workers,
            "queue": state.limits.queue,
            "token": settings.token is not None,
        }
    )
    run_server(app, settings)
