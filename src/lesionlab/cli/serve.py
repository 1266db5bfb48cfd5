"""`lesionlab serve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import json_option, path_argument, path_option

EXAMPLE = """\b
Examples:
  lesionlab serve bundles/ham
  lesionlab serve bundles/ham bundles/mias --port 8080 --audit audit.jsonl
"""


@click.command(epilog=EXAMPLE)
@path_argument("bundles", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port."
)
@click.option(
    "--workers",
    type=click.IntRange(0, 1024),
    default=0,
    help="Images processed at once. 0: one per core.",
)
@click.option(
    "--queue",
    type=click.IntRange(0, 10_000),
    default=32,
    show_default=True,
    help="Images that may wait. Further requests are refused (503).",
)
@click.option(
    "--max-body-mb",
    type=click.IntRange(1, 1024),
    default=20,
    show_default=True,
    help="Largest request.",
)
@path_option(
    "--token-file",
    help="Require this bearer token (or LESIONLAB_TOKEN). Needed unless --host is the loopback.",
)
@click.option("--allow-host", multiple=True, help="Another host name to accept, such as a proxy's.")
@path_option(
    "--audit",
    help="Append every answer to this hash-chained log. It holds hashes of images, no images.",
)
@path_option("--key", help="Public key (PEM, Ed25519) that must have signed every bundle.")
@json_option
def command(
    bundles: tuple[Path, ...],
    host: str,
    port: int,
    workers: int,
    queue: int,
    max_body_mb: int,
    token_file: Path | None,
    allow_host: tuple[str, ...],
    audit: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Serve BUNDLES over HTTP, with a web page at /.

    Research use only. Nothing here is advice to a patient.
    """
    from lesionlab.api.serve import serve

    serve(
        bundles,
        host=host,
        port=port,
        workers=workers,
        queue=queue,
        max_body_mb=max_body_mb,
        token_file=token_file,
        allow_hosts=allow_host,
        audit=audit,
        key=key,
        on_ready=lambda ready: _show(ready, as_json),
    )


def _show(ready: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(ready), flush=True)
        return
    print(f"{ready['url']}  ({', '.join(ready['models'])}; stop with Ctrl-C)", flush=True)
    print(
        "Research use only. Not a medical device. Nothing here is advice to a patient.", flush=True
    )
