"""`lesionlab score` and `lesionlab submit` as a person uses them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from lesionlab.cli.main import run

HEAD = "image_id,patient_id,lesion_id,label,prob_benign,prob_malignant"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    truth, sub = tmp_path / "truth.csv", tmp_path / "sub.csv"
    truth.write_text("Id,task_1,task_2\na,1,0\nb,0,1\nc,0,0\n")
    sub.write_text("Id,task_1,task_2\na,0.4,0.0\nb,0.6,1.0\nc,0.1,0.0\n")
    return truth, sub


def test_score_prints_three_digits_and_draws(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, sub = map(str, files)
    figures = tmp_path / "figures"
    assert (
        run(["score", "udacity", truth, sub, "--threshold", "0.4", "--figures", str(figures)]) == 0
    )
    shown = capsys.readouterr().out
    assert "0.500" in shown
    assert "0.750" in shown
    for name in ("roc", "confusion"):
        root = ET.parse(figures / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        with Image.open(figures / f"{name}.png") as image:
            assert image.width > 600
    svg = (figures / "roc.svg").read_text()
    assert "melanoma (area 0.500)" in svg
    assert "seborrheic keratosis (area 1.000)" in svg
    assert "0.50" in (figures / "confusion.svg").read_text()


def test_score_json_is_one_object(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "udacity", *map(str, files), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parts"]["category_3"] == 0.75
    assert result["confusion"] == [[1.0, 1.0], [1.0, 0.0]]


def test_score_refuses_in_one_line(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, sub = map(str, files)
    assert run(["score", "udacity", sub, truth]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_submit_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "predictions.csv", tmp_path / "out.csv"
    table.write_text(f"{HEAD}\nISIC_1,,,benign,0.75,0.25\nISIC_2,,,malignant,0.5,0.5\n")
    assert run(["submit", str(table), "--format", "isic2024", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert out.read_text() == "isic_id,target\nISIC_1,0.25\nISIC_2,0.5\n"
    assert run(["submit", str(out), "--format", "isic2024", "--check"]) == 0
    assert "would accept them" in capsys.readouterr().out
    assert run(["submit", str(out), "--format", "isic2020", "--check"]) == 2
    assert "refused:" in capsys.readouterr().out
    assert run(["submit", str(table), "--format", "isic2024"]) == 2
    assert "-o" in capsys.readouterr().err
    assert run(["submit", str(table), "--format", "isic2018", "-o", str(out)]) == 2
    assert run(["submit", str(table), "--format", "isic2024", "-o", str(out), "--balanced"]) == 2
    assert "prior" in capsys.readouterr().err


def test_a_run_without_predictions_of_the_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["submit", str(tmp_path), "--format", "isic2024", "-o", "x.csv"]) == 2
    assert "not a run folder" in capsys.readouterr().err
