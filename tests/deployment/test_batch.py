"""Many images through one predictor: in order, in bounded memory, each with its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.images import UnreadableImage
from lesionlab.deployment import batch
from lesionlab.deployment.batch import (
    AHEAD,
    BATCH,
    ImageResult,
    PredictOptions,
    about_image,
    as_json,
    item_view,
    predict_items,
)
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.decode import View
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return Predictor(read_bundle(bundle_folder), 1)


def items(n: int) -> list[Item]:
    return [Item(f"i{k}", Path(f"{k}.png")) for k in range(n)]


def pixels_of(path: Path) -> Any:
    """Pixels that only this image has, of the tiny network's size."""
    return np.random.default_rng(int(path.stem)).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every tenth image cannot be read, every seventh has a note; names of those decoded."""
    seen: list[str] = []

    def view(path: Path, *_: Any, name: str, **__: Any) -> View:
        seen.append(name)
        if int(path.stem) % 10 == 3:
            raise UnreadableImage("the file is empty", where=name)
        return View(pixels_of(path), "seven" if int(path.stem) % 7 == 0 else "")

    monkeypatch.setattr(batch, "read_view", view)
    return seen


@pytest.mark.usefixtures("decoded")
def test_each_item_has_its_own_result_in_order(predictor: Predictor) -> None:
    """More images than are decoded ahead, with unreadable ones among them."""
    asked = items(AHEAD + BATCH + 5)
    found = list(predict_items(predictor, asked, workers=3))
    assert [r.item for r in found] == asked
    for n, result in enumerate(found):
        if n % 10 == 3:
            assert result == ImageResult(asked[n], None, "the file is empty")
            continue
        alone = predictor.predict(pixels_of(asked[n].path)[None])
        assert result.answer is not None
        assert list(result.answer.logits.values()) == pytest.approx(alone.logits[0], abs=1e-5)
        assert (result.error, result.note) == ("", "seven" if n % 7 == 0 else "")
        np.testing.assert_array_equal(result.pixels, pixels_of(asked[n].path))
        assert result.cam is None


def test_no_more_is_decoded_than_what_comes_next(predictor: Predictor, decoded: list[str]) -> None:
    pulled = []

    def endless() -> Iterator[Item]:
        for n in range(10**6):
            pulled.append(n)
            yield Item(f"i{n}", Path(f"{n}.png"))

    results = predict_items(predictor, endless())
    next(results)
    assert len(pulled) <= AHEAD + BATCH
    results.close()  # type: ignore[attr-defined]
    assert len(decoded) <= len(pulled)


@pytest.mark.usefixtures("decoded")
def test_maps_are_those_of_their_images(predictor: Predictor) -> None:
    asked = items(6)
    found = list(predict_items(predictor, asked, PredictOptions(with_cam=True)))
    for result in (r for r in found if r.answer is not None):
        alone = predictor.predict(pixels_of(result.item.path)[None], with_cam=True)
        assert alone.cam is not None
        np.testing.assert_allclose(result.cam, alone.cam[0], atol=1e-5)
    assert found[3].cam is None


@pytest.mark.usefixtures("decoded")
def test_a_group_without_any_image_and_no_images_at_all(predictor: Predictor) -> None:
    unreadable = [Item(f"i{n}", Path("3.png")) for n in range(BATCH + 1)]
    assert {r.error for r in predict_items(predictor, unreadable)} == {"the file is empty"}
    assert list(predict_items(predictor, [])) == []


def test_a_bug_is_no_unreadable_image(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> View:
        raise ZeroDivisionError

    monkeypatch.setattr(batch, "read_view", broken)
    with pytest.raises(ZeroDivisionError):
        list(predict_items(predictor, items(2)))


@pytest.mark.usefixtures("decoded")
def test_options_reach_the_answer(predictor: Predictor) -> None:
    (plain,) = predict_items(predictor, items(1))
    point = predictor.info.operating_points[0]
    (decided,) = predict_items(predictor, items(1), PredictOptions(point, "none"))
    assert plain.answer is not None
    assert decided.answer is not None
    assert plain.answer.decision is None
    assert decided.answer.decision is not None
    assert decided.answer.decision.positive is (decided.answer.decision.score >= point.threshold)


def test_a_model_of_regions_refuses_an_image_without_one(predictor: Predictor) -> None:
    training = predictor.info.training.model_copy(update={"regions": True})
    bundle = predictor.bundle
    regions = replace(bundle, info=bundle.info.model_copy(update={"training": training}))
    with pytest.raises(UnreadableImage, match=r"i0: no region given \(roi_x, roi_y, roi_size\)"):
        item_view(Predictor(regions, 1), items(1)[0])


def test_what_is_said_of_an_image_without_an_answer() -> None:
    result = ImageResult(Item("a", Path("b") / "a.png"), None, "the file is empty", "a note")
    wanted = {"image_id": "a", "path": "b/a.png", "error": "the file is empty", "note": "a note"}
    assert as_json(result) == about_image(result) == wanted
    assert about_image(replace(result, error=""))["error"] is None


def test_the_depth_of_the_model_s_data_set_is_applied(predictor: Predictor, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (16, 16), np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    item = Item("deep", tmp_path / "deep.png")
    learnt = predictor.info.training.model_copy(update={"depth": 12})
    info = predictor.info.model_copy(update={"training": learnt})
    of_12 = copy(predictor)
    of_12.info = info
    seen, dark = item_view(of_12, item), item_view(predictor, item)
    assert seen.pixels.max() > 200
    assert seen.note == ""
    assert dark.pixels.max() < 16
    assert "12 of 16 bits: the model sees it dark" in dark.note
