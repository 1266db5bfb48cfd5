"""`lesionlab.download`: fetch a public data set, whole and under its licence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lesionlab.data.catalogue import ARCHIVE, kaggle_headers, offer_named
from lesionlab.data.download import fetch, record
from lesionlab.data.isic_search import API, download_images
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

ARCHIVE_LICENCE = "by image: CC0, CC BY or CC BY-NC, see the column copyright_license"


def download(
    name: str,
    to: Path | str,
    *,
    accept_licence: bool = False,
    query: str = "",
    limit: int = 0,
    kaggle: Path | str | None = None,
    archive_api: str = API,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Fetch the data set `name` of the catalogue (or "isic-archive" by `query`) into `to`.

    Interrupted downloads go on where they stopped when called again. Raises `BadInput` until
    the licence is accepted, and for whatever the server does wrong. Returns `{name, folder,
    licence, files: [{name, size, sha256}], next}`.
    """
    folder = Path(to)
    offer = None if name == ARCHIVE else offer_named(name)
    licence = offer.licence if offer else ARCHIVE_LICENCE
    if not accept_licence:
        raise BadInput(
            f"'{name}' has this licence: {licence}",
            remedy="read it, then add --accept-licence",
        )
    if offer and (query or limit):
        raise BadInput(f"--query and --limit apply to {ARCHIVE} only")
    if not offer and not query:
        raise BadInput("the ISIC Archive needs a --query", remedy='for example "sex:female"')
    headers = kaggle_headers(Path(kaggle) if kaggle else None, os.environ) if _paid(offer) else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(folder)) from None
    if offer is None:
        paths = download_images(query, folder, limit=limit, api=archive_api, progress=progress)
        source = ARCHIVE
    else:
        paths = [fetch(r, folder, headers=headers, progress=progress) for r in offer.files]
        source = offer.source
    told = record(folder, name, licence, paths)
    return {**told, "folder": str(folder), "next": f"lesionlab import {source} {folder} --to DIR"}


def _paid(offer: Any) -> bool:
    return offer is not None and offer.kaggle
