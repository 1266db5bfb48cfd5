"""A file is fetched whole, or one line says why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import misbehaving as bad_days
from lesionlab.api.download import download
from lesionlab.cli.main import run
from lesionlab.data.download import Remote, fetch
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
