"""A bundle at work: its numbers against numpy and scipy, and models that are something else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from lesionlab.data.images import Preprocessing, normalise
from lesionlab.deployment import predictor as predictors
from lesionlab.deployment.bundle import Bundle, read_bundle
from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.errors import BadInput
from lesionlab.run_folder import FactsCoding


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return read_bundle(bundle_folder)


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle, 1)


def some_pixels(n: int = 5) -> Any:
    return np.random.default_rng(2).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def described(bundle: Bundle, **changes: Any) -> Bundle:
    return replace(bundle, info=bundle.info.model_copy(update=changes))


def test_outputs_are_those_of_the_network_and_of_scipy(predictor: Predictor, tiny: Any) -> None:
    said = predictor.predict(some_pixels())
    logits = tiny.tiny_weights().logits(normalise(some_pixels(), predictor.how))
    np.testing.assert_allclose(said.logits, logits, atol=1e-4)
    info = predictor.info
    ratio = [np.log(info.prior[c] / info.train_prior[c]) for c in info.classes]
    wanted = special.softmax(said.logits.astype(np.float64) / info.temperature + ratio, axis=1)
    np.testing.assert_allclose(said.prob, wanted, atol=1e-6)
    assert {a.dtype for a in (said.logits, said.prob, said.embedding)} == {np.dtype(np.float32)}
    assert said.embedding.shape == (5, info.embedding_size)
    assert said.cam is None


def test_a_prior_of_the_training_changes_nothing(bundle: Bundle) -> None:
    same = described(bundle, prior=dict(bundle.info.train_prior), temperature=1.0)
    logits = np.array([[1000.0, 1001.0, -1000.0], [0.0, 0.0, 0.0]], np.float32)
    found = Predictor(same, 1).probabilities(logits)
    np.testing.assert_allclose(found, special.softmax(logits, axis=1), atol=1e-6)


def test_maps_only_where_asked_for_and_there(
    predictor: Predictor, bundle: Bundle, tiny: Any
) -> None:
    said = predictor.predict(some_pixels(), with_cam=True)
    assert said.cam is not None
    bias = tiny.tiny_weights().bias
    np.testing.assert_allclose(said.cam.mean((2, 3)) + bias, said.logits, atol=1e-4)
    model = tiny.tiny_model(tiny.tiny_weights())
    del model.graph.output[2]
    without = described(bundle, outputs=("logits", "embedding"))
    without = replace(without, model=model.SerializeToString())
    assert Predictor(without, 1).predict(some_pixels(), with_cam=True).cam is None


def test_an_answer_does_not_depend_on_its_company_or_thread(predictor: Predictor) -> None:
    together = predictor.predict(some_pixels(8)).logits
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda p: predictor.predict(p[None]).logits[0], some_pixels(8)))
    np.testing.assert_allclose(np.stack(alone), together, atol=1e-5)


def test_the_picture_of_the_self_test_by_hand() -> None:
    """It is the same in the browser and in every version: a change breaks all bundles."""
    made = predictors.test_picture(Preprocessing(size=64))
    assert (made.shape, made.dtype) == ((64, 64, 3), np.uint8)
    assert made[2, 5].tolist() == [5 * 7 + 2 * 3, 5 * 2 + 2 * 5, 2 * 5]
    assert made[60, 50].tolist() == [(350 + 180) % 256, (100 + 300) % 256, 3000 % 256]
    grey = predictors.test_picture(Preprocessing(size=64, channels=1, mean=(0.5,), std=(0.5,)))
    np.testing.assert_array_equal(grey, made[:, :, :1])


def test_the_self_test_returns_the_difference(predictor: Predictor, bundle: Bundle) -> None:
    assert predictor.self_test() < 1e-5
    stored = bundle.info.self_test
    moved = described(bundle, self_test=(stored[0] + 5e-4, *stored[1:]))
    assert Predictor(moved, 1).self_test() == pytest.approx(5e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("precision", "off", "fine"),
    [("float32", 0.002, False), ("int8", 0.4, True), ("int8", 0.6, False)],
)
def test_the_self_test_allows_what_the_precision_may_cost(
    bundle: Bundle, precision: str, off: float, fine: bool
) -> None:
    """In parts of the largest logit, of 1 at least."""
    stored = np.array(bundle.info.self_test)
    limit = max(1.0, float(np.abs(stored).max()))
    smallest = np.abs(stored).argmin()  # moved past 0, so that the largest stays the largest
    stored[smallest] -= np.sign(stored[smallest]) * off * limit
    moved = described(bundle, precision=precision, self_test=tuple(stored))
    if fine:
        assert Predictor(moved, 1).self_test() == pytest.approx(off * limit, rel=1e-3)
        return
    with pytest.raises(BadInput, match=r"tiny: the self-test differs by .*another version"):
        Predictor(moved, 1).self_test()


def test_a_network_that_answers_nan_fails_the_self_test(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full((1, 3), np.nan, np.float32)
    monkeypatch.setattr(predictor, "predict", lambda _: Outputs(nothing, nothing, nothing))
    with pytest.raises(BadInput, match="the self-test differs by nan"):
        predictor.self_test()


def wrong(change: Callable[[Any], Any]) -> Callable[[Bundle, Any], Bundle]:
    """A bundle whose model was changed."""

    def make(bundle: Bundle, tiny: Any) -> Bundle:
        model = tiny.tiny_model(tiny.tiny_weights())
        change(model.graph)
        return replace(bundle, model=model.SerializeToString())

    return make


def renamed(graph: Any) -> None:
    graph.input[0].name = graph.node[0].input[0] = "pictures"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda b, _: replace(b, model=b"no model"), r"model\.onnx: onnxruntime cannot load"),
        (wrong(renamed), "its inputs are {'pictures': .* but {'images': .* was expected"),
        (wrong(lambda g: g.output.pop(1)), "outputs .* do not fit 3 classes"),
        (wrong(lambda g: g.output.insert(0, g.output.pop(1))), "do not fit 3 classes"),
        (lambda b, _: described(b, classes=("mel", "nv")), "do not fit 2 classes"),
        (lambda b, _: described(b, embedding_size=7), "the embedding is not 7 wide"),
        (lambda b, _: described(b, outputs=("logits", "embedding")), "do not fit 3 classes"),
        (
            lambda b, _: described(b, facts=FactsCoding(columns=("sex",))),
            r"but {'images': .*, 'facts': \(\[3\], 'tensor\(float\)'\)} was expected",
        ),
        (
            lambda b, t: described(b, preprocessing=t.INPUT.model_copy(update={"size": 32})),
            r"but {'images': \(\[3, 32, 32\]",
        ),
    ],
)
def test_a_model_that_is_not_what_its_description_says(
    bundle: Bundle, tiny: Any, make: Callable[[Bundle, Any], Bundle], match: str
) -> None:
    with pytest.raises(BadInput, match=match) as error:
        Predictor(make(bundle, tiny), 1)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{bundle.source}/model.onnx: ")
