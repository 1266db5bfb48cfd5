"""A member without a network: colours (and, with masks, the lesion's shape) and boosted trees.

After the histogram model of the ISIC 2018 winners. It errs elsewhere than a network does.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from lesionlab import files
from lesionlab.array_types import Floats, Ints, UInt8
from lesionlab.data.abcd import VERSION, abcd_table
from lesionlab.data.cache import open_pixels
from lesionlab.data.images import Preprocessing, open_image
from lesionlab.data.manifest import Dataset
from lesionlab.progress import SILENT, Progress

BINS = 5  # of each colour channel: 125 joint bins
STRIDE = 4  # every fourth pixel each way is looked at
UNIT = ((0.0,) * 3, (1.0,) * 3)


def colour_features(images: UInt8) -> Floats:
    """(N, H, W, 3) uint8 -> (N, 125 + 15): joint histogram, then quantiles of each channel.

    >>> colour_features(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 140)
    """
    flat = images[:, ::STRIDE, ::STRIDE].reshape(len(images), -1, 3)
    code = (flat.astype(np.int64) * BINS) // 256
    joint = (code[..., 0] * BINS + code[..., 1]) * BINS + code[..., 2]
    size = BINS**3
    shifted = joint + size * np.arange(len(images))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=size * len(images)).reshape(-1, size)
    marks = np.quantile(flat, (0.05, 0.25, 0.5, 0.75, 0.95), axis=1)  # (5, N, 3)
    quantiles = marks.transpose(1, 0, 2).reshape(len(images), -1) / 255
    return np.hstack([counts / joint.shape[1], quantiles])


def handmade_features(dataset: Dataset, size: int, progress: Progress = SILENT) -> Floats:
    """(N, F) of every row of a data set in the order of `image_id`; no mask gives NaN geometry."""
    how = Preprocessing(size, "squash", 3, *UNIT)  # the whole picture, whatever a network sees
    pixels = open_pixels(dataset, how, progress=progress)
    rows = np.arange(len(dataset.table))
    blocks = range(0, len(rows), 256)
    colour = [
        colour_features(pixels.take(rows[i : i + 256]))
        for i in progress(blocks, "colours", len(blocks))
    ]
    return np.hstack([np.concatenate(colour), _shapes(dataset, progress)])


def _shapes(dataset: Dataset, progress: Progress) -> Floats:
    """(N, 9) of `data.abcd`, kept beside the pixel cache; (N, 0) where there are no masks."""
    table = dataset.table
    if "mask" not in table or not (table["mask"] != "").any():
        return np.empty((len(table), 0))
    columns = table[["image_id", "sha256", "mask"]].to_csv(index=False)
    key = hashlib.sha256(f"{VERSION}\n{columns}".encode()).hexdigest()[:16]
    kept = dataset.folder / "cache" / f"shapes-{key}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False), np.float64)
    bar = iter(progress(range(len(table)), "shapes of the lesions", len(table)))

    def picture(row: int) -> UInt8:
        path = dataset.image_path(table["path"].iloc[row])
        return np.asarray(open_image(path, reading=dataset.reading).convert("RGB"))

    def mask(row: int) -> npt.NDArray[np.bool_] | None:
        next(bar)
        name = table["mask"].iloc[row]
        if not name:
            return None
        return np.asarray(open_image(dataset.image_path(name)).convert("L")) > 127

    shapes = abcd_table(list(table["image_id"]), picture, mask).drop(columns="image_id")
    next(bar, None)
    with files.stage_file(kept) as aside, aside.open("wb") as stream:
        np.save(stream, np.asarray(shapes, np.float64), allow_pickle=False)
    return np.asarray(shapes, np.float64)


def fit_trees(features: Floats, y: Ints, iterations: int = 60) -> HistGradientBoostingClassifier:
    """Boosted trees of fixed size: nothing is held out, so the same data give the same trees.

    In one thread: a fit has some ten thousand short parallel pieces, and where another process
    holds a core each of them waits for it. The trees are the same with any number of threads.
    """
    trees = HistGradientBoostingClassifier(
        max_iter=iterations,
        learning_rate=0.08,
        max_leaf_nodes=12,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1, "openmp"):
        trees.fit(features, y)
    return trees


def tree_probabilities(
    trees: HistGradientBoostingClassifier, features: Floats, classes: int
) -> Floats:
    """(N, K); a class that the trees never saw gets 0."""
    y_prob = np.zeros((len(features), classes))
    with threadpool_limits(1, "openmp"):
        y_prob[:, trees.classes_] = trees.predict_proba(features)
    return y_prob


def crossed(features: Floats, y: Ints, folds: npt.NDArray[np.object_], classes: int) -> Floats:
    """(N, K) out-of-fold probabilities: each fold by trees that were fitted on the others."""
    y_prob = np.empty((len(y), classes))
    for fold in sorted(set(folds)):
        inside = folds == fold
        trees = fit_trees(features[~inside], y[~inside])
        y_prob[inside] = tree_probabilities(trees, features[inside], classes)
    return y_prob
