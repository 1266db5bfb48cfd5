"""`lesionlab compare` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lesionlab.cli.main import run


def table(path: Path, skill: float, seed: int) -> str:
    rng, lines = np.random.default_rng(seed), ["image_id,label,prob_benign,prob_malignant"]
    for k in range(60):
        p = 1 / (1 + np.exp(-(rng.normal() + skill * (1 if k % 2 else -1))))
        lines.append(f"i{k},{'malignant' if k % 2 else 'benign'},{1 - p!r},{p!r}")
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return str(path)


def test_compare_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = table(tmp_path / "a.csv", 1.5, 1), table(tmp_path / "b.csv", 0.0, 2)
    assert run(["compare", a, b, "--resamples", "100"]) == 0
    shown = capsys.readouterr().out
    assert "a is better: roc auc" in shown
    assert "DeLong" in shown
    assert "conditional on these trained models" in shown
    assert run(["compare", a, b, "--json", "--primary", "accuracy", "--resamples", "100"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pairs"][0]["test"] == "McNemar, exact"


def test_compare_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = table(tmp_path / "a.csv", 1.5, 1)
    assert run(["compare", a]) == 2
    assert run(["compare", a, a]) == 2
    assert run(["compare", a, str(tmp_path)]) == 2
    assert run(["compare", a, a, "--primary", "roc"]) == 2
    assert capsys.readouterr().err.count("\n") == 4
