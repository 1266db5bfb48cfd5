"""What the network sees of an image in training: a few random views beside the plain one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from lesionlab.array_types import UInt8
from lesionlab.config import Settings, Stage
from lesionlab.data.augment import augment, draw_epoch
from lesionlab.data.cache import decoder
from lesionlab.data.images import Preprocessing
from lesionlab.data.manifest import Dataset
from lesionlab.data.randomness import philox
from lesionlab.training.setup import preprocessing

GAP = 4  # pixels between the pictures of a sheet


def training_views(
    dataset: Dataset, settings: Settings, stage: Stage, images: int, views: int, seed: int
) -> tuple[list[str], UInt8]:
    """(`image_id`s, (images, 1 + views, S, S, C) pixels): each image plain, then as training
    draws it in `views` epochs. The images are random ones of the training part.
    """
    rows = dataset.part("train")
    chosen = rows.iloc[np.sort(philox(seed, "views").permutation(len(rows))[:images])]
    some = Dataset(dataset.folder, chosen.reset_index(drop=True), dataset.info)
    shown = settings.shown
    nothing, one = (0.0,) * shown.channels, (1.0,) * shown.channels
    how = replace(preprocessing(settings, stage.size), mean=nothing, std=one)
    plain = decoder(some, how).take(np.arange(len(chosen)))  # a handful needs no cache
    epochs = [_seen(plain, stage, how, seed, epoch) for epoch in range(views)]
    return list(chosen["image_id"]), np.stack([plain, *epochs], 1)


def _seen(plain: UInt8, stage: Stage, how: Preprocessing, seed: int, epoch: int) -> UInt8:
    draws = draw_epoch(stage.augment, seed, 0, epoch, len(plain))
    unit = augment(torch.from_numpy(plain), draws, how, stage.augment.fill)
    pixels = (unit.clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def sheet(views: UInt8, side: int = 128) -> Image.Image:
    """One picture: a row an image, the plain one first, then its views."""
    rows, columns = views.shape[:2]
    page = Image.new("RGB", (columns * (side + GAP) + GAP, rows * (side + GAP) + GAP), "white")
    for row in range(rows):
        for column in range(columns):
            place = (GAP + column * (side + GAP), GAP + row * (side + GAP))
            page.paste(picture(views[row, column]).resize((side, side)), place)
    return page


def picture(pixels: UInt8) -> Image.Image:
    """(S, S, C) as a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
