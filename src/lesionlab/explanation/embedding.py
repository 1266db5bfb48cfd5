"""The embedding of images, and its map in the plane."""

from __future__ import annotations

import numpy as np
import torch

from lesionlab.array_types import Float32, Floats, Ints
from lesionlab.explanation.methods import ExplainedNetwork
from lesionlab.models.classifier import Classifier, FusedHead
from lesionlab.progress import SILENT, Progress

BATCH = 32
WIDTH = 50  # principal components that t-SNE sees
MOST = 10_000  # points of a map: what a page can hold
PLACES, FACTS = "places", "facts"


@torch.inference_mode()
def embed(
    subject: ExplainedNetwork,
    rows: Ints,
    progress: Progress = SILENT,
    title: str = "embedding",
    *,
    places: bool = False,
) -> Float32:
    """(n, D) float32: the features of each picture that the network's head reads.

    A head that flattens its map knows places; there the map's average is taken, unless `places`
    asks for all of it. Facts (age, sex, site) that a head reads too are never in it. `left_out`
    says what of this holds for a network.
    """
    network = subject.network.eval()
    parts = []
    for i in progress(range(0, len(rows), BATCH), title, -(-len(rows) // BATCH)):
        features = network.feature_map(subject.images(subject.views(rows[i : i + BATCH])))
        flat = PLACES in left_out(network) and not places
        pooled = features.mean((2, 3)) if flat else network.pool(features)
        parts.append(pooled.float().cpu().numpy())
    return np.concatenate(parts)


def left_out(network: Classifier) -> tuple[str, ...]:
    """What the head reads and `embed` does not hold: `PLACES`, `FACTS`, both or nothing."""
    flattens = network.kind == "flatten_dense"
    reads_facts = any(isinstance(m, FusedHead) for m in network.head.modules())
    return (*([PLACES] if flattens else []), *([FACTS] if reads_facts else []))


def plane(embedded: Float32, seed: int = 0, kind: str = "tsne") -> Floats:
    """(n, D) -> (n, 2) in [0, 1], neighbours near each other; distances far apart mean nothing.

    `kind` is "tsne" (van der Maaten and Hinton 2008, scikit-learn's) or "umap" where the
    package umap-learn is installed (`has_umap`). Fewer than 5 images lie on their first
    principal components.
    """
    x = _components(embedded.astype(np.float64))
    if len(x) < 5:
        found = np.pad(x, ((0, 0), (0, 2)))[:, :2]
    elif kind == "umap":
        import umap  # type: ignore[import-not-found]

        found = umap.UMAP(random_state=seed).fit_transform(x)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(x) - 1) / 3)
        found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
    found = np.asarray(found, np.float64)
    low, high = found.min(0), found.max(0)
    return np.asarray((found - low) / np.where(high > low, high - low, 1), np.float64)


def _components(x: Floats) -> Floats:
    """The scores of the first principal components, signs fixed."""
    centred = x - x.mean(0)
    if min(centred.shape) > 500:
        from sklearn.decomposition import PCA

        return np.asarray(PCA(WIDTH, random_state=0).fit_transform(x), np.float64)
    _, _, rows = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ rows[:WIDTH].T, np.float64)


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    from importlib.util import find_spec

    return find_spec("umap") is not None
