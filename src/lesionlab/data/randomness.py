"""All randomness is a pure function of (seed, purpose, place): no generator state is ever saved.

numpy's Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011): a key gives a stream, so the draws of epoch 7 need none of the epochs before.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def philox(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """A generator keyed by seed, purpose and place (stage, epoch, step ...).

    >>> a = philox(0, "order", 1, 2).integers(10, size=3)
    >>> bool((a == philox(0, "order", 1, 2).integers(10, size=3)).all())
    True
    """
    text = ":".join([str(seed), purpose, *map(str, place)])
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))


def torch_seed(seed: int, purpose: str, *place: int) -> int:
    """A 63-bit seed for torch's generators at one place of the run."""
    return int(philox(seed, purpose, *place).integers(2**63 - 1))


def epoch_order(
    seed: int, stage: int, epoch: int, labels: npt.NDArray[np.int64], balanced: bool
) -> npt.NDArray[np.int64]:
    """(N,) rows of the training part in the order of one epoch.

    Natural: a permutation. Balanced: N draws with replacement, every class present equally
    likely.
    """
    generator = philox(seed, "order", stage, epoch)
    if not balanced:
        return generator.permutation(len(labels)).astype(np.int64)
    counts = np.bincount(labels)
    share = 1.0 / counts[labels]
    return generator.choice(len(labels), size=len(labels), p=share / share.sum()).astype(np.int64)
