"""The notebook of the documentation runs from top to bottom, and says what it claims to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial.ipynb"


def cells(kind: str) -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in found["cells"] if c["cell_type"] == kind]


def test_it_is_a_notebook_without_stored_results() -> None:
    raw = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert raw["nbformat"] == 4
    assert 12 <= len(raw["cells"]) <= 18
    assert all(not c.get("outputs") for c in raw["cells"])
    for number, source in enumerate(cells("code")):
        compile(source, f"cell {number}", "exec")


@pytest.mark.slow
def test_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, source in enumerate(cells("code")):
        exec(compile(source, f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "images share a lesion or patient" in said
    assert "test opened 1 time(s)" in said
    assert names["leaky"]["presets"][0]["leaky"]
    assert not names["honest"]["presets"][0]["leaky"]
    both = names["both"]
    assert both.auc_of_labels == pytest.approx((both.sensitivity + both.specificity) / 2)
    html = names["test"]._repr_html_()
    assert "SYNTHETIC: a program" in html
    assert "<table>" in html
