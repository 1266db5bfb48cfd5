"""What the tests share: where the real files lie, if they do."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real files beside the checkout; the test is skipped, saying so, without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real files (../shared/data) are not here")
    return SHARED
