"""Pictures for the tests of duplicates and of the audit: skin with pores, a lesion with dots."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from lesionlab.data.manifest import COLUMNS, Dataset, DatasetInfo, write_dataset

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


def skin(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """One picture; another seed is another patient, at the same magnification."""
    draw = np.random.default_rng(seed)
    shape = (height, width)
    colour = np.array([205, 160, 135]) + draw.normal(0, 8, 3)
    pores = gaussian_filter(draw.normal(size=shape), 1.2) * 22
    light = gaussian_filter(draw.normal(size=shape), 25) * 250
    y, x = np.indices(shape)
    angle = np.arctan2(y - height * draw.uniform(0.4, 0.6), x - width * draw.uniform(0.4, 0.6))
    radius = np.hypot(y - height / 2, x - width / 2) / min(shape)
    lobes = sum(draw.normal(0, 0.05) * np.cos(k * angle + draw.uniform(0, 6)) for k in range(1, 6))
    inside = gaussian_filter((radius < draw.uniform(0.18, 0.32) + lobes).astype(float), 2)
    dots = gaussian_filter(draw.normal(size=shape), 2) * 120
    brown = np.array([110, 65, 45]) + draw.normal(0, 12, 3)
    base = colour * (1 - inside[..., None]) + brown * inside[..., None]
    rgb = base + (pores + light + dots * inside)[..., None]
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    for step in TURNS[orientation]:
        image = image.transpose(step)
    return image


def cropped(image: Image.Image, share: float = 0.05, corner: int = 0) -> Image.Image:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left = (image.width - width) * (corner & 1)
    top = (image.height - height) * (corner >> 1)
    return image.crop((left, top, left + width, top + height))


def resized(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def lightened(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def write_set(folder: Path, lesions: int = 48, seed: int = 0, name: str = "test set") -> Dataset:
    """A clean data set: every third lesion has a second picture, parts keep lesions together."""
    draw = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for lesion in range(lesions):
        part = ("train", "train", "train", "valid", "test")[lesion % 5]
        person = {"age": float(draw.integers(20, 80)), "sex": ("female", "male")[lesion % 2]}
        label = ("nevus", "melanoma")[int(draw.random() < 0.4)]
        for view in range(1 + (lesion % 3 == 0)):
            row = {"image_id": f"I{lesion:03d}{'ab'[view]}", "lesion_id": f"L{lesion:03d}"}
            rows.append({**row, **person, "label": label, "split": part, "site": "back",
                         "patient_id": f"P{lesion:03d}", "source": "folder"})  # fmt: skip
            data = encoded(skin(1000 * seed + 2 * lesion + view), "JPEG", quality=90)
            add_file(folder, rows[-1], data)
    table = pd.DataFrame(rows)
    for column in COLUMNS:
        if column not in table:
            table[column] = np.nan if column.startswith("roi") else ""
    table = table[list(COLUMNS)]
    info = DatasetInfo(name=name, source="folder", classes=("melanoma", "nevus"),
                       malignant=("melanoma",))  # fmt: skip
    dataset = Dataset(folder, table, info)
    write_dataset(dataset)
    return dataset


def add_file(folder: Path, row: dict[str, object], data: bytes) -> None:
    """Write an image's file and fill in what the manifest says of it."""
    import hashlib

    image = Image.open(io.BytesIO(data))
    suffix = {"JPEG": ".jpg", "PNG": ".png"}[str(image.format)]
    row["path"] = f"images/{row['image_id']}{suffix}"
    row |= {"width": image.width, "height": image.height}
    row["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / str(row["path"])).write_bytes(data)
