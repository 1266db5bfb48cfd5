"""CBIS-DDSM as the archive, its retriever and Kaggle lay it out, and masks of other sizes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from helpers.dicom_files import dicom_file
from lesionlab.data.importing import import_source

HEAD = ("patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
        "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
        "cropped image file path,ROI mask file path\n")  # fmt: skip
CASES = [f"Mass-Training_P_0000{n}_LEFT_CC" for n in range(3)]


def table() -> str:
    rows = [
        f"P_0000{n},2,LEFT,CC,1,mass,OVAL,CIRCUMSCRIBED,4,{('BENIGN', 'MALIGNANT')[n % 2]},4,"
        f"{case}/1.3.{n}/1.4.{n}/000000.dcm,{case}_1/1.5.{n}/1.6.{n}/000000.dcm,"
        f'"{case}_1/1.5.{n}/1.6.{n}/000001.dcm\n"\n'
        for n, case in enumerate(CASES)
    ]
    return HEAD + "".join(rows)


def film() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 200, (80, 60)).astype(np.uint8)


def mask(scale: int = 1, shape: tuple[int, int] = (80, 60)) -> np.ndarray:
    """The lesion is at x 20 to 30 and y 40 to 60 of the film."""
    drawn = np.zeros((shape[0] * scale, shape[1] * scale), np.uint8)
    drawn[40 * scale : 60 * scale, 20 * scale : 30 * scale] = 255
    return drawn


CROP = np.random.default_rng(1).integers(20, 200, (24, 22)).astype(np.uint8)
ARCHIVE = ("{case}/1.3.{n}/1.4.{n}/000000", "{case}_1/1.5.{n}/1.6.{n}/000000",
           "{case}_1/1.5.{n}/1.6.{n}/000001")  # fmt: skip
CLASSIC = ("CBIS-DDSM/{case}/1.3.{n}/1.4.{n}/1-1", "CBIS-DDSM/{case}_1/1.5.{n}/1.6.{n}/1-2",
           "CBIS-DDSM/{case}_1/1.5.{n}/1.6.{n}/1-1")  # fmt: skip
RETRIEVER = (
    "CBIS-DDSM/{case}/07-20-2016-DDSM-NA-3{n}/1.000000-full mammogram images-3{n}/1-1",
    "CBIS-DDSM/{case}_1/07-21-2016-DDSM-NA-4{n}/1.000000-ROI mask images-4{n}/1-2",
    "CBIS-DDSM/{case}_1/07-21-2016-DDSM-NA-4{n}/1.000000-ROI mask images-4{n}/1-1",
)
KAGGLE = ("jpeg/1.4.{n}/1-24{n}", "jpeg/1.6.{n}/1-11{n}", "jpeg/1.6.{n}/2-10{n}")  # fmt: skip


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Any]:
    def make(layout: tuple[str, str, str], pictures: Any, view: str) -> Any:
        suffix = ".jpg" if layout == KAGGLE else ".dcm"
        for n, case in enumerate(CASES):
            for name, pixels in zip(layout, pictures, strict=True):
                if pixels is None:
                    continue
                path = tmp_path / "src" / (name.format(case=case, n=n) + suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg(pixels) if suffix == ".jpg" else dicom_file(pixels))
        (tmp_path / "src" / "mass_case_description_train_set.csv").write_text(table())
        return import_source(None, tmp_path / "src", tmp_path / f"out-{view}", max_rejected=1.0,
                             options={"view": view})  # fmt: skip

    return make


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.mark.parametrize("layout", [ARCHIVE, CLASSIC, RETRIEVER, KAGGLE])
def test_each_layout(imported: Callable[..., Any], layout: tuple[str, str, str]) -> None:
    films = imported(layout, (film(), CROP, mask()), "film").table
    assert list(zip(films["width"], films["height"], strict=True)) == [(60, 80)] * 3
    assert list(films["label"]) == ["benign", "malignant", "benign"]
    assert set(films["side"]) == {"left"}
    regions = films[["roi_x", "roi_y", "roi_size"]].to_numpy()
    assert np.abs(regions - [25, 50, 20]).max() <= (1 if layout == KAGGLE else 0)
    dataset = imported(layout, (film(), CROP, mask()), "crop")
    crops, (left,) = dataset.table, dataset.info.counts["left_out"]
    assert (left["files"], left["reason"]) == (3, "an image that is not named or not selected")
    assert list(zip(crops["width"], crops["height"], strict=True)) == [(22, 24)] * 3


def test_crop_and_mask_may_be_swapped(imported: Callable[..., Any]) -> None:
    assert set(imported(ARCHIVE, (film(), mask(), CROP), "crop").table["width"]) == {22}


def test_a_larger_mask_is_scaled(imported: Callable[..., Any]) -> None:
    films = imported(RETRIEVER, (film(), CROP, mask(scale=2)), "film").table
    assert films[["roi_x", "roi_y", "roi_size"]].to_numpy().tolist() == [[25, 50, 20]] * 3


def test_a_mask_of_another_shape_is_refused(imported: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="its mask of 80 x 80 does not fit its film of 60 x 80"):
        imported(ARCHIVE, (film(), CROP, mask(shape=(80, 80))), "film")


def test_a_mask_alone_is_no_crop(imported: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="its crop is missing"):
        imported(ARCHIVE, (film(), None, mask()), "crop")
    films = imported(ARCHIVE, (film(), None, mask()), "film").table
    assert films["roi_x"].tolist() == [25, 25, 25]
