"""The browser's code against Python's, by node: resize, colours, orientation, answers."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.browser_code import ANSWER, PREPARE, node
from lesionlab.config import InputSettings
from lesionlab.data.images import FILTERS, Preprocessing, normalise, prepare
from lesionlab.deployment.answers import answers
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.heatmap import overlay
from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.deployment.web import page_files
from lesionlab.evaluation.class_scores import score_of

WEB = Path(__file__).parents[2] / "src" / "lesionlab" / "deployment" / "web"
BROWSER = WEB / "browser"
VECTORS = json.loads((Path(__file__).parent / "resize_vectors.json").read_text())


def pattern(width: int, height: int, channels: int, seed: int) -> np.ndarray[Any, Any]:
    """The vectors' input: byte i is (7 i^2 + 13 i + 31 seed + floor(i / 97)) mod 256."""
    i = np.arange(width * height * channels, dtype=np.int64)
    flat = (7 * i * i + 13 * i + 31 * seed + i // 97) % 256
    return flat.astype(np.uint8).reshape(height, width, channels)


@pytest.mark.parametrize(
    "case",
    VECTORS,
    ids=lambda c: f"{c['from']}to{c['to']}x{c['channels']}{c.get('interpolation', '')}",
)
def test_pillow_gives_the_shared_vectors(case: dict[str, Any]) -> None:
    """If a new Pillow fails here, training and browser would part: every bundle is concerned."""
    (w, h), c = case["from"], case["channels"]
    image = Image.fromarray(pattern(w, h, c, case["seed"]).squeeze())
    small = image.resize(tuple(case["to"]), FILTERS[case.get("interpolation", "bilinear")])
    assert hashlib.sha256(np.asarray(small).tobytes()).hexdigest() == case["sha256"]


def test_javascript_gives_the_shared_vectors() -> None:
    found = node(
        """
        import { createHash } from "node:crypto";
        const { resize } = await import(`${browser}/resize.js`);
        const hashes = given.map((one) => {
          const { from: [w, h], to: [ow, oh], channels, seed, interpolation } = one;
          const pixels = Uint8Array.from({ length: w * h * channels },
            (_, i) => (7 * i * i + 13 * i + 31 * seed + Math.floor(i / 97)) % 256);
          const small = resize(pixels, w, h, channels, ow, oh, interpolation);
          return createHash("sha256").update(small).digest("hex");
        });
        console.log(JSON.stringify(hashes));
        """,
        VECTORS,
    )
    assert found == [case["sha256"] for case in VECTORS]


# Fit, channels, filter, crop; 16 / 0.9 = 17.8 and 16 / 0.84 = 19.05 leave odd margins.
INPUTS = [
    ("squash", 3, "bilinear", 1.0),
    ("crop", 3, "bilinear", 1.0),
    ("squash", 1, "bilinear", 1.0),
    ("squash", 3, "bicubic", 0.9),
    ("crop", 3, "bicubic", 0.84),
    ("crop", 1, "bilinear", 0.875),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("fit", "channels", "interpolation", "crop"), INPUTS)
def test_prepare_and_normalise(
    orientation: int, fit: str, channels: int, interpolation: str, crop: float
) -> None:
    rng = np.random.default_rng(orientation)
    rgba = rng.integers(0, 256, (23, 37, 4), dtype=np.uint8)
    rgba[:, :20, 3] = 255
    image = Image.fromarray(rgba)
    shown = {"mean": (0.4,) * channels, "std": (0.2,) * channels, "crop": crop}
    shown |= {"size": 16, "fit": fit, "channels": channels, "interpolation": interpolation}
    settings = InputSettings.model_validate(shown)
    how = Preprocessing(**settings.model_dump())
    page = Image.new("RGBA", image.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(page, image).convert("RGB")
    flat.getexif()[0x0112] = orientation
    wanted = prepare(ImageOps.exif_transpose(flat), how)
    picture = {"width": 37, "height": 23, "rgba": rgba.ravel().tolist()}
    stored = settings.model_dump(mode="json")
    if (interpolation, crop) == ("bilinear", 1.0):  # as a bundle of 0.1.0 has it
        del stored["interpolation"], stored["crop"]
    found = node(PREPARE, {"image": picture, "orientation": orientation, "how": stored})
    assert found["pixels"] == wanted.ravel().tolist()
    floats = np.array(found["floats"], np.float32)
    assert np.array_equal(floats, normalise(wanted[None], how).ravel())


def test_the_sides_and_margins_are_those_of_python() -> None:
    asked = [(size, crop / 1000) for size in (16, 224, 241) for crop in range(500, 1001)]
    code = """
    const { geometry } = await import(`${browser}/view.js`);
    console.log(JSON.stringify(given.map(([size, crop]) => {
      const { side, margin } = geometry({ size, crop });
      return [side, margin];
    })));
    """
    hows = [Preprocessing(size=size, crop=crop) for size, crop in asked]
    assert node(code, asked) == [[how.resized_side, how.margin] for how in hows]


@pytest.mark.parametrize("offset", [[0, 0], [0.5, -0.5], [-0.25, 1.25], None])
def test_the_places_of_a_map_lie_where_python_draws_them(offset: list[float] | None) -> None:
    """In a picture of 448 pixels: the hottest place, and what moves in at the edges."""
    code = """
    const { placed } = await import(`${browser}/picture.js`);
    const moved = placed(given.map, [0, 0, 448, 448], given.offset ?? undefined);
    console.log(JSON.stringify(moved));
    """
    cam = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    cam[2, 4] = 3
    found = node(code, {"map": cam.tolist(), "offset": offset})
    grid, (left, top, width, height) = np.array(found["map"]), found["place"]
    assert width / grid.shape[1] == height / grid.shape[0] == 64
    row, column = np.argwhere(grid == 3)[0]
    black = np.zeros((448, 448, 3), np.uint8)
    both = np.stack([cam, np.zeros_like(cam)])
    given = (0.0, 0.0) if offset is None else (offset[0], offset[1])
    shown = np.asarray(overlay(black, both, 0, given), np.float64).sum(2)
    hottest = np.argwhere(shown >= shown.max() - 1).mean(0) + 0.5
    drawn = (top + (row + 0.5) * 64, left + (column + 0.5) * 64)
    assert drawn == pytest.approx(hottest.tolist(), abs=4)
    assert left <= 0
    assert top <= 0
    assert left + width >= 448
    assert top + height >= 448
    assert (grid[0] == grid[1]).all() or offset in ([0, 0], None)  # the place at the edge


def test_the_heat_map_lies_where_the_network_looked() -> None:
    """A 300 x 200 picture: 224 of 256 pixels a side are kept, 16 are left out at each edge."""
    code = """
    const { viewOf } = await import(`${browser}/view.js`);
    const how = { size: 224, crop: 0.875 };
    console.log(JSON.stringify(["squash", "crop"].map((fit) => viewOf(300, 200, { ...how, fit }))));
    """
    squash, crop = node(code)
    assert squash == {"left": 18.75, "top": 12.5, "width": 262.5, "height": 175.0}
    assert crop == {"left": 62.5, "top": 12.5, "width": 175.0, "height": 175.0}


@pytest.mark.parametrize("abstain", ["none", "ood", "ood_or_set"])
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_answers(bundle_folder: Path, abstain: str, method: str) -> None:
    bundle = read_bundle(bundle_folder)
    rule = replace(bundle.info.conformal[0], method=method, quantile=(0.7, 0.9, math.inf))
    info = bundle.info.model_copy(update={"conformal": (rule,)})
    predictor = Predictor(bundle)
    predictor.info = info
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20, 3)).astype(np.float32)
    near = bundle.arrays["bank.npy"][:20].astype(np.float32)
    embedding = near + rng.normal(0, np.linspace(0.01, 0.3, 20)[:, None], near.shape).astype(
        np.float32
    )
    outputs = Outputs(logits, predictor.probabilities(logits), embedding)
    point = info.operating_points[0]
    wanted = [a.model_dump() for a in answers(predictor, outputs, point, abstain)]
    rows = zip(logits.tolist(), embedding.tolist(), strict=True)
    found = node(
        ANSWER,
        {
            "folder": str(bundle_folder),
            "info": info.model_dump(mode="json"),
            "rows": [{"logits": z, "embedding": e} for z, e in rows],
            "abstain": abstain,
        },
    )
    said = {a["decision"]["positive"] for a in wanted}
    assert said >= ({True, False} if abstain == "none" else {None})
    for ours, theirs in zip(wanted, found, strict=True):
        assert set(ours) == set(theirs)
        assert set(ours["decision"]) == set(theirs["decision"])
        assert set(ours["ood"]) == set(theirs["ood"])
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-6)
        assert ours["decision"]["positive"] == theirs["decision"]["positive"]
        assert ours["decision"]["reason"] == theirs["decision"]["reason"]
        assert ours["decision"]["operating_point"] == theirs["decision"]["operating_point"]
        assert ours["decision"]["score"] == pytest.approx(theirs["decision"]["score"], abs=1e-6)
        assert ours["conformal"] == theirs["conformal"]
        assert ours["similar"] == theirs["similar"]
        assert ours["ood"]["flagged"] == theirs["ood"]["flagged"]
        assert ours["ood"]["score"] == pytest.approx(theirs["ood"]["score"], rel=1e-4)
        for key in ("class_at_dataset_prior", "class_at_uniform_prior"):
            assert ours[key] == theirs[key]


def test_scores_are_those_of_python_to_the_last_bit() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(0, 4, (400, 6)).astype(np.float32)
    single = (np.exp(z) / np.exp(z).sum(1, keepdims=True)).astype(np.float64)
    tenths = np.array([[0.2, 0.7, 0.1, 0, 0, 0], [0.7, 0, 0.1, 0.2, 0, 0]])
    ties = np.array([[1001 / 8192, 0, 0, 0, 0, 0], [0, 1003 / 8192, 0, 0, 0, 0]])  # .5 at 12 digits
    prob = np.concatenate([single, tenths, ties, single * 1e-7])
    classes = ["a", "b", "c", "d", "e", "f"]
    for score in (["b", "c"], ["c", "b", "a"], ["e", "a", "f", "b"], ["d"]):
        found = node(
            """
            const { scoreOf } = await import(`${browser}/answers.js`);
            const { prob, classes, score } = given;
            console.log(JSON.stringify(prob.map((row) => scoreOf(row, classes, score))));
            """,
            {"prob": prob.tolist(), "classes": classes, "score": score},
        )
        assert found == score_of(prob, classes, score).tolist()


def test_half_floats() -> None:
    values = np.arange(0, 65536, 7, dtype=np.uint16)
    finite = values[np.isfinite(values.view(np.float16))]
    code = "const { half } = await import(`${browser}/npy.js`);"
    code += "console.log(JSON.stringify(given.map(half)));"
    assert node(code, finite.tolist()) == finite.view(np.float16).astype(float).tolist()


def test_both_languages_say_everything() -> None:
    code = "const { STRINGS } = await import(`${browser}/strings.js`);"
    code += "console.log(JSON.stringify(STRINGS));"
    strings = node(code)
    english = strings["en"]
    assert set(strings) == {"en", "zh"}
    for language, words in strings.items():
        assert set(words) == set(english), language
        for table in ("classes", "policies", "parts"):
            assert set(words[table]) == set(english[table])
        assert len(words["words"]) == len(english["words"])
        for key, text in words.items():
            if isinstance(text, str):
                holes = [text.count(f"{{{n}}}") for n in range(5)]
                assert holes == [english[key].count(f"{{{n}}}") for n in range(5)], key


def test_numbers_as_words() -> None:
    code = """
    const { percent, word, STRINGS } = await import(`${browser}/strings.js`);
    const ps = [0, 0.00001, 0.005, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99999, 1];
    console.log(JSON.stringify(ps.map((p) => [percent(p), word(STRINGS.en, p)])));
    """
    found = node(code)
    assert found[0] == ["0.0", "very unlikely"]
    assert found[1][0] == "< 0.1"
    assert found[-2] == ["> 99.9", "very likely"]
    assert found[5] == ["50.0", "about even"]


def test_no_file_of_the_page_names_another_server() -> None:
    for name, (content, _) in page_files().items():
        text = content.decode()
        for address in ("http:", "https:", "//cdn"):
            place = text.replace("http://www.w3.org/2000/svg", "").find(address)
            assert place < 0, f"{name}: {text[place : place + 40]}"


def test_nothing_is_written_as_html() -> None:
    """55: names of files and classes reach the page as text only."""
    for path in [*WEB.glob("*.js"), *BROWSER.glob("*.js")]:
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{path.name}: {word}"
