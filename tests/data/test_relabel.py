from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.api.import_dataset import import_dataset
from lesionlab.cli.import_ import SOURCE_NAMES
from lesionlab.cli.main import run
from lesionlab.data.manifest import read_dataset
from lesionlab.data.relabel import parse_map
from lesionlab.data.sources.table import SOURCES
from lesionlab.errors import BadInput


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for k, name in enumerate(("melanoma", "nevus", "seborrheic_keratosis")):
        (tmp_path / "src" / name).mkdir(parents=True)
        for n in range(2):
            (tmp_path / "src" / name / f"{name}{n}.png").write_bytes(picture(10 * k + n))
    return tmp_path / "src"


def test_classes_are_united_and_keep_their_origin(three: Path, tmp_path: Path) -> None:
    rules = ["nevus,seborrheic_keratosis=benign", "melanoma=malignant"]
    told = import_dataset("folder", three, tmp_path / "o", label_map=rules)
    assert told["classes"] == {"benign": 4, "malignant": 2}
    assert told["malignant"] == ["malignant"]
    dataset = read_dataset(tmp_path / "o")
    assert set(dataset.table["source_label"]) == {"melanoma", "nevus", "seborrheic_keratosis"}
    assert "source_label" in dataset.info.forbidden_inputs


def test_a_class_can_be_left_out(three: Path, tmp_path: Path) -> None:
    told = import_dataset("folder", three, tmp_path / "o", label_map=["nevus=-"])
    assert told["classes"] == {"melanoma": 2, "seborrheic_keratosis": 2}
    assert any("2 images of classes mapped to -" in n for n in told["notes"])


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (["nevus"], "not of the form"),
        (["nevus=a", "nevus=b"], "mapped twice"),
        (["mole=benign"], "no class 'mole'"),
        (["nevus,melanoma=both"], "would mix malignant and benign"),
    ],
)
def test_rules_that_make_no_sense_are_refused(
    three: Path, tmp_path: Path, rules: list[str], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        import_dataset("folder", three, tmp_path / "o", label_map=rules)
    assert not (tmp_path / "o").exists()


def test_a_rule_for_an_absent_class_is_noted_where_every_class_has_a_rule(
    three: Path, tmp_path: Path
) -> None:
    rules = ["nevus,seborrheic_keratosis=benign melanoma,bcc=malignant"]
    result = import_dataset("folder", three, tmp_path / "out", label_map=rules)
    assert "--map: no image is of class 'bcc'" in result["notes"]
    with pytest.raises(BadInput, match="no class 'bcc'"):
        import_dataset("folder", three, tmp_path / "no", label_map=["melanoma,bcc=malignant"])


def test_several_rules_may_share_a_word() -> None:
    assert parse_map(["a,b=c d=e"]) == {"a": "c", "b": "c", "d": "e"}


def test_the_command_line_takes_the_rules_as_people_write_them(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--map", "nevus,seborrheic_keratosis=benign", "melanoma=malignant"]
    orders = [
        ["folder", str(three), *words, "--to", str(tmp_path / "a")],
        ["folder", *words, str(three), "--to", str(tmp_path / "b")],
        ["auto", str(three), "--to", str(tmp_path / "c"), *words],
    ]
    for order in orders:
        assert run(["import", *order, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["classes"] == {"benign": 4, "malignant": 2}
    assert run(["import", "folder", str(three), "x", "--to", str(tmp_path / "d")]) == 2
    assert "one SRC is expected" in capsys.readouterr().err
    assert run(["import", "folder", str(three), "--to", str(tmp_path / "d"), "--roi", "fixed"]) == 2
    assert "has no option '--roi'" in capsys.readouterr().err


def test_the_help_names_every_source() -> None:
    assert set(SOURCE_NAMES) == set(SOURCES)


def test_masks_join_by_name(three: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("melanoma0_segmentation", "nevus1_segmentation"):
        pixels = np.zeros((24, 32), np.uint8)
        pixels[8:16, 8:24] = 255
        Image.fromarray(pixels).save(masks / f"{name}.png")
    told = import_dataset("folder", three, tmp_path / "o", masks=masks)
    table = read_dataset(tmp_path / "o").table.set_index("image_id")
    mask = Image.open(tmp_path / "o" / table.loc["melanoma0", "mask"])
    assert mask.size == (16, 12)
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    assert table.loc["nevus0", "mask"] == ""
    assert any("4 images have no mask" in n for n in told["notes"])
    with pytest.raises(BadInput, match="no mask is named"):
        import_dataset("folder", three, tmp_path / "p", masks=three / "nevus" / "nevus0.png",
                       classes="melanoma,seborrheic_keratosis")  # fmt: skip


def test_auto_says_why_and_how_to_overrule(three: Path, tmp_path: Path) -> None:
    told = import_dataset("auto", three, tmp_path / "o")
    assert told["source"] == "folder"
    assert told["notes"][0].startswith("recognised as folder: images lie in 3 class folders")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "1.png").write_bytes(picture(1))
    with pytest.raises(BadInput, match="no known data set"):
        import_dataset("auto", tmp_path / "bare", tmp_path / "p")


def test_two_sets_in_one_folder_must_be_named(three: Path, tmp_path: Path) -> None:
    (three / "truth.csv").write_text("image_id,melanoma,seborrheic_keratosis\nx,0,0\n")
    (three / "meta.csv").write_text("lesion_id,image_id,dx,dx_type,age,sex,localization\n")
    with pytest.raises(BadInput, match="holds several data sets: ham10000 and isic2017"):
        import_dataset("auto", three, tmp_path / "o")


@pytest.mark.real
@pytest.mark.slow
def test_isic2017_by_its_tables_and_by_its_folders(shared: Path, tmp_path: Path) -> None:
    src = shared / "data" / "isic2017.zip"
    tables = import_dataset("auto", src, tmp_path / "t")
    folders = import_dataset("folder", src, tmp_path / "f")
    assert tables["source"] == "isic2017"
    assert tables["classes"] == folders["classes"] == {
        "melanoma": 521, "nevus": 1843, "seborrheic_keratosis": 386}  # fmt: skip
    assert not [n for n in tables["notes"] if "published" in n]
    one, two = (
        read_dataset(tmp_path / d).table.set_index("image_id").sort_index() for d in ("t", "f")
    )
    assert (one["label"] == two["label"]).all()
    assert (one["official_split"] == two["official_split"]).all()
    assert (one["sex"] != "").sum() > 1500
