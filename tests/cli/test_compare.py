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


def test_readers_beside_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, votes = table(tmp_path / "a.csv", 1.5, 1), tmp_path / "votes.csv"
    rows = [f"i{k},{3 - 2 * (k % 2)},{1 + 2 * (k % 2)}" for k in range(60)]
    votes.write_text("\n".join(["image_id,benign,malignant", *rows]) + "\n")
    ask = ["compare", a, "--readers", str(votes), "--resamples", "50"]
    assert run(ask) == 2
    assert "--held-out" in capsys.readouterr().err
    assert run([*ask, "--held-out", "--threshold", "0.5"]) == 0
    assert "differs from the pooled reader by" in capsys.readouterr().out
    assert run([*ask, "--held-out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["reader"]["sensitivity"]["value"] == 0.75
    assert result["published"]
    assert run(["compare", a, a, "--readers", str(votes)]) == 2


def test_the_command_offers_every_primary_metric() -> None:
    from lesionlab.cli.compare import PRIMARIES as offered
    from lesionlab.evaluation.primary import PRIMARIES as known

    assert set(offered) == set(known)
