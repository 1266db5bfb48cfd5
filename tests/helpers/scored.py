"""Labels with scores of two models, and with logits of three classes, as plain arrays."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

RNG = np.random.default_rng(0)
N = 300
Y = RNG.integers(0, 2, N)
A, B = Y + RNG.normal(0, 0.8, N), Y + RNG.normal(0, 1.4, N)
P = 1 / (1 + np.exp(-2 * (A - 0.5)))
GROUPS = np.arange(N) // 2
Y3 = RNG.integers(0, 3, N)
Z3 = RNG.normal(0, 1, (N, 3)) + 2 * np.eye(3)[Y3]
P3 = softmax(Z3, axis=1)
