"""Frozen layers run once: the features of each image, plain or in K fixed views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lesionlab import files
from lesionlab.data.augment import augment, fixed_views, to_input
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing
from lesionlab.models.classifier import Classifier
from lesionlab.progress import Progress
from lesionlab.training.machine import Machine

BATCH = 32  # images a forward pass: fits the processor's cache, and no more memory

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def feature_file(
    path: Path,
    network: Classifier,
    pixels: Pixels,
    rows: Rows,
    how: Preprocessing,
    machine: Machine,
    views: int,
    progress: Progress,
) -> Float32:
    """(views, len(rows), D) float32 on disk, memory-mapped; computed unless it is there.

    The body runs in float32 and eval mode, so the head sees what it will see when it predicts.
    """
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        width = _embed(network, pixels, rows[:1], how, machine, 0).shape[1]
        with files.stage_file(path) as aside:
            shape = (views, len(rows), width)
            out = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
            places = [(v, i) for v in range(views) for i in range(0, len(rows), BATCH)]
            for view, i in progress(places, "frozen features", len(places)):
                chunk = rows[i : i + BATCH]
                out[view, i : i + BATCH] = _embed(network, pixels, chunk, how, machine, view)
            out.flush()
            del out
    features: Float32 = np.load(path, mmap_mode="r", allow_pickle=False)
    return features


@torch.inference_mode()
def _embed(
    network: Classifier,
    pixels: Pixels,
    rows: Rows,
    how: Preprocessing,
    machine: Machine,
    view: int,
) -> Float32:
    images = torch.from_numpy(pixels.take(rows)).to(machine.device)
    draws = np.repeat(fixed_views(8)[view : view + 1], len(rows), 0)
    shown = augment(images, draws, how) if view else to_input(images, how)
    embedded: Float32 = network.embed(shown).float().cpu().numpy()
    return embedded


@torch.inference_mode()
def image_logits(
    network: Classifier,
    pixels: Pixels,
    rows: Rows,
    how: Preprocessing,
    machine: Machine,
    progress: Progress,
    description: str = "predicting",
) -> Float32:
    """(len(rows), K) float32 logits of plain images, in eval mode, never in bf16."""
    network.eval()
    starts = range(0, len(rows), BATCH)
    parts = []
    for i in progress(starts, description, len(starts)):
        images = torch.from_numpy(pixels.take(rows[i : i + BATCH])).to(machine.device)
        parts.append(network(to_input(images, how)).float().cpu().numpy())
    return np.concatenate(parts)
