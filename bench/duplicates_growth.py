"""How the nomination of near-duplicates grows: time, memory and recall at 10k, 100k and 400k.

    python bench/duplicates_growth.py data/ham --out bench-out/growth.json [--prepare]

Pictures by the hundred thousand are made of real ones: two random windows of two random images,
one mirrored, blended. One in fifty gets a twin: shifted and cropped by up to 5 %, and mirrored.
Only the nomination is timed (descriptors to pairs), each size in a process of its own, whose
peak memory is that of the descriptors and of all that is made of them. The exponent is the slope
of log time over log n by least squares. `--prepare` only makes the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.array_types import UInt8
from lesionlab.data.duplicates.candidates import nominate
from lesionlab.data.duplicates.describe import descriptors, standardised, thumbnail
from lesionlab.data.images import open_image
from lesionlab.data.manifest import read_dataset
from lesionlab.data.randomness import philox

SIZES = (10_000, 100_000, 400_000)
EVERY = 50  # one picture in so many has a twin


def windows(pictures: UInt8, x: Any, y: Any, side: Any) -> UInt8:
    """Square windows of (N, 64, 64, 3) pictures at (x, y), enlarged to 64."""
    steps = np.arange(64) / 64
    column = (x[:, None] + steps * side[:, None]).astype(int)
    row = (y[:, None] + steps * side[:, None]).astype(int)
    every = np.arange(len(pictures))[:, None, None]
    cut: UInt8 = pictures[every, row[:, :, None], column[:, None, :]]
    return cut


def cropped(pictures: UInt8, draw: np.random.Generator, least: float) -> UInt8:
    """Windows of at least `least` of the side, at random places."""
    side = draw.uniform(least, 1, len(pictures)) * 64
    room = 64 - side
    return windows(pictures, draw.random(len(side)) * room, draw.random(len(side)) * room, side)


def synthetic(thumbnails: UInt8, n: int) -> tuple[Any, Any]:
    """Standardised descriptors of `n` pictures and their twins, and (T, 2) who is whose twin."""
    originals, twins, own = [], [], []
    for start in range(0, n, 2000):
        draw = philox(0, "growth", start)
        count = min(2000, n - start)
        a, b = (cropped(thumbnails[draw.integers(len(thumbnails), size=count)], draw, 0.7)
                for _ in range(2))  # fmt: skip
        share = draw.uniform(0.5, 0.8, (count, 1, 1, 1))
        blend = (share * a + (1 - share) * b[:, :, ::-1]).astype(np.uint8)
        originals.append(descriptors(blend))
        first = blend[: count // EVERY]
        twins.append(descriptors(np.ascontiguousarray(cropped(first, draw, 0.95)[:, ::-1])))
        own.append(start + np.arange(len(first)))
    rows = np.concatenate(own)
    every = np.concatenate([*originals, *twins])
    return standardised(every), np.column_stack([rows, n + np.arange(len(rows))])


def prepared(store: Path, n: int) -> Path:
    """The file that holds the pictures of one size, made where it is absent."""
    path = store.with_name(f"{store.stem}-{n}.npz")
    if not path.is_file():
        x, twins = synthetic(np.load(store), n)
        with files.stage_file(path) as aside, aside.open("wb") as stream:
            np.savez(stream, x=x, twins=twins)
    return path


def measure(store: Path, n: int) -> dict[str, Any]:
    """One size, in this process."""
    with np.load(prepared(store, n)) as stored:
        x, twins = stored["x"], stored["twins"]
    wall, cpu = time.monotonic(), time.process_time()
    pairs = nominate(x)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    found = set(map(tuple, pairs.tolist()))
    return {
        "n": len(x),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "pairs": len(pairs),
        "twins": len(twins),
        "recall": float(np.mean([tuple(t) in found for t in twins.tolist()])),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def exponent(rows: list[dict[str, Any]], what: str) -> float:
    """Slope of log `what` over log n."""
    x, y = (np.log([row[k] for row in rows]) for k in ("n", what))
    return float(np.polyfit(x, y, 1)[0])


def thumbnails_of(folder: Path) -> UInt8:
    """(N, 64, 64, 3) thumbnails of a data set."""
    dataset = read_dataset(folder)
    paths = [dataset.image_path(path) for path in dataset.table["path"]]
    return np.stack([thumbnail(open_image(path)) for path in paths])


def main() -> None:
    """Measure every size in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--prepare", action="store_true", help="make the pictures, measure later")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    store = options.out.with_suffix(".npy")
    if options.one:
        print(json.dumps(measure(store, options.one)))
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if not store.is_file():
        np.save(store, thumbnails_of(options.dataset))
    rows = []
    for n in options.sizes:
        prepared(store, n)
    for n in () if options.prepare else options.sizes:
        again = [sys.executable, __file__, str(options.dataset), "--out", str(options.out)]
        done = subprocess.run(
            [*again, "--one", str(n)], check=True, stdout=subprocess.PIPE, encoding="utf-8"
        )
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
    if options.prepare:
        return
    files.write_json(
        options.out,
        {
            "schema_version": 1,
            "command": "python bench/duplicates_growth.py DIR --out FILE",
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "sizes": rows,
            "exponent_wall": round(exponent(rows, "wall_seconds"), 3),
            "exponent_cpu": round(exponent(rows, "cpu_seconds"), 3),
        },
    )
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
