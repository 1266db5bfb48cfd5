from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import misbehaving as bad_days
from lesionlab.api.download import download
from lesionlab.cli.download import NAMES
from lesionlab.cli.main import run
from lesionlab.data.catalogue import ARCHIVE, OFFERS, kaggle_headers
from lesionlab.data.download import Remote, fetch
from lesionlab.data.isic_search import download_images, search
from lesionlab.data.sources.table import SOURCES
from lesionlab.errors import BadInput

BODY = np.random.default_rng(0).bytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site() -> Iterator[Any]:
    with bad_days.served(bad_days.Site(body=BODY)) as site:
        yield site


def get(site: Any, folder: Path, **known: Any) -> Path:
    pauses: list[float] = []
    return fetch(Remote(f"{site.url}/f", "f.zip", **known), folder, pause=pauses.append)


def ranges(site: Any) -> list[str | None]:
    return [headers.get("Range") for _, headers in site.log]


def alone(folder: Path) -> bool:
    return [p.name for p in folder.iterdir()] == ["f.zip"]


def test_a_plain_file_comes_whole_and_leaves_nothing_else(site: Any, tmp_path: Path) -> None:
    path = get(site, tmp_path, sha256=SHA, size=len(BODY))
    assert path.read_bytes() == BODY
    assert alone(tmp_path)
    get(site, tmp_path, sha256=SHA)
    assert len(site.log) == 1  # it is there already


def test_cut_connections_go_on_where_they_stopped(site: Any, tmp_path: Path) -> None:
    site.cuts = [1_000_000, 500_000, 700_000]
    assert get(site, tmp_path, sha256=SHA).read_bytes() == BODY
    assert ranges(site) == [None, "bytes=1000000-", "bytes=1500000-", "bytes=2200000-"]
    assert all(h["If-Range"] == '"v1"' for _, h in site.log[1:])


def test_a_later_call_goes_on_too(site: Any, tmp_path: Path) -> None:
    site.cuts = [1_000_000] + [0] * 10
    with pytest.raises(BadInput, match=r"too early.*run the same command again"):
        get(site, tmp_path)
    assert not (tmp_path / "f.zip").exists()
    site.cuts, site.log = [], []
    assert get(site, tmp_path, sha256=SHA).read_bytes() == BODY
    assert ranges(site) == ["bytes=1000000-"]
    assert alone(tmp_path)


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_in_between_is_fetched_anew(
    site: Any, tmp_path: Path, honest: bool
) -> None:
    new = BODY[::-1]

    def change(here: Any) -> None:
        here.body, here.etag, here.after = new, '"v2"', None

    site.cuts, site.after, site.honours_if_range = [1_000_000], change, honest
    assert get(site, tmp_path).read_bytes() == new


def test_a_file_that_never_stops_changing_is_given_up(site: Any, tmp_path: Path) -> None:
    def change(here: Any) -> None:
        here.etag = f'"v{len(here.log)}"'
        here.cuts = [1_000_000]

    site.cuts, site.after, site.honours_if_range = [1_000_000], change, False
    with pytest.raises(BadInput, match="changed during the download"):
        get(site, tmp_path)


def test_a_shrunken_file_is_fetched_anew(site: Any, tmp_path: Path) -> None:
    def shrink(here: Any) -> None:
        here.body, here.after = BODY[:500_000], None

    site.cuts, site.after = [1_000_000], shrink
    assert get(site, tmp_path).read_bytes() == BODY[:500_000]


def test_a_server_without_ranges_or_versions_starts_over(site: Any, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [1_000_000]
    assert get(site, tmp_path, sha256=SHA).read_bytes() == BODY
    site.ranges, site.etag, site.cuts, site.log = True, "", [1_000_000], []
    (tmp_path / "f.zip").unlink()
    assert get(site, tmp_path, sha256=SHA).read_bytes() == BODY
    assert ranges(site) == [None, None]


def test_a_length_that_is_too_long_ends_in_one_line(site: Any, tmp_path: Path) -> None:
    site.claims, site.etag = len(BODY) + 1000, ""
    with pytest.raises(BadInput, match="ends 1000 bytes too early"):
        get(site, tmp_path)
    assert not (tmp_path / "f.zip").exists()


def test_a_length_that_is_too_short_is_found_by_size_or_hash(site: Any, tmp_path: Path) -> None:
    site.claims = 1000
    with pytest.raises(BadInput, match="has 1000 bytes instead of the published 3000000"):
        get(site, tmp_path, size=len(BODY))
    with pytest.raises(BadInput, match="SHA-256 differs from the published one"):
        get(site, tmp_path, sha256=SHA)
    assert list(tmp_path.glob("*.zip")) == []


def test_another_file_of_the_same_size_is_found_by_hash(site: Any, tmp_path: Path) -> None:
    site.body = BODY[::-1]
    with pytest.raises(BadInput, match="SHA-256"):
        get(site, tmp_path, size=len(BODY), sha256=SHA)


def test_server_errors_are_retried_and_refusals_are_not(site: Any, tmp_path: Path) -> None:
    site.statuses = [503, 429, 500]
    assert get(site, tmp_path).read_bytes() == BODY
    (tmp_path / "f.zip").unlink()
    site.statuses, site.log = [404], []
    with pytest.raises(BadInput, match="404"):
        get(site, tmp_path)
    assert len(site.log) == 1
    site.statuses = [503] * 20
    with pytest.raises(BadInput, match="503"):
        get(site, tmp_path)


def test_an_absent_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be downloaded from http://127\.0\.0\.1:9/f \("):
        fetch(Remote("http://127.0.0.1:9/f?key=hidden", "f"), tmp_path, pause=lambda s: None)
    with pytest.raises(BadInput, match="not an http address"):
        fetch(Remote("file:///etc/passwd", "f"), tmp_path)


def test_a_redirect_elsewhere_does_not_carry_the_secret(site: Any, tmp_path: Path) -> None:
    with bad_days.served(bad_days.Site(redirect=f"{site.url}/f")) as first:
        remote = Remote(f"{first.url}/x", "f.zip")
        fetch(remote, tmp_path, headers={"Authorization": "Basic c2VjcmV0"})
        assert first.log[0][1]["Authorization"] == "Basic c2VjcmV0"
    assert "Authorization" not in site.log[0][1]


def test_kaggle_credentials_come_from_the_user_or_are_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"kaggle\.json.*no credentials file.*Create New Token"):
        kaggle_headers(None, {"KAGGLE_CONFIG_DIR": str(tmp_path)})
    (tmp_path / "kaggle.json").write_text("{}")
    with pytest.raises(BadInput, match="not a Kaggle credentials file"):
        kaggle_headers(None, {"KAGGLE_CONFIG_DIR": str(tmp_path)})
    (tmp_path / "kaggle.json").write_text('{"username": "u", "key": "k"}')
    assert kaggle_headers(tmp_path / "kaggle.json", {}) == {"Authorization": "Basic dTpr"}
    assert kaggle_headers(None, {"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "k"}) == {
        "Authorization": "Basic dTpr"}  # fmt: skip


def test_the_catalogue_names_sources_that_exist() -> None:
    assert set(NAMES) == {*OFFERS, ARCHIVE}
    for offer in OFFERS.values():
        assert offer.source in SOURCES
        assert offer.licence
        assert all(r.url.startswith("https://") for r in offer.files)


def test_the_licence_is_shown_and_must_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["download", "isic2018", "--to", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert "CC BY-NC" in said
    assert "--accept-licence" in said
    assert not (tmp_path / "x").exists()
    with pytest.raises(BadInput, match="did you mean 'isic2018'"):
        download("isc2018", tmp_path)
    with pytest.raises(BadInput, match="needs a --query"):
        download("isic-archive", tmp_path, accept_licence=True)
    with pytest.raises(BadInput, match="apply to isic-archive only"):
        download("isic2018", tmp_path, accept_licence=True, query="x")


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
