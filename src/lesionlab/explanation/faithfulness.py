"""Does the network rely on what a map marks? Insertion, deletion, and small shifts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from lesionlab.array_types import Float32, Floats, Ints, UInt8
from lesionlab.explanation.methods import BATCH, ExplainedNetwork, maps_of
from lesionlab.explanation.statistics import rank_correlation
from lesionlab.progress import SILENT, Progress

STEPS = 10  # between nothing and everything
BLUR = 0.05  # standard deviation of the blur that hides, as a share of the side
SHIFT = 0.02  # of the side, in x and in y


@dataclass(frozen=True)
class Curves:
    """(N, STEPS + 1) probability of the class as pixels are shown, or hidden, best first."""

    insertion: Floats
    deletion: Floats

    @property
    def insertion_score(self) -> Floats:
        """(N,) area under the insertion curve: higher is better."""
        return _area(self.insertion)

    @property
    def deletion_score(self) -> Floats:
        """(N,) area under the deletion curve: lower is better."""
        return _area(self.deletion)


def _area(curves: Floats) -> Floats:
    return np.asarray(((curves[:, 1:] + curves[:, :-1]) / 2).mean(1), np.float64)


def curves(
    subject: ExplainedNetwork,
    maps: Float32,
    rows: Ints,
    target: Ints,
    progress: Progress = SILENT,
    title: str = "insertion, deletion",
) -> Curves:
    """Insertion and deletion (Petsiuk et al., BMVC 2018) along each map's ranking.

    What is hidden is blurred, not blackened: a hole would be a sign of its own. The probability
    is the network's softmax, uncalibrated.
    """
    inserted, deleted = [], []
    for i in progress(range(len(rows)), title, len(rows)):
        views = subject.views(rows[i : i + 1])[0]
        hidden = blurred(views)
        rank = _ranks(maps[i])
        shown = [rank < step / STEPS for step in range(STEPS + 1)]
        stack = [np.where(on[..., None], views, hidden) for on in shown]
        stack += [np.where(on[..., None], hidden, views) for on in shown]
        found = _probability(subject, np.stack(stack), rows[i], int(target[i]))
        inserted.append(found[: STEPS + 1])
        deleted.append(found[STEPS + 1 :])
    return Curves(np.array(inserted), np.array(deleted))


def blurred(view: UInt8) -> UInt8:
    """(H, W, C) uint8, with everything finer than a twentieth of the side gone."""
    sigma = BLUR * view.shape[0]
    return np.asarray(ndimage.gaussian_filter(view, (sigma, sigma, 0), mode="nearest"), np.uint8)


def _ranks(found: Float32) -> Floats:
    """(H, W): each pixel's place in the order, from 0 (highest) to below 1."""
    order = np.argsort(-found.ravel(), kind="stable")
    places = np.empty(order.size)
    places[order] = np.arange(order.size) / order.size
    return places.reshape(found.shape)


@torch.inference_mode()
def _probability(subject: ExplainedNetwork, views: UInt8, row: int, target: int) -> Floats:
    facts = subject.known(np.full(len(views), row))
    was_training = subject.network.training
    logits = subject.network.eval()(subject.images(views), facts)
    subject.network.train(was_training)
    return np.asarray(logits.softmax(1)[:, target].double().cpu().numpy(), np.float64)


def shifted(step: int) -> Callable[[UInt8], UInt8]:
    """A change of (N, H, W, C) views: the picture moves right and down, its rim is repeated."""

    def move(views: UInt8) -> UInt8:
        before = ((0, 0), (step, 0), (step, 0), (0, 0))
        return np.pad(views, before, mode="edge")[:, : views.shape[1], : views.shape[2]]

    return move


def stability(
    subject: ExplainedNetwork,
    name: str,
    maps: Float32,
    rows: Ints,
    target: Ints,
    progress: Progress = SILENT,
) -> Floats:
    """(N,) rank correlation of each map with that of the shifted picture, shifted back."""
    step = max(1, round(SHIFT * maps.shape[1]))
    moved = maps_of(
        subject, name, rows, target, change=shifted(step), progress=progress,
        title=f"{name}, shifted",
    )  # fmt: skip
    return rank_correlation(maps[:, :-step, :-step], moved[:, step:, step:])


@torch.inference_mode()
def logits_of(
    subject: ExplainedNetwork,
    rows: Ints,
    change: Callable[[UInt8, Ints], UInt8],
    progress: Progress = SILENT,
    title: str = "predicting",
) -> Float32:
    """(n, K) logits of changed views; `change` gets the views and their row numbers."""
    subject.network.eval()
    parts = []
    for i in progress(range(0, len(rows), BATCH), title, -(-len(rows) // BATCH)):
        some = rows[i : i + BATCH]
        views = change(subject.views(some), some)
        found = subject.network(subject.images(views), subject.known(some))
        parts.append(found.float().cpu().numpy())
    return np.concatenate(parts)
