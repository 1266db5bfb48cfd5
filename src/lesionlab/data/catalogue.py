"""What can be downloaded, from where, and under which licence.

Addresses are those of the sets' own pages. Where no hash is published, length and version tag
are checked, and the hash is recorded in `download.json`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesionlab.data.download import Remote
from lesionlab.errors import BadInput, nearest

ISIC = "https://isic-challenge-data.s3.amazonaws.com"
KAGGLE = "https://www.kaggle.com/api/v1"
NC = "CC BY-NC 4.0 (non-commercial)"


@dataclass(frozen=True)
class Offer:
    """A data set to download; `source` is what imports it."""

    name: str
    title: str
    licence: str
    source: str
    files: tuple[Remote, ...]
    kaggle: bool = False


def _isic(year: str, *names: str) -> tuple[Remote, ...]:
    return tuple(Remote(f"{ISIC}/{year}/{name}", name) for name in names)


def _kaggle(kind: str, slug: str, name: str) -> tuple[Remote, ...]:
    return (Remote(f"{KAGGLE}/{kind}/{slug}", name),)


_ALL = (
    Offer("isic2016", "ISIC 2016 part 3", "CC0", "isic2016", _isic(
        "2016", "ISBI2016_ISIC_Part3_Training_Data.zip",
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", "ISBI2016_ISIC_Part3_Test_Data.zip",
        "ISBI2016_ISIC_Part3_Test_GroundTruth.csv")),
    Offer("isic2017", "ISIC 2017 part 3", "CC0", "isic2017", _isic(
        "2017", "ISIC-2017_Training_Data.zip", "ISIC-2017_Training_Part3_GroundTruth.csv",
        "ISIC-2017_Validation_Data.zip", "ISIC-2017_Validation_Part3_GroundTruth.csv",
        "ISIC-2017_Test_v2_Data.zip", "ISIC-2017_Test_v2_Part3_GroundTruth.csv")),
    Offer("isic2018", "ISIC 2018 task 3", NC, "isic2018", _isic(
        "2018", "ISIC2018_Task3_Training_Input.zip", "ISIC2018_Task3_Training_GroundTruth.zip",
        "ISIC2018_Task3_Training_LesionGroupings.csv", "ISIC2018_Task3_Validation_Input.zip",
        "ISIC2018_Task3_Validation_GroundTruth.zip", "ISIC2018_Task3_Test_Input.zip",
        "ISIC2018_Task3_Test_GroundTruth.zip")),
    Offer("isic2019", "ISIC 2019", NC, "isic2019", _isic(
        "2019", "ISIC_2019_Training_Input.zip", "ISIC_2019_Training_GroundTruth.csv",
        "ISIC_2019_Training_Metadata.csv", "ISIC_2019_Test_Input.zip",
        "ISIC_2019_Test_GroundTruth.csv", "ISIC_2019_Test_Metadata.csv")),
    Offer("isic2020", "ISIC 2020", NC, "isic2020", _isic(
        "2020", "ISIC_2020_Training_JPEG.zip", "ISIC_2020_Training_GroundTruth.csv",
        "ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_Duplicates.csv")),
    Offer("isic2024", "ISIC 2024 (SLICE-3D), through Kaggle", NC, "isic2024",
          _kaggle("competitions/data/download-all", "isic-2024-challenge",
                  "isic-2024-challenge.zip"), kaggle=True),
    Offer("udacity-isic2017", "ISIC 2017 in class folders", "CC0", "folder", tuple(
        Remote("https://s3-us-west-1.amazonaws.com/udacity-dlnfd/datasets/skin-cancer/"
               f"{part}.zip", f"{part}.zip") for part in ("train", "valid", "test"))),
    Offer("ham10000", "HAM10000, through Kaggle", NC, "ham10000",
          _kaggle("datasets/download", "kmader/skin-cancer-mnist-ham10000", "ham10000.zip"),
          kaggle=True),
    Offer("malignant-vs-benign", "Skin cancer: malignant vs. benign, through Kaggle",
          "unknown: see the set's page", "folder",
          _kaggle("datasets/download", "fanconic/skin-cancer-malignant-vs-benign",
                  "malignant-vs-benign.zip"), kaggle=True),
    Offer("breastmnist", "MedMNIST BreastMNIST, 28 x 28", "CC BY 4.0", "medmnist", (
        Remote("https://zenodo.org/records/10519652/files/breastmnist.npz?download=1",
               "breastmnist.npz"),)),
)  # fmt: skip
OFFERS: dict[str, Offer] = {offer.name: offer for offer in _ALL}
ARCHIVE = "isic-archive"  # downloaded by query: data/isic_search.py


def offer_named(name: str) -> Offer:
    """The offer called `name`; `BadInput` with the nearest one where there is none."""
    if name not in OFFERS:
        raise BadInput(f"no download '{name}'", remedy=nearest(name, [*OFFERS, ARCHIVE]))
    return OFFERS[name]


def kaggle_headers(file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The header that lets the user in, from their own credentials; never printed.

    Looked for in `KAGGLE_USERNAME` and `KAGGLE_KEY`, then in `file` or `~/.kaggle/kaggle.json`.
    """
    user, key = environment.get("KAGGLE_USERNAME", ""), environment.get("KAGGLE_KEY", "")
    path = file or Path(environment.get("KAGGLE_CONFIG_DIR", "~/.kaggle")) / "kaggle.json"
    path = Path(os.path.expanduser(path))  # noqa: PTH111 (no error where there is no home)
    if not (user and key) or file is not None:
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            user, key = str(stored["username"]), str(stored["key"])
        except OSError:
            raise BadInput(
                "this data set needs your Kaggle credentials, and there is no credentials file",
                where=str(path),
                remedy="at kaggle.com, Settings, API, 'Create New Token' gives one; save it there",
            ) from None
        except (ValueError, KeyError, TypeError):
            raise BadInput(
                "not a Kaggle credentials file",
                where=str(path),
                remedy='it holds {"username": ..., "key": ...}',
            ) from None
    token = base64.b64encode(f"{user}:{key}".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}"}
