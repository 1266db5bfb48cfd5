"""The ISIC Archive by query: its paged API, every image fetched whole, metadata as one table."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lesionlab import __version__, files
from lesionlab.data.download import ATTEMPTS, Remote, fetch, open_url
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

API = "https://api.isic-archive.com/api/v2"
PAGE = 100
MAX_PAGE_BYTES = 50 << 20
ISIC_ID = re.compile(r"ISIC_\d{7,10}")
FIRST = ("isic_id", "attribution", "copyright_license")


def search(
    query: str, limit: int = 0, api: str = API, pause: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """The images that match `query` (the archive's own language), page by page.

    `limit` 0 means all. Raises `BadInput` where the query is refused, the answer is not what the
    API promises, or a page points to another host.
    """
    arguments = urllib.parse.urlencode({"query": query, "limit": PAGE})
    url: str | None = f"{api}/images/search/?{arguments}"
    seen: set[str] = set()
    while url:
        page = _page(url, pause)
        for image in page["results"]:
            isic_id = str(image.get("isic_id", ""))
            if not ISIC_ID.fullmatch(isic_id):
                raise BadInput(f"the archive returned an invalid image name '{isic_id}'", where=api)
            if isic_id in seen:  # pages shift while images are added
                continue
            seen.add(isic_id)
            yield image
            if limit and len(seen) >= limit:
                return
        after = page.get("next")
        if after and urllib.parse.urlsplit(after).netloc != urllib.parse.urlsplit(api).netloc:
            raise BadInput(f"the next page is on another host ({after})", where=api)
        url = after if after != url else None


def _page(url: str, pause: Callable[[float], None]) -> dict[str, Any]:
    headers = {"Accept": "application/json", "User-Agent": f"lesionlab/{__version__}"}
    for attempt in range(ATTEMPTS):
        try:
            with open_url(url, headers) as response:
                page = json.loads(response.read(MAX_PAGE_BYTES))
            if isinstance(page, dict) and isinstance(page.get("results"), list):
                return page
            raise BadInput("the answer of the archive holds no results", where=url)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise BadInput(
                    f"the archive refuses the query ({error.code} {error.reason})",
                    remedy='for example --query "diagnosis_1:Malignant AND sex:female"',
                ) from None
            why = f"{error.code} {error.reason}"
        except (OSError, ValueError) as error:
            why = str(error)
        pause(min(2.0**attempt, 30.0))
    raise BadInput(f"the archive does not answer ({why})", where=url, remedy="try again later")


def download_images(
    query: str,
    folder: Path,
    *,
    limit: int = 0,
    api: str = API,
    progress: Progress = SILENT,
    pause: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Fetch the images of a query into `folder/images` and write `folder/metadata.csv` last.

    Images that are whole already are kept, so that the same command goes on after a break.
    """
    found = list(progress(search(query, limit, api, pause), "searching the archive", limit or None))
    if not found:
        raise BadInput(f"no image matches the query '{query}'", where=api)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    remotes = [_remote(image, api) for image in found]
    with ThreadPoolExecutor(4) as pool:
        fetched = pool.map(lambda remote: fetch(remote, images, pause=pause), remotes)
        paths = list(progress(fetched, "fetching images", len(remotes)))
    files.write_text(folder / "metadata.csv", table(found))
    return paths


def _remote(image: dict[str, Any], api: str) -> Remote:
    try:
        full = image["files"]["full"]
        return Remote(str(full["url"]), f"{image['isic_id']}.jpg", int(full["size"]))
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"the archive gives no file for {image['isic_id']}", where=api) from None


def table(images: list[dict[str, Any]]) -> str:
    """`metadata.csv` as the archive itself writes it: three columns, then the union of fields."""
    rows = [_flat(image) for image in images]
    rest = sorted({name for row in rows for name in row} - set(FIRST))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*FIRST, *rest], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _flat(image: dict[str, Any]) -> dict[str, Any]:
    row = {name: image.get(name, "") for name in FIRST}
    for group in (image.get("metadata") or {}).values():
        row |= {str(k): "" if v is None else v for k, v in (group or {}).items()}
    return row
