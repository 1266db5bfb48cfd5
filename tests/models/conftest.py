"""Nothing here without torch."""

import pytest

pytest.importorskip("torch", reason="networks need the extra 'train'")
