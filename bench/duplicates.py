"""Near-duplicate search on a real data set with planted copies: recall, and sheets to judge.

    python bench/duplicates.py data/ham --out bench-out/duplicates [--planted 500]

Each planted copy is cropped by 5 %, put into one of the eight orientations, resized by 0.5 to 2,
lightened or darkened by up to 10 % and saved as a JPEG of quality 40. All images and all copies
are searched together. Writes `duplicates.json` (figures) and `sheet-NN.png`: every pair that was
not planted, the worst first, then the second photographs ("again"), each with its score.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from lesionlab import files
from lesionlab.cli.common import Bar
from lesionlab.data.duplicates import ORIENTATIONS, DuplicatePair, near_duplicates
from lesionlab.data.images import open_image
from lesionlab.data.manifest import read_dataset
from lesionlab.data.randomness import philox

TURNS = (
    (),
    (Image.Transpose.FLIP_LEFT_RIGHT,),
    (Image.Transpose.FLIP_TOP_BOTTOM,),
    (Image.Transpose.ROTATE_180,),
    (Image.Transpose.TRANSPOSE,),
    (Image.Transpose.ROTATE_270,),
    (Image.Transpose.ROTATE_90,),
    (Image.Transpose.TRANSVERSE,),
)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """One of the eight orientations, numbered as in `ORIENTATIONS`."""
    for step in TURNS[orientation]:
        image = image.transpose(step)
    return image


def planted_copy(path: Path, draw: np.random.Generator, kind: str) -> bytes:
    """A transformed copy: `kind` is all, or one of crop, turn, resize, light, jpeg."""
    image = open_image(path)
    if kind in ("all", "crop"):
        width, height = round(image.width * 0.95), round(image.height * 0.95)
        left = int(draw.integers(image.width - width + 1))
        top = int(draw.integers(image.height - height + 1))
        image = image.crop((left, top, left + width, top + height))
    if kind in ("all", "turn"):
        image = turned(image, int(draw.integers(kind == "turn", 8)))
    if kind in ("all", "resize"):
        factor = 2 ** draw.uniform(-1, 1)
        size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    if kind in ("all", "light"):
        image = ImageEnhance.Brightness(image).enhance(draw.uniform(0.9, 1.1))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40 if kind in ("all", "jpeg") else 95)
    return stream.getvalue()


KINDS = ("crop", "turn", "resize", "light", "jpeg")  # one in ten each; the other half is "all"


def plant(paths: dict[str, Path], n: int, seed: int) -> tuple[dict[str, bytes], dict[str, str]]:
    """`n` copies of distinct images by name, and the image that each was made from."""
    draw = philox(seed, "planted copies")
    names = sorted(paths)
    copies, origin = {}, {}
    for i, row in enumerate(draw.choice(len(names), n, replace=False)):
        kind = KINDS[i % 10] if i % 10 < len(KINDS) else "all"
        name = f"planted-{i:03d}-{kind}"
        copies[name], origin[name] = planted_copy(paths[names[row]], draw, kind), names[row]
    return copies, origin


def sheets(pairs: list[DuplicatePair], pictures: dict[str, Path | bytes], out: Path) -> None:
    """Contact sheets, 36 pairs each: the first (turned) beside the second."""
    across, down, side = 4, 9, 160
    for number in range(0, len(pairs), across * down):
        sheet = Image.new("RGB", (across * (2 * side + 12), down * (side + 18)), "white")
        draw = ImageDraw.Draw(sheet)
        for i, pair in enumerate(pairs[number : number + across * down]):
            x, y = (i % across) * (2 * side + 12), (i // across) * (side + 18)
            a = turned(open_image(pictures[pair.a]).convert("RGB"), pair.orientation)
            b = open_image(pictures[pair.b]).convert("RGB")
            sheet.paste(a.resize((side, side)), (x, y))
            sheet.paste(b.resize((side, side)), (x + side, y))
            text = f"{number + i}: {pair.correlation:.2f} {pair.kind} {pair.a} {pair.b}"
            draw.text((x, y + side + 2), text, fill="black")
        sheet.save(out / f"sheet-{number // (across * down):02d}.png")


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    """Plant, search, count, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--planted", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(options.dataset)
    paths = {r.image_id: dataset.image_path(r.path) for r in dataset.table.itertuples()}
    lesion = dict(zip(dataset.table["image_id"], dataset.table["lesion_id"], strict=True))
    copies, origin = plant(paths, options.planted, options.seed)
    pictures: dict[str, Path | bytes] = {**paths, **copies}
    wall, cpu = time.monotonic(), time.process_time()
    pairs = near_duplicates(pictures, progress=Bar())
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    found = {frozenset((p.a, p.b)) for p in pairs if p.kind != "again"}
    hit = {name: frozenset((name, origin[name])) in found for name in copies}
    own = {frozenset(item) for item in origin.items()}
    others = sorted(
        (p for p in pairs if frozenset((p.a, p.b)) not in own),
        key=lambda p: (p.kind == "again", p.correlation),
    )
    real = [p for p in others if p.kind != "again" and p.a in lesion and p.b in lesion]
    again = [p for p in pairs if p.kind == "again" and p.a in lesion and p.b in lesion]
    files.write_json(
        options.out / "duplicates.json",
        {
            "schema_version": 1,
            "command": f"python bench/duplicates.py DIR --planted {options.planted} "
            f"--seed {options.seed}",
            "machine": machine(),
            "images": len(paths),
            "planted": len(copies),
            "recall": sum(hit.values()) / len(hit),
            "missed": sorted(name for name, ok in hit.items() if not ok),
            "recall_by_kind": {
                kind: float(np.mean([ok for name, ok in hit.items() if name.endswith(kind)]))
                for kind in ("all", *KINDS)
            },
            "pairs": len(pairs),
            "kinds": {
                k: sum(p.kind == k for p in pairs) for k in ("pixels", "bytes", "near", "again")
            },
            "other_pairs": sum(p.kind != "again" for p in others),
            "other_pairs_of_the_set_itself": len(real),
            "of_these_exact": sum(p.kind in ("bytes", "pixels") for p in real),
            "of_these_across_lesions": sum(lesion[p.a] != lesion[p.b] for p in real),
            "again_in_the_set_itself": len(again),
            "again_across_lesions": sum(lesion[p.a] != lesion[p.b] for p in again),
            "wall_seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            "others": [
                [p.a, p.b, p.kind, p.correlation, ORIENTATIONS[p.orientation]] for p in others
            ],
        },
    )
    sheets(others, pictures, options.out)


if __name__ == "__main__":
    main()
