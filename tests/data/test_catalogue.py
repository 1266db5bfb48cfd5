"""What can be downloaded: real addresses, licences, importers, and the user's own credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesionlab.cli.download import NAMES
from lesionlab.data.catalogue import ARCHIVE, OFFERS, kaggle_headers, offer_named
from lesionlab.data.sources.table import SOURCES
from lesionlab.errors import BadInput


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


def test_files_of_an_offer_have_names_of_their_own_and_no_folder() -> None:
    for offer in OFFERS.values():
        names = [remote.name for remote in offer.files]
        assert len(set(names)) == len(names), offer.name
        assert all(name == Path(name).name and Path(name).suffix for name in names)
        assert offer.kaggle == ("kaggle.com" in offer.files[0].url)


def test_the_nearest_offer_is_named_the_archive_among_them() -> None:
    assert offer_named("isic2019").source == "isic2019"
    with pytest.raises(BadInput, match="no download 'isic-archiv'; did you mean 'isic-archive'"):
        offer_named("isic-archiv")


@pytest.mark.parametrize("stored", ["not json", "[]", '{"username": "u"}', "null"])
def test_broken_credentials_are_refused_and_not_shown(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "kaggle.json"
    path.write_text(stored)
    with pytest.raises(BadInput, match="not a Kaggle credentials file") as refused:
        kaggle_headers(path, {})
    assert str(path) in str(refused.value)
    path.write_text('{"username": "u", "kee": "c2VjcmV0"}')
    with pytest.raises(BadInput) as refused:
        kaggle_headers(path, {})
    assert "c2VjcmV0" not in str(refused.value)


def test_a_named_file_wins_over_the_environment_and_half_of_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "kaggle.json"
    path.write_text('{"username": "u", "key": "k"}')
    wanted = {"Authorization": "Basic dTpr"}
    both = {"KAGGLE_USERNAME": "other", "KAGGLE_KEY": "other"}
    assert kaggle_headers(path, both) == wanted
    half = {"KAGGLE_USERNAME": "other", "KAGGLE_CONFIG_DIR": str(tmp_path)}
    assert kaggle_headers(None, half) == wanted
