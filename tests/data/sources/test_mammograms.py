"""Sets of mammograms as they are laid out: INbreast, VinDr-Mammo, RSNA."""

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
from lesionlab.data.sources.table import source_named
from lesionlab.errors import BadInput

RNG = np.random.default_rng(0)


def dicom(**tags: Any) -> bytes:
    return dicom_file(RNG.integers(0, 4096, (24, 20)).astype(np.uint16), BitsStored=12, **tags)


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (24, 20), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Any]:
    def make(files: dict[str, bytes | str], source: str = "", **options: Any) -> Any:
        for name, data in files.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        kind = source_named(source) if source else None
        return import_source(kind, tmp_path / "src", tmp_path / "out", max_rejected=0.5, **options)

    return make


HEAD = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\n"
INBREAST = HEAD + "".join(
    f"removed;removed;{side};{view};201001;2258{n};{n % 4 + 1};{birads}\n"
    for n, (side, view, birads) in enumerate(
        [("L", "CC", "1"), ("R", "CC", "4a"), ("L", "MLO", "2"), ("R", "MLO", "6")]
    )
)


def test_inbreast_with_patients_in_the_file_names(imported: Callable[..., Any]) -> None:
    files: dict[str, bytes | str] = {"INbreast.csv": INBREAST}
    for n in range(4):
        name = f"AllDICOMs/2258{n}_{'ab'[n // 2] * 16}_MG_L_CC_ANON.dcm"
        files[name] = dicom(PatientID="removed")
    dataset = imported(files, label_map=["1,2=benign", "4a,6=malignant"])
    table = dataset.table.set_index("image_id")
    assert dataset.info.source == "inbreast"
    assert list(table["label"]) == ["benign", "malignant", "benign", "malignant"]
    assert list(table["patient_id"]) == ["a" * 16, "a" * 16, "b" * 16, "b" * 16]
    assert tuple(table.loc["22583", ["side", "view", "density"]]) == ("right", "MLO", "4")
    assert any("--map 1,2=benign 4a,6=malignant" in n for n in dataset.info.notes)


def test_inbreast_as_converted_pictures(imported: Callable[..., Any]) -> None:
    dataset = imported({"INbreast.csv": INBREAST, **{f"2258{n}.png": png() for n in range(3)}})
    assert set(dataset.table["patient_id"]) == {""}
    assert list(dataset.table["label"]) == ["1", "4a", "2"]
    assert len(dataset.info.counts["rejected"]) == 1
    assert any("patients are unknown" in n for n in dataset.info.notes)


@pytest.mark.parametrize("source", ["csv", ""])
def test_a_table_names_dicom_files(imported: Callable[..., Any], source: str) -> None:
    """By their paths, with or without a suffix."""
    table = "id,label\n1.2.77,benign\n2.dcm,malignant\nsub/3.dcm,benign\n"
    dataset = imported({"t.csv": table, "1.2.77": dicom(), "2.dcm": dicom(), "sub/3.dcm": dicom()},
                       source=source)  # fmt: skip
    assert list(dataset.table["label"]) == ["benign", "malignant", "benign"]
    assert all(p.endswith(".png") for p in dataset.table["path"])


def test_a_table_names_the_beginnings_of_dicom_files(imported: Callable[..., Any]) -> None:
    table = "id,label\n11,benign\n12,malignant\n"
    files = {"t.csv": table, "11_ab_MG.dcm": dicom(), "12_cd_MG.dcm": dicom()}
    dataset = imported(files, source="csv")
    assert list(dataset.table["image_id"]) == ["11", "12"]
    assert any("beginnings of file names" in n for n in dataset.info.notes)


VINDR = (
    "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,"
    "breast_density,split\n"
    + "".join(
        f"s{n // 2},r,i{n},{'LR'[n % 2]},CC,24,20,BI-RADS {n + 1},DENSITY {'ABCD'[n]},"
        f"{('training', 'test')[n // 2]}\n"
        for n in range(4)
    )
)


def test_vindr_mammo(imported: Callable[..., Any]) -> None:
    images = {f"images/s{n // 2}/i{n}.dicom": dicom() for n in range(4)}
    findings = VINDR.replace("split\n", "split,finding_categories,finding_birads\n", 1)
    dataset = imported({"breast-level_annotations.csv": VINDR, **images,
                        "finding_annotations.csv": findings})  # fmt: skip
    table = dataset.table.set_index("image_id")
    assert dataset.info.source == "vindr-mammo"
    assert tuple(table.loc["i3", ["label", "density", "side", "view", "patient_id"]]) == (
        "BI-RADS 4", "D", "right", "CC", "s1")  # fmt: skip
    assert list(table["official_split"]) == ["train", "train", "test", "test"]


RSNA = (
    "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,"
    "density,machine_id,difficult_negative_case\n"
    + "".join(
        f"2,1000{n // 2},4628{n},{'LR'[n % 2]},MLO,61.0,{n % 2},0,0,,0,B,29,False\n"
        for n in range(4)
    )
)


@pytest.mark.parametrize("layout", ["train_images/1000{p}/4628{n}.dcm", "1000{p}_4628{n}.png"])
def test_rsna_mammo(imported: Callable[..., Any], layout: str) -> None:
    images = {
        layout.format(p=n // 2, n=n): dicom() if layout.endswith("dcm") else png() for n in range(4)
    }
    dataset = imported({"train.csv": RSNA, **images})
    table = dataset.table.set_index("image_id")
    assert dataset.info.source == "rsna-mammo"
    assert list(table["label"]) == ["no cancer", "cancer", "no cancer", "cancer"]
    assert dataset.info.malignant == ("cancer",)
    assert tuple(table.loc["46283", ["patient_id", "age", "side", "view", "density"]]) == (
        "10001", 61.0, "right", "MLO", "B")  # fmt: skip
    assert {"biopsy", "birads", "site_id"} <= set(dataset.info.forbidden_inputs)


def test_a_table_without_its_pictures_says_what_to_give(imported: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match=r"give the folder that holds train.csv and train_images"):
        imported({"train.csv": RSNA})
