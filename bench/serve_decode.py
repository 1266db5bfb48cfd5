"""What a 10-megapixel JPEG costs, drafted and in full, and how far apart the answers are.

    python bench/serve_decode.py BUNDLE IMAGES.zip --room FOLDER --make   # enlarge once
    python bench/serve_decode.py BUNDLE IMAGES.zip --room FOLDER          # measure

The real images are enlarged (bicubic) to 3872 x 2592 and saved as JPEG, quality 90, 4:2:0 and
4:4:4. Times are CPU milliseconds of one thread: file bytes to the network's pixels. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionlab.data.images import open_image
from lesionlab.deployment.answers import answers, find_point
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.decode import DRAFT_BOUND, read_view
from lesionlab.deployment.predictor import Predictor

SIDES = (3872, 2592)
SUBSAMPLING = {"4:2:0": 2, "4:4:4": 0}
REPEATS = 5


def make(images: Path, room: Path) -> None:
    room.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(images) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
            large = open_image(archive.read(name)).resize(SIDES, Image.Resampling.BICUBIC)
            for kind, code in SUBSAMPLING.items():
                path = room / f"{Path(name).stem}-{kind.replace(':', '')}.jpg"
                large.save(path, "JPEG", quality=90, subsampling=code)


def spent(data: bytes, predictor: Predictor, draft: bool, repeats: int) -> float:
    """CPU milliseconds, the least of some repeats."""
    times = []
    for _ in range(repeats):
        started = time.thread_time()
        read_view(data, predictor.how, draft=draft)
        times.append(1000 * (time.thread_time() - started))
    return min(times)


def one_kind(predictor: Predictor, files: list[Path]) -> dict[str, Any]:
    point = find_point(predictor.info, None)
    drafted, full, levels, apart, same = [], [], [], [], 0
    for path in files:
        data = path.read_bytes()
        drafted.append(spent(data, predictor, True, REPEATS))
        full.append(spent(data, predictor, False, 1))
        two = np.stack([read_view(data, predictor.how, draft=d).pixels for d in (True, False)])
        levels.append(int(np.abs(two[0].astype(int) - two[1]).max()))
        outputs = predictor.predict(two)
        apart.append(float(np.abs(outputs.prob[0] - outputs.prob[1]).max()))
        said = answers(predictor, outputs, point)
        decisions = [a.decision.positive for a in said if a.decision is not None]
        same += decisions[0] == decisions[-1]
    return {
        "images": len(files),
        "draft_ms_median": round(float(np.median(drafted)), 1),
        "draft_ms_max": round(max(drafted), 1),
        "full_ms_median": round(float(np.median(full)), 1),
        "max_grey_levels": max(levels),
        "max_probability_difference": float(f"{max(apart):.3g}"),
        "median_probability_difference": float(f"{np.median(apart):.3g}"),
        "same_decision": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--room", type=Path, required=True)
    parser.add_argument("--make", action="store_true")
    given = parser.parse_args()
    if given.make:
        make(given.images, given.room)
        return
    predictor = Predictor(read_bundle(given.bundle), threads=1)
    result: dict[str, Any] = {"pixels": SIDES[0] * SIDES[1], "bound": DRAFT_BOUND}
    for kind in SUBSAMPLING:
        files = sorted(given.room.glob(f"*-{kind.replace(':', '')}.jpg"))
        result[kind] = one_kind(predictor, files)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
