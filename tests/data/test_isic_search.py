"""The ISIC Archive by query: pages, names, limits, the table, and answers that are refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import misbehaving as bad_days
from lesionlab.api.download import download
from lesionlab.data.isic_search import download_images, search, table
from lesionlab.errors import BadInput

QUERY = "/api/images/search/?query=q&limit=100"


@pytest.fixture
def site() -> Iterator[Any]:
    with bad_days.served(bad_days.Site()) as site:
        yield site


def image(site: Any, n: int, **changes: Any) -> dict[str, Any]:
    isic_id = f"ISIC_{n:07d}"
    site.pages[f"/i/{n}.jpg"] = b"x" * (n + 10)
    full = {"url": f"{site.url}/i/{n}.jpg", "size": n + 10}
    return {
        "isic_id": isic_id,
        "attribution": "a, b",
        "copyright_license": "CC-0",
        "files": {"full": full},
        "metadata": {
            "clinical": {"sex": "male", "diagnosis_1": "Benign"},
            "acquisition": {"image_type": "dermoscopic", **({"pixels_x": 9} if n else {})},
        },
        **changes,
    }


@pytest.fixture
def archive(site: Any) -> Any:
    """Two pages of three images; the second repeats one, as pages do when images are added."""
    first = {"count": 3, "next": f"{site.url}/api/images/search/?cursor=2",
             "results": [image(site, 0), image(site, 1)]}  # fmt: skip
    second = {"count": 3, "next": None, "results": [image(site, 1), image(site, 2)]}
    query = "/api/images/search/?query=sex%3Amale&limit=100"
    site.pages[query] = json.dumps(first).encode()
    site.pages["/api/images/search/?cursor=2"] = json.dumps(second).encode()
    return site


def test_the_archive_is_read_page_by_page(archive: Any, tmp_path: Path) -> None:
    archive.statuses = [503]
    told = download("isic-archive", tmp_path, accept_licence=True, query="sex:male",
                    archive_api=f"{archive.url}/api")  # fmt: skip
    assert len(told["files"]) == 3
    assert (tmp_path / "images" / "ISIC_0000002.jpg").stat().st_size == 12
    text = (tmp_path / "metadata.csv").read_text()
    assert text.splitlines()[0] == (
        "isic_id,attribution,copyright_license,diagnosis_1,image_type,pixels_x,sex"
    )
    assert 'ISIC_0000000,"a, b",CC-0,Benign,dermoscopic,,male' in text


def test_a_second_search_keeps_whole_images(archive: Any, tmp_path: Path) -> None:
    for _ in range(2):
        archive.log.clear()
        download_images("sex:male", tmp_path, api=f"{archive.url}/api", pause=lambda s: None)
    assert not [path for path, _ in archive.log if path.startswith("/i/")]


def test_the_limit_stops_the_search(archive: Any) -> None:
    found = list(search("sex:male", 2, f"{archive.url}/api", lambda s: None))
    assert [i["isic_id"] for i in found] == ["ISIC_0000000", "ISIC_0000001"]
    assert len(archive.log) == 1


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ({"results": [{"isic_id": "../../etc/passwd"}]}, "invalid image name"),
        ({"results": [], "next": "http://127.0.0.2/x"}, "another host"),
        ({"detail": "?"}, "no results"),
        ({"results": []}, "no image matches"),
        ({"results": [{"isic_id": "ISIC_0000001"}]}, "no file for ISIC_0000001"),
    ],
)
def test_strange_answers_are_refused(
    site: Any, tmp_path: Path, page: dict[str, Any], why: str
) -> None:
    site.pages["/api/images/search/?query=q&limit=100"] = json.dumps(page).encode()
    with pytest.raises(BadInput, match=why):
        download_images("q", tmp_path, api=f"{site.url}/api", pause=lambda s: None)
    assert not (tmp_path / "metadata.csv").exists()


def test_a_refused_query_says_so(site: Any, tmp_path: Path) -> None:
    site.statuses = [400]
    with pytest.raises(BadInput, match=r"refuses the query.*400"):
        list(search("((", 0, f"{site.url}/api", lambda s: None))
    site.statuses = [500] * 9
    with pytest.raises(BadInput, match="does not answer"):
        list(search("x", 0, f"{site.url}/api", lambda s: None))


def test_a_page_that_points_to_itself_ends_the_search(site: Any) -> None:
    page = {"results": [image(site, 1)], "next": f"{site.url}{QUERY}"}
    site.pages[QUERY] = json.dumps(page).encode()
    assert len(list(search("q", 0, f"{site.url}/api", lambda s: None))) == 1
    assert len(site.log) == 1


def test_what_is_not_json_is_asked_for_again_and_then_given_up(site: Any) -> None:
    pauses: list[float] = []
    site.pages[QUERY] = b"<html>busy</html>"
    with pytest.raises(BadInput, match=r"does not answer \(.*try again later"):
        list(search("q", 0, f"{site.url}/api", pauses.append))
    assert len(site.log) == len(pauses) > 1
    assert pauses == sorted(pauses)  # each pause is at least as long as the last
    assert max(pauses) <= 30


@pytest.mark.parametrize(
    "name", ["", "ISIC_123456", "ISIC_12345678901", "isic_0000001", "ISIC_0000001\n"]
)
def test_only_names_of_the_archive_become_files(site: Any, name: str) -> None:
    site.pages[QUERY] = json.dumps({"results": [{"isic_id": name}]}).encode()
    with pytest.raises(BadInput, match="invalid image name"):
        list(search("q", 0, f"{site.url}/api", lambda s: None))


def test_the_table_is_the_union_of_fields_and_absent_is_empty() -> None:
    images = [
        {"isic_id": "ISIC_0000001", "metadata": {"clinical": {"sex": None, "age_approx": 0}}},
        {"isic_id": "ISIC_0000002", "attribution": "a\nb", "metadata": {"acquisition": None}},
        {"isic_id": "ISIC_0000003", "metadata": None},
    ]
    rows = list(csv.DictReader(io.StringIO(table(images))))
    assert list(rows[0]) == [
        "isic_id", "attribution", "copyright_license", "age_approx", "sex"
    ]  # fmt: skip
    assert [row["age_approx"] for row in rows] == ["0", "", ""]  # zero is known
    assert {row["sex"] for row in rows} == {""}
    assert rows[1]["attribution"] == "a\nb"
