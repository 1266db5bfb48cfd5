"""Nothing here without torch and Captum."""

import pytest

pytest.importorskip("captum", reason="maps need the extra 'train'")
