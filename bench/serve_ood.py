"""How often a bundle says "not like the training images", by kind of picture.

    python bench/serve_ood.py BUNDLE DATASET --mias mini-mias.zip [--isic2017 isic2017.zip]

DATASET's validation part fitted the thresholds; its test part is what a user sees. The other
kinds are drawn here (noise, text pages, landscapes, blank) or read from the archives given.
Prints one JSON object: share flagged, with a Wilson interval, by kind and by detector.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lesionlab.data.images import open_image, prepare
from lesionlab.data.manifest import read_dataset
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.predictor import Predictor
from lesionlab.evaluation.limits import wilson

SIDE = 450
Draw = Callable[[np.random.Generator], Image.Image]


def noise(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def soft_noise(rng: np.random.Generator) -> Image.Image:
    small = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def blank(rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(0, 256, 3)))


def text_page(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIDE, 640), (250, 249, 245))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=int(rng.integers(10, 20)))
    letters = list("etaoinshrdlu cmfwypvbgkjqxz")
    for y in range(20, 600, 22):
        pen.text((20, y), "".join(rng.choice(letters, 48)), fill=(20, 20, 30), font=font)
    return page


def landscape(rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    sky = np.stack([0.5 + 0.3 * y, 0.65 + 0.2 * y, 0.95 - 0.1 * y], -1)
    waves = sum(
        rng.uniform(0.02, 0.08) * np.sin(x * rng.uniform(3, 20) + rng.uniform(0, 6))
        for _ in range(4)
    )
    land = y > rng.uniform(0.4, 0.7) + waves
    green = np.array([0.2, 0.45, 0.15]) * rng.uniform(0.6, 1.2)
    picture = np.where(land[..., None], green + rng.normal(0, 0.05, (SIDE, SIDE, 1)), sky)
    sun = np.hypot(x - rng.uniform(0.1, 0.9), y - 0.15) < 0.06
    picture[sun] = [1.0, 0.95, 0.7]
    return Image.fromarray((255 * picture.clip(0, 1)).astype(np.uint8))


DRAWN: dict[str, Draw] = {
    "noise": noise,
    "soft colours": soft_noise,
    "blank": blank,
    "text page": text_page,
    "landscape": landscape,
}


def from_zip(path: Path, part: str) -> Iterator[Image.Image]:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if part in n and n.endswith((".png", ".jpg"))]
        for name in np.random.default_rng(0).permutation(names):
            yield open_image(archive.read(str(name)))


def pictures(arguments: argparse.Namespace) -> Iterator[tuple[str, Iterator[Image.Image]]]:
    dataset = read_dataset(arguments.dataset)
    for split in ("valid", "test"):
        rows = dataset.part(split).sample(frac=1, random_state=0)
        yield f"own, {split}", (open_image(dataset.image_path(p)) for p in rows["path"])
    if arguments.mias:
        yield "mammogram", from_zip(arguments.mias, "all-mias")
    if arguments.isic2017:
        yield "ISIC 2017 test", from_zip(arguments.isic2017, "/test/")
    for name, draw in DRAWN.items():
        rng = np.random.default_rng(0)
        yield name, (draw(rng) for _ in range(arguments.n))


def flagged(predictor: Predictor, images: Iterator[Image.Image], n: int) -> dict[str, object]:
    limits, detector = predictor.info.ood, predictor.detector
    assert limits is not None
    assert detector is not None
    far, alone, found = [], [], islice(images, n)
    while batch := list(islice(found, 16)):
        pixels = np.stack([prepare(i, predictor.how) for i in batch])
        embedding = predictor.predict(pixels).embedding
        far.append(detector.mahalanobis(embedding) / limits.mahalanobis_threshold)
        alone.append(detector.knn(embedding) / limits.knn_threshold)
    distant, lonely = np.concatenate(far), np.concatenate(alone)
    either = np.maximum(distant, lonely) > 1
    low, high = wilson(float(either.mean()), len(either))
    return {
        "n": len(either),
        "flagged": round(float(either.mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "mahalanobis_alone": round(float((distant > 1).mean()), 4),
        "knn_alone": round(float((lonely > 1).mean()), 4),
        "median_score": round(float(np.median(np.maximum(distant, lonely))), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--mias", type=Path)
    parser.add_argument("--isic2017", type=Path)
    parser.add_argument("--n", type=int, default=100)
    arguments = parser.parse_args()
    predictor = Predictor(read_bundle(arguments.bundle))
    result = {}
    for name, images in pictures(arguments):
        result[name] = flagged(predictor, images, arguments.n)
        print(name, json.dumps(result[name]), flush=True)
    stream = io.StringIO()
    json.dump(result, stream)
    print(stream.getvalue())


if __name__ == "__main__":
    main()
