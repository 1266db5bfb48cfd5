"""Frozen layers run once: the features of each image, plain or in K fixed views."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from lesionlab.array_types import Float32, Rows
from lesionlab.data.augment import augment, fixed_views, to_input
from lesionlab.data.cache import Pixels
from lesionlab.data.feature_store import (
    StoredRows,
    drop,
    find_rows,
    locked_store,
    make_room,
    new_segment,
    segments_of,
)
from lesionlab.data.images import Preprocessing, key_parts
from lesionlab.errors import BadInput, counted
from lesionlab.models.classifier import Classifier
from lesionlab.progress import Progress
from lesionlab.training.device import Machine
from lesionlab.training.onnx_backbone import Embed, compile_body

BATCH = 32  # images a forward pass: fits the processor's cache, and no more memory
VERSION = 1  # of this computation: raise it when the numbers change
WORTH_COMPILING = 1000  # images of a data set: an export takes some seconds


@dataclass(frozen=True)
class Features:
    """(views, N, D) frozen features, memory-mapped, and where they came from."""

    views: tuple[StoredRows, ...]
    from_cache: int  # images x views found there
    computed: int

    def take(self, views: Rows, rows: Rows) -> Float32:
        """(n, D) of one view of each row."""
        first = self.views[0]
        if len(self.views) == 1:
            return first.take(rows)
        result = np.empty((len(rows), first.segments[0].shape[1]), np.float32)
        for number in np.unique(views):
            result[views == number] = self.views[number].take(rows[views == number])
        return result


@dataclass(frozen=True)
class Frozen:
    """A frozen body and what its features follow from."""

    network: Classifier
    architecture: str
    how: Preprocessing
    machine: Machine
    pixels: Callable[[], Pixels]  # all rows of the table; opened only where a row is absent
    ids: Sequence[str]  # of all rows of the table
    root: Path  # of the stores

    @property
    def engine(self) -> str:
        """What is to compute: by the data set alone, so that its features come from one engine."""
        large = self.machine.device == "cpu" and len(self.ids) >= WORTH_COMPILING
        return f"onnxruntime {onnxruntime.__version__}" if large else "torch"

    @cached_property
    def compiled(self) -> Embed | None:
        """The body as ONNX Runtime runs it; None where torch does."""
        if self.engine == "torch":
            return None
        shape = (self.how.channels, self.how.size, self.how.size)
        return compile_body(self.network, shape, self.machine.threads)

    def key(self, view: int) -> str:
        """SHA-256 of weights, architecture, geometry, view, precision and machine."""
        machine = self.machine.fingerprint()
        same = {
            k: machine[k] for k in ("device", "threads", "capability", "torch", "timm", "numerics")
        }
        parts: tuple[object, ...] = (VERSION, BATCH, self.architecture, self.network.kind)
        parts += (key_parts(self.how),) + ((self.engine,) if self.engine != "torch" else ())
        draws = fixed_views(8)[view].tolist()
        digest = hashlib.sha256(repr((parts, draws, "float32", sorted(same.items()))).encode())
        for name, value in self.network.body.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def ran_on(self) -> str:
        """What did compute: torch too where the body could not be compiled."""
        return "torch" if self.compiled is None else self.engine

    @cached_property
    def width(self) -> int:
        """D, by one empty image."""
        blank = np.zeros((1, self.how.size, self.how.size, self.how.channels), np.uint8)
        return int(self.embed(blank, 0).shape[1])

    def embed(self, pixels: npt.NDArray[np.uint8], view: int) -> Float32:
        """(n, D) of at most `BATCH` images; a row's bits depend on nothing but its own image."""
        if self.compiled is None:
            return self._eager(pixels, view)
        return self.compiled(self._shown(pixels, view))

    @torch.inference_mode()
    def _eager(self, pixels: npt.NDArray[np.uint8], view: int) -> Float32:
        # The batch is filled up: torch's kernels differ by the batch's size.
        filled = np.concatenate([pixels, np.repeat(pixels[-1:], BATCH - len(pixels), 0)])
        embedded: Float32 = self.network.embed(self._shown(filled, view)).float().cpu().numpy()
        return embedded[: len(pixels)]

    @torch.inference_mode()
    def _shown(self, pixels: npt.NDArray[np.uint8], view: int) -> torch.Tensor:
        return in_view(torch.from_numpy(pixels).to(self.machine.device), self.how, view)


def frozen_features(frozen: Frozen, rows: Rows, views: int, progress: Progress) -> Features:
    """Features of the given rows of the table in the first `views` fixed views.

    What the store has is mapped, the rest computed in float32 and eval mode and kept there, so
    the head sees what it will see when it predicts. `BadInput` where the disk has no room.
    """
    frozen.network.eval()
    try:
        found = [_view(frozen, rows, view, views, progress) for view in range(views)]
    except OSError as error:
        raise BadInput(
            f"the frozen features cannot be written ({error.strerror or error})",
            where=str(frozen.root),
            remedy="free some space, then resume",
        ) from None
    computed = sum(n for _, n in found)
    return Features(tuple(v for v, _ in found), len(rows) * views - computed, computed)


def _view(
    frozen: Frozen, rows: Rows, view: int, views: int, progress: Progress
) -> tuple[StoredRows, int]:
    """The rows of one view, and how many of them had to be computed."""
    ranks, key = frozen.machine.ranks, frozen.key(view)
    folder, ids = frozen.root / key[:16], [frozen.ids[row] for row in rows]
    lock = locked_store(folder, progress) if ranks.first else nullcontext()
    with lock:
        ranks.wait()  # the first one holds the store: all see the same of it
        found = find_rows(folder, key, ids, progress)
        ranks.wait()
        absent = found.absent
        if not len(absent):
            return found, 0
        width = frozen.width
        if ranks.first:
            drop(found.damaged)
            _say(frozen.root, folder, (len(ids), len(absent), width, views - view), progress)
        unique = np.array(list({ids[i]: int(i) for i in absent}.values()), np.int64)
        parts = segments_of(unique, width, BATCH * ranks.world)
        blocks = sum(-(-len(part) // (BATCH * ranks.world)) for part in parts)
        bar = iter(progress(range(blocks), "frozen features", blocks))
        for part in parts:
            _compute(frozen, folder, key, (rows[part], [ids[i] for i in part]), view, bar)
        next(bar, None)
        ranks.wait()
        found = find_rows(folder, key, ids, progress)
        if len(found.absent):
            raise BadInput(
                "the features are damaged immediately after writing; check the disk",
                where=str(folder),
            )
        ranks.wait()
    return found, len(absent)


def _say(root: Path, folder: Path, sizes: tuple[int, int, int, int], progress: Progress) -> None:
    """What will be computed and how large it gets; old stores make room."""
    images, absent, width, views = sizes
    need = 4 * width * absent
    dropped = make_room(root, [folder], need)
    progress.say(
        f"frozen features: {images - absent:,} of {counted(images, 'image')} cached, "
        f"{absent:,} to be computed ({need * views / 2**20:.0f} MiB for {counted(views, 'view')})"
    )
    if dropped:
        progress.say(
            f"dropped {counted(len(dropped), 'older feature store')} to stay within the limit"
        )


def _compute(
    frozen: Frozen,
    folder: Path,
    key: str,
    what: tuple[Rows, list[str]],
    view: int,
    bar: Iterator[int],
) -> None:
    """One segment. Every rank computes its share of each block; the first one writes them."""
    (rows, ids), ranks, pixels = what, frozen.machine.ranks, frozen.pixels()
    size, width = BATCH * ranks.world, frozen.width
    opened = new_segment(folder, key, ids, width) if ranks.first else nullcontext()
    with opened as array:
        for i in range(0, len(rows), size):
            next(bar)
            mine = ranks.mine(rows[i : i + size])
            made = np.empty((0, width), np.float32)
            if len(mine):
                made = frozen.embed(pixels.take(mine), view)
            whole = ranks.gathered(made, len(rows[i : i + size]))
            if array is not None:
                array[i : i + size] = whole


@dataclass(frozen=True)
class NetworkInput:
    """What a network reads of every row of a table."""

    pixels: Pixels
    how: Preprocessing
    facts: Float32 | None = None  # (rows of the table, F), of a network that reads age, sex, site


@torch.inference_mode()
def image_logits(
    network: Classifier,
    shown: NetworkInput,
    rows: Rows,
    machine: Machine,
    progress: Progress,
    title: str = "predicting",
    view: int = 0,
) -> Float32:
    """(len(rows), K) float32 logits of images in one fixed view, in eval mode, never in bf16.

    View 0 is the plain image; the others are the flips and quarter turns of `fixed_views`.
    """
    network.eval()
    starts = range(0, len(rows), BATCH)
    parts = []
    for i in progress(starts, title, len(starts)):
        chunk = rows[i : i + BATCH]
        images = torch.from_numpy(shown.pixels.take(chunk)).to(machine.device)
        facts = None if shown.facts is None else torch.from_numpy(shown.facts[chunk])
        known = None if facts is None else facts.to(machine.device)
        parts.append(network(in_view(images, shown.how, view), known).float().cpu().numpy())
    return np.concatenate(parts)


def in_view(images: torch.Tensor, how: Preprocessing, view: int) -> torch.Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) float32 normalised, in one of the `fixed_views`."""
    if view == 0:
        return to_input(images, how)
    return augment(images, np.repeat(fixed_views(8)[view : view + 1], len(images), 0), how)
