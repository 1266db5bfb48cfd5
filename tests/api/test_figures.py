from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lesionlab.api.figures import figures
from lesionlab.cli.main import run as run_cli
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, write_predictions

CLASSES = ("mel", "=cmd()", "nv")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictions CSV; one class is named like a formula."""
    rng = np.random.default_rng(0)
    n = 90
    truth = rng.choice(3, n)
    z = rng.normal(0, 1, (n, 3))
    z[np.arange(n), truth] += 2
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"I{i}" for i in range(n)], object)
    none = np.array([""] * n, object)
    path = tmp_path_factory.mktemp("figures") / "mine.csv"
    write_predictions(path, Predictions(ids, none, none, CLASSES, truth, prob))
    return path


def test_every_chart_is_an_svg_of_its_own_with_its_table(table: Path, tmp_path: Path) -> None:
    result = figures(table, tmp_path / "out", malignant=("mel",), tables=True)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == sorted(f for figure in result["figures"] for f in figure["files"])
    assert {"roc-main.svg", "roc-main.csv", "confusion-matrix.svg", "explorer-linear.svg"} <= set(
        names
    )
    for path in (tmp_path / "out").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(text.encode())
        assert "<style>" in text
        assert "var(--" not in text  # a paper has no page to take colours from
        assert 'class="handle"' not in text
    rows = list(csv.reader((tmp_path / "out" / "confusion-matrix.csv").open(encoding="utf-8")))
    assert rows[0][:4] == ["true class", "mel", "'=cmd()", "nv"]


@pytest.mark.parametrize("name", ["png", "pdf"])
def test_other_formats(table: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("vl_convert", reason="the extra 'figures' is not installed")
    figures(table, tmp_path / "out", formats=(name,))
    start = {"png": b"\x89PNG", "pdf": b"%PDF"}[name]
    found = list((tmp_path / "out").iterdir())
    assert len(found) > 3
    assert all(p.suffix == f".{name}" and p.read_bytes().startswith(start) for p in found)


def test_without_the_extra_it_is_named(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(BadInput, match="needs the extra 'figures'"):
        figures(table, tmp_path / "out", formats=("svg", "pdf"))
    assert not (tmp_path / "out").exists()


def test_refusals(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="no format 'gif'"):
        figures(table, tmp_path / "out", formats=("gif",))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(BadInput, match="already exists"):
        figures(table, tmp_path / "full")
    assert run_cli(["figures", str(table), "--to", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]
