"""A clean set, its audit, and no slow shortcuts unless asked for."""

from __future__ import annotations

import pytest

from helpers import pictures
from lesionlab.data.audit import Audit, audit_dataset
from lesionlab.data.manifest import Dataset


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set without fault: 48 lesions, 64 images, split by lesion."""
    return pictures.write_set(tmp_path_factory.mktemp("clean") / "set")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def clean_audit(clean: Dataset) -> Audit:
    """With the shortcuts measured: a fixture of the module is made before `_no_forest`."""
    return audit_dataset(clean)


@pytest.fixture
def forest() -> None:
    """Asked for by the tests that want the shortcuts measured."""


@pytest.fixture(autouse=True)
def _no_forest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortcuts take seconds and have tests of their own."""
    if "forest" not in request.fixturenames:
        monkeypatch.setattr("lesionlab.data.audit.shortcuts.SHORTCUTS", ())
        monkeypatch.setattr("lesionlab.data.audit.check_shortcuts", lambda *_: ())
