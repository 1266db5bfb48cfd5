"""Synthetic dermoscopy-like lesions, for demonstrations and tests. They are no patients.

The generator, from patient to pixel:

1. A patient has an age, a sex, a skin type and one to four lesions; a lesion has a site.
2. A lesion has four hidden traits of the ABCD rule, each standard normal: asymmetry, border
   irregularity, colours and diameter. Their mean (scaled to unit variance) plus an age effect
   gives `P(malignant) = sigmoid(STEEPNESS * (score - CUT))`, from which the diagnosis is drawn:
   the classes overlap, and even who knows all traits reaches an AUC of only about 0.9
   (`bayes_probability` holds that probability; it must never be a model input).
3. A lesion is photographed one to three times: turned, shifted, in other light.
4. Hair, a ruler, ink and a dark vignette are laid over the picture independently of the diagnosis.

Every draw is a function of (seed, patient, lesion, view), so that `lesions=100` begins with the
lesions of `lesions=50`. The mask is the true outline before the distractors.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.special import expit, ndtr

from lesionlab.data.randomness import philox
from lesionlab.data.sources.base import Found, Source
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput

Float = npt.NDArray[np.floating[Any]]

HEIGHT, WIDTH = 128, 160
STEEPNESS, CUT = 2.3, 0.6
AGE_EFFECT = 0.3  # a standard deviation of age is worth this much of the score
SITES = ("back", "abdomen", "chest", "upper extremity", "lower extremity", "face", "neck")
SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
SKIN_SHARES = (0.15, 0.3, 0.25, 0.15, 0.1, 0.05)
SKIN = np.array(
    [
        (238, 205, 190),
        (228, 188, 165),
        (212, 168, 138),
        (182, 134, 100),
        (140, 95, 66),
        (96, 64, 46),
    ],
    np.float32,
)
# What a pigmented lesion can show beside its brown (Menzies): dark brown, black, red, blue, white.
COLOURS = np.array(
    [(74, 42, 26), (28, 22, 24), (168, 62, 58), (92, 104, 128), (222, 214, 212)], np.float32
)


@dataclass(frozen=True)
class Lesion:
    """What is true of one lesion. The traits are standard normal."""

    number: int
    patient: int
    age: float
    sex: str
    skin: int
    site: str
    traits: tuple[float, float, float, float]  # asymmetry, border, colours, diameter
    probability: float
    malignant: bool
    views: int


def lesions(seed: int, n: int) -> Iterator[Lesion]:
    """The first `n` lesions of the world of this seed."""
    number = patient = 0
    while number < n:
        draw = philox(seed, "synthetic patient", patient)
        age = float(np.clip(draw.normal(52, 17), 6, 90))
        sex = ("female", "male")[int(draw.integers(2))]
        skin = int(draw.choice(len(SKIN), p=SKIN_SHARES))
        for _ in range(min(int(draw.geometric(0.6)), 4, n - number)):
            yield _lesion(seed, number, patient, age, sex, skin)
            number += 1
        patient += 1


def _lesion(seed: int, number: int, patient: int, age: float, sex: str, skin: int) -> Lesion:
    draw = philox(seed, "synthetic lesion", number)
    traits = draw.normal(size=4)
    score = traits.sum() / 2 + AGE_EFFECT * (age - 52) / 17
    probability = float(expit(STEEPNESS * (score - CUT)))
    return Lesion(
        number=number,
        patient=patient,
        age=age,
        sex=sex,
        skin=skin,
        site=SITES[int(draw.integers(len(SITES)))],
        traits=(float(traits[0]), float(traits[1]), float(traits[2]), float(traits[3])),
        probability=probability,
        malignant=bool(draw.random() < probability),
        views=int(draw.choice(3, p=(0.3, 0.4, 0.3))) + 1,
    )


def render(seed: int, lesion: Lesion, view: int) -> npt.NDArray[np.uint8]:
    """One photograph: `(128, 160, 3)` uint8."""
    draw = philox(seed, "synthetic view", lesion.number, view)
    x, y, u, v = _coordinates(draw)
    skin = SKIN[lesion.skin] + _cloud(draw, 6.0)
    coverage, depth = _outline(philox(seed, "synthetic shape", lesion.number), lesion, u, v)
    pigment = _pigment(philox(seed, "synthetic pigment", lesion.number), lesion, u, v, depth)
    pixels = skin + coverage[..., None] * (pigment - skin)
    pixels = pixels * draw.normal(1, 0.06) + draw.normal(0, 4, 3).astype(np.float32)
    pixels = _distract(draw, pixels, x, y)
    pixels += 3 * draw.standard_normal(pixels.shape, np.float32)
    return pixels.clip(0, 255).astype(np.uint8)


def mask(seed: int, lesion: Lesion, view: int) -> npt.NDArray[np.uint8]:
    """The lesion's true outline in the same photograph: `(128, 160)` uint8, 0 or 255."""
    _, _, u, v = _coordinates(philox(seed, "synthetic view", lesion.number, view))
    coverage, _ = _outline(philox(seed, "synthetic shape", lesion.number), lesion, u, v)
    return (coverage > 0.5).astype(np.uint8) * 255


def _coordinates(draw: np.random.Generator) -> tuple[Float, Float, Float, Float]:
    """Pixel coordinates (half the height is 1), and the same as the lesion sees them."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x, y = (x - WIDTH / 2) / (HEIGHT / 2), (y - HEIGHT / 2) / (HEIGHT / 2)
    angle, zoom = draw.uniform(0, 2 * np.pi), float(draw.normal(1, 0.04))
    dx, dy = (float(d) for d in draw.normal(0, 0.08, 2))
    cos, sin = math.cos(angle), math.sin(angle)
    u = (cos * (x - dx) + sin * (y - dy)) / zoom
    v = (cos * (y - dy) - sin * (x - dx)) / zoom
    return x, y, u, v


def _cloud(draw: np.random.Generator, strength: float) -> Float:
    """Smooth noise: a coarse random grid, enlarged. `(128, 160, 1)`."""
    coarse = Image.fromarray(draw.normal(0, strength, (6, 8)).astype(np.float32))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))[..., None]


def _outline(draw: np.random.Generator, lesion: Lesion, u: Float, v: Float) -> tuple[Float, Float]:
    """How much each pixel belongs to the lesion (0 to 1), and its depth (1 centre, 0 edge)."""
    uneven, ragged = float(ndtr(lesion.traits[0])), float(ndtr(lesion.traits[1]))
    radius = float(np.clip(0.42 * np.exp(0.28 * lesion.traits[3]), 0.14, 0.85))
    angle = np.arctan2(v, u)
    edge = 1 + 0.08 * np.cos(2 * angle + draw.uniform(0, 6.3))
    for harmonic, amplitude in ((3, 0.20), (5, 0.10)):
        edge += uneven * amplitude * np.cos(harmonic * angle + draw.uniform(0, 6.3))
    for harmonic in range(7, 16, 2):
        edge += ragged * 0.045 * np.cos(harmonic * angle + draw.uniform(0, 6.3))
    depth = 1 - np.hypot(u, v) / (radius * edge)
    softness = 0.22 - 0.17 * ragged  # a melanoma ends abruptly
    return expit(depth / softness * 6), depth.clip(0, 1)


def _pigment(draw: np.random.Generator, lesion: Lesion, u: Float, v: Float, depth: Float) -> Float:
    """The lesion's own colours, `(128, 160, 3)`: brown, a network, and blots of other colours."""
    brown = SKIN[lesion.skin] * np.array([0.62, 0.48, 0.42], np.float32) * draw.normal(1, 0.06)
    off, to = 0.35 * float(ndtr(lesion.traits[0])), draw.uniform(0, 6.3)
    dark = np.exp(-((u - off * math.cos(to)) ** 2 + (v - off * math.sin(to)) ** 2) / 0.12)
    network = sum(
        np.sin(draw.uniform(18, 34) * (math.cos(a) * u + math.sin(a) * v) + draw.uniform(0, 6.3))
        for a in draw.uniform(0, np.pi, 4)
    )
    pixels: Float = brown * (1 - 0.25 * dark - 0.04 * network * depth)[..., None]
    many = 4 * float(ndtr(lesion.traits[2]))
    for rank, colour in enumerate(draw.permutation(COLOURS)):
        strength = float(np.clip(many - rank, 0, 1)) * 0.8
        cx, cy = draw.normal(0, 0.2), draw.normal(0, 0.2)
        width = draw.uniform(0.01, 0.04)
        blot = strength * np.exp(-((u - cx) ** 2 + (v - cy) ** 2) / width)
        pixels += blot[..., None] * (colour - pixels)
    return pixels


def _distract(draw: np.random.Generator, pixels: Float, x: Float, y: Float) -> Float:
    """Hair, ruler, ink and vignette, whatever the diagnosis."""
    hair, ruler, ink, vignette = draw.random(4) < (0.4, 0.25, 0.15, 0.3)
    strands = np.zeros(x.shape, bool)
    for _ in range(int(draw.integers(3, 14)) if hair else 0):
        a, bend, at = draw.uniform(0, np.pi), draw.normal(0, 0.4), draw.uniform(-1.2, 1.2)
        cos, sin = math.cos(a), math.sin(a)
        along, across = cos * x + sin * y, cos * y - sin * x
        strands |= np.abs(across - at - bend * along**2) < draw.uniform(0.008, 0.02)
    pixels[strands] = pixels[strands] * 0.25 + 10
    if ruler:
        step = draw.uniform(0.1, 0.16)
        ticks = (np.abs(x % step) < 0.016) & (y > np.where(x % (5 * step) < step, 0.8, 0.88))
        pixels[ticks] = 35.0
    if ink:
        cx, cy = draw.uniform(-1.1, 1.1), draw.choice((-0.85, 0.85))
        mark = np.abs(np.hypot(x - cx, y - cy) - draw.uniform(0.08, 0.2)) < 0.035
        pixels[mark] = 0.35 * pixels[mark] + np.array([40, 20, 95], np.float32)
    if vignette:
        pixels = pixels * expit((draw.uniform(1.05, 1.3) - np.hypot(x, y)) * 18)[..., None]
    return pixels


def _jpeg(seed: int, lesion: Lesion, view: int) -> bytes:
    return _encoded(render(seed, lesion, view), "JPEG", quality=90)


def _mask(seed: int, lesion: Lesion, view: int) -> bytes:
    return _encoded(mask(seed, lesion, view), "PNG")


def _encoded(pixels: npt.NDArray[np.uint8], form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """`options`: `lesions` (default 150, about two images each) and `seed` (default 0)."""
    seed, n = int(options["seed"]), int(options["lesions"])
    if not 1 <= n <= 1_000_000:
        raise BadInput(f"lesions={n} is not between 1 and 1,000,000")
    makers: dict[str, Callable[[], bytes]] = {}
    rows: list[dict[str, Any]] = []
    for lesion in lesions(seed, n):
        for view in range(lesion.views):
            image_id = f"SYN_{len(rows):06d}"
            makers[f"{image_id}.jpg"] = partial(_jpeg, seed, lesion, view)
            makers[f"{image_id}_mask.png"] = partial(_mask, seed, lesion, view)
            rows.append(_row(image_id, lesion))
    return Found(
        rows=pd.DataFrame(rows),
        read=lambda name: makers[name](),
        classes=("benign", "malignant"),
        malignant=("malignant",),
        notes=("synthetic images made by lesionlab: no patients, no clinical meaning",),
    )


def _row(image_id: str, lesion: Lesion) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "file": f"{image_id}.jpg",
        "mask_file": f"{image_id}_mask.png",
        "label": "malignant" if lesion.malignant else "benign",
        "patient_id": f"SP_{lesion.patient:05d}",
        "lesion_id": f"SL_{lesion.number:05d}",
        "age": 5.0 * round(lesion.age / 5),
        "sex": lesion.sex,
        "site": lesion.site,
        "skin_type": SKIN_TYPES[lesion.skin],
        "bayes_probability": f"{lesion.probability:.6f}",
    }


SOURCE = Source(
    name="synthetic",
    title="synthetic lesions",
    find=find,
    recognise=lambda tree: "",
    licence="Apache-2.0 (generated by lesionlab)",
    modality="dermoscopy",
    forbidden=("bayes_probability",),
    options={"lesions": 150, "seed": 0},
    needs_tree=False,
    synthetic=True,
)
