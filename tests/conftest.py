"""What the tests share: where the real files lie, if they do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread a test process: several of them on few cores would wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the package asks, before any test loads MKL

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real files beside the checkout; the test is skipped, saying so, without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real files (../shared/data) are not here")
    return SHARED
