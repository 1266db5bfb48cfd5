"""A challenge's figures: the curves against scikit-learn, the files, and what has no figure."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from lesionlab.errors import BadInput
from lesionlab.evaluation.challenge.scorers import Judged, Score
from lesionlab.reporting import challenge_figures as figures

SVG = "{http://www.w3.org/2000/svg}"


def judged(challenge: str = "udacity", n: int = 40, **more: object) -> Judged:
    """Two tasks; the second column has no positive image. Scores come in steps, so with ties."""
    draw = np.random.default_rng(0)
    truth = np.stack([draw.random(n) < 0.4, np.zeros(n, bool)], 1)
    values = (draw.random((n, 2)) + 0.5 * truth).round(1)
    score = Score(
        challenge, "official", "area", 0.5, None, n, {}, positive="task_1", threshold=0.5,
        confusion=((30.0, 10.0), (0.0, 0.0)),
    )  # fmt: skip
    return Judged(dataclasses.replace(score, **more), ("task_1", "task_2"), truth, values)  # type: ignore[arg-type]


def test_a_curve_names_the_area_of_scikit_learn_and_one_sided_columns_have_none() -> None:
    given = judged()
    (curve,) = figures.roc_curves(given)
    area = roc_auc_score(given.truth[:, 0], given.values[:, 0])
    assert curve.name == f"melanoma (area {area:.3f})"
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    all_ill = dataclasses.replace(given, truth=np.ones_like(given.truth))
    assert figures.roc_curves(all_ill) == []


def test_a_column_keeps_its_colour_where_another_has_no_curve() -> None:
    given = judged()
    turned = dataclasses.replace(given, truth=given.truth[:, ::-1])
    assert [c.style for c in figures.roc_curves(given)] == [0]
    assert [c.style for c in figures.roc_curves(turned)] == [1]
    many = Judged(given.score, tuple("abcdef"), np.tile(given.truth[:, :1], 6), np.random.default_rng(1).random((40, 6)))  # fmt: skip  # noqa: E501
    assert [c.style for c in figures.roc_curves(many)] == [0, 1, 2, 3, 4, 0]


def test_the_files_are_whole_pictures_and_replace_older_ones(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    folder.mkdir(parents=True)
    (folder / "roc.svg").write_text("old")
    paths = figures.draw_score(judged(), folder)
    names = ["roc.svg", "roc.png", "confusion.svg", "confusion.png"]
    assert [p.name for p in paths] == names
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
    for path in paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
        else:
            with Image.open(path) as picture:
                picture.load()
                assert picture.mode == "RGB"


def test_without_a_confusion_matrix_there_are_two_files(tmp_path: Path) -> None:
    paths = figures.draw_score(judged(confusion=None), tmp_path)
    assert [p.name for p in paths] == ["roc.svg", "roc.png"]


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written") as refusal:
        figures.draw_score(judged(), tmp_path / "file")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("challenge", ["isic2016", "udacity", "isic2020", "isic2024"])
def test_two_classes_are_benign_and_malignant(challenge: str) -> None:
    assert figures.names_of(judged(challenge)) == ("benign", "malignant")


def test_of_several_classes_one_stands_against_the_rest() -> None:
    assert figures.names_of(judged("isic2018", positive="MEL")) == ("the rest", "MEL")


def test_the_matrix_shows_counts_and_the_row_without_images_no_share() -> None:
    root = ElementTree.fromstring(figures.confusion_svg(judged()))
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert {"30", "10", "0.75", "–"} <= set(" ".join(texts).split())
    assert "nan" not in texts
    assert "melanoma" in figures.confusion_svg(judged())


def pixel(picture: bytes, x: float, y: float) -> tuple[int, ...]:
    with Image.open(io.BytesIO(picture)) as image:
        found = image.convert("RGB").getpixel((round(x * figures.SCALE), round(y * figures.SCALE)))
    assert isinstance(found, tuple)
    return found


def test_a_cell_of_the_png_is_the_darker_the_larger_its_share() -> None:
    picture = figures.confusion_png(judged(confusion=((30.0, 10.0), (1.0, 9.0))))
    corners = [pixel(picture, 150 + 90 * j + 4, 60 + 90 * i + 4)[0] for i in (0, 1) for j in (0, 1)]
    # Shares 0.75, 0.25, 0.1, 0.9: red falls from 255 as blue ink is laid on.
    assert np.argsort(corners).tolist() == [3, 0, 1, 2]
    assert corners[3] == int(255 - 255 * (0.02 + 0.92 * 0.9))


def test_whole_numbers_count_as_well() -> None:
    whole = figures.confusion_png(judged(confusion=((30, 10), (1, 9))))
    assert whole == figures.confusion_png(judged(confusion=((30.0, 10.0), (1.0, 9.0))))


def test_the_png_of_the_curves_has_a_line_of_legend_for_each() -> None:
    one = figures.roc_curves(judged())
    heights = []
    for curves in ([], one, one * 3):
        with Image.open(io.BytesIO(figures.roc_png(curves))) as image:
            heights.append(image.height // figures.SCALE)
    assert np.diff(heights).tolist() == [18, 36]
