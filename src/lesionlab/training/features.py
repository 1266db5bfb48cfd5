"""Frozen layers run once: the features of each image, plain or in K fixed views."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lesionlab.data.arrays import new_array, open_array
from lesionlab.data.augment import augment, fixed_views, to_input
from lesionlab.data.cache import Pixels
from lesionlab.data.images import Preprocessing
from lesionlab.errors import BadInput
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
    """(views, len(rows), D) float32 on disk, memory-mapped; computed unless it is there, whole.

    The body runs in float32 and eval mode, so the head sees what it will see when it predicts.
    """
    network.eval()
    key = _key(network, rows, how, views)
    features = open_array(path, key, progress)
    machine.ranks.wait()  # before the first one writes, so that all decide alike
    if features is None:
        try:
            _build(path, key, network, pixels, rows, how, machine, views, progress)
        except OSError as error:
            raise BadInput(
                f"the frozen features cannot be written ({error.strerror or error})",
                where=str(path.parent),
                remedy="free some space and resume",
            ) from None
        machine.ranks.wait()
        features = open_array(path, key, progress)
    if features is None:
        raise BadInput("the features are damaged as soon as they are written", where=str(path))
    return features


def _key(network: Classifier, rows: Rows, how: Preprocessing, views: int) -> str:
    """SHA-256 of all that the features follow from, but the images (which a run guards)."""
    digest = hashlib.sha256(repr((asdict(how), views, network.kind)).encode())
    digest.update(rows.tobytes())
    for name, value in network.body.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _build(
    path: Path,
    key: str,
    network: Classifier,
    pixels: Pixels,
    rows: Rows,
    how: Preprocessing,
    machine: Machine,
    views: int,
    progress: Progress,
) -> None:
    """Every rank computes its share of each block of rows; the first one writes them."""
    ranks, size = machine.ranks, BATCH * machine.ranks.world
    path.parent.mkdir(exist_ok=True)
    width = _embed(network, pixels, rows[:1], how, machine, 0).shape[1]
    shape = (views, len(rows), width)
    places = [(v, i) for v in range(views) for i in range(0, len(rows), size)]
    opened = new_array(path, key, shape, np.float32) if ranks.first else nullcontext()
    with opened as array:
        for view, i in progress(places, "frozen features", len(places)):
            block = rows[i : i + size]
            some = ranks.mine(block) if len(ranks.mine(block)) else block[:1]
            made = _embed(network, pixels, some, how, machine, view)[: len(ranks.mine(block))]
            whole = ranks.gathered(made, len(block))
            if array is not None:
                array[view, i : i + size] = whole


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
    *,
    facts: Float32 | None = None,
) -> Float32:
    """(len(rows), K) float32 logits of plain images, in eval mode, never in bf16.

    `facts` is (rows of the table, F) for a network that reads age, sex or site.
    """
    network.eval()
    starts = range(0, len(rows), BATCH)
    parts = []
    for i in progress(starts, description, len(starts)):
        chunk = rows[i : i + BATCH]
        images = torch.from_numpy(pixels.take(chunk)).to(machine.device)
        known = None if facts is None else torch.from_numpy(facts[chunk]).to(machine.device)
        parts.append(network(to_input(images, how), known).float().cpu().numpy())
    return np.concatenate(parts)
