from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesionlab.api.reproduce import reproductions
from lesionlab.errors import BadInput
from lesionlab.experiments.presets import preset_names
from lesionlab.experiments.reproductions import (
    NOT_MEASURED,
    cell,
    looked_up,
    read_rows,
    thresholded_auc,
    verdict,
)


def spread(*values: float) -> dict[str, Any]:
    runs = {f"fold{i}-seed0": v for i, v in enumerate(values)}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "low": 0.1,
            "high": 0.9, "n": len(values), "method": "t", "runs": runs}  # fmt: skip


def repeated(**metrics: Any) -> dict[str, Any]:
    return {"schema_version": 1, "name": "p", "dataset": "d", "leaky": False, "folds": 3,
            "seeds": [0], "runs": 3, "failed": {}, "seconds": 12.4, "out": "/secret/place",
            "parts": {"fold": metrics}}  # fmt: skip


def test_every_reference_can_be_looked_up_and_every_preset_is_one() -> None:
    rows = read_rows()
    for row in rows["rows"]:
        for reference in (*row["theirs"], *row["honest"]):
            assert looked_up(reference, {}) == ""
        words = f"{row['command']} {row.get('gpu', '')}".split()
        named = [b for a, b in pairwise(words) if a == "--preset"]
        assert named
        assert set(named) <= set(preset_names())
    with pytest.raises(BadInput, match=r"is not NAME:PART\.METRIC"):
        looked_up("isic2017", {})


def test_an_auc_of_labels_is_the_mean_of_sensitivity_and_specificity() -> None:
    generator = np.random.default_rng(0)
    positive = (generator.random(200) < 0.3).astype(np.int64)
    score = generator.random(200) + 0.3 * positive
    found = thresholded_auc(positive, score, 0.8)
    assert found.auc_of_labels == pytest.approx((found.sensitivity + found.specificity) / 2)
    assert found.auc_of_labels == pytest.approx(roc_auc_score(positive, score >= 0.8))
    assert found.auc == pytest.approx(roc_auc_score(positive, score))


def test_a_claim_is_answered_by_its_interval() -> None:
    claim = {"first": "a", "second": "b", "metric": "roc_auc"}
    two = {"a": repeated(roc_auc=spread(0.9, 0.91, 0.92))}
    assert verdict(claim, two) == NOT_MEASURED
    two["b"] = repeated(roc_auc=spread(0.8, 0.81, 0.815))
    assert verdict(claim, two).startswith("yes: +0.102")
    assert verdict({**claim, "first": "b", "second": "a"}, two).startswith("no: the reverse")
    two["b"] = repeated(roc_auc=spread(0.95, 0.85, 0.90))
    assert verdict(claim, two).startswith("not distinguishable")
    two["b"] = repeated(roc_auc=spread(0.95, 0.85))
    assert verdict(claim, two) == NOT_MEASURED


def test_cells() -> None:
    assert cell(spread(0.5, 0.7)) == "0.600 (SD 0.141; 0.100 to 0.900; 2 runs)"
    assert cell({"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}) == "0.500 (0.400 to 0.600; n = 9)"
    assert cell({"value": None, "low": None, "high": None, "n": 9}) == "too little to say"


def test_the_page_is_made_from_files_and_keeps_what_it_knew(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "ham-frozen"
    folder.mkdir(parents=True)
    (folder / "repeat.json").write_text(json.dumps(repeated(accuracy=spread(0.75, 0.76, 0.77))))
    told = reproductions(tmp_path / "runs", tmp_path / "docs" / "page.md")
    text = (tmp_path / "docs" / "page.md").read_text()
    assert "ham-frozen, fold: accuracy 0.760 (SD 0.010; 0.100 to 0.900; 3 runs)" in text
    assert "84 and 302 images; their mean is 0.671604" in text
    assert NOT_MEASURED in text
    assert told["records"] == ["ham-frozen"]
    assert "secret" not in (tmp_path / "docs" / "page.json").read_text()
    (tmp_path / "more" / "ham-random").mkdir(parents=True)
    other = json.dumps(repeated(accuracy=spread(0.85, 0.86, 0.87)))
    (tmp_path / "more" / "ham-random" / "repeat.json").write_text(other)
    told = reproductions(tmp_path / "more", tmp_path / "docs" / "page.md")
    assert told["records"] == ["ham-frozen", "ham-random"]
    again = reproductions(None, tmp_path / "docs" / "page.md")
    assert again["records"] == told["records"]
    with pytest.raises(BadInput, match="no such folder"):
        reproductions(tmp_path / "absent", tmp_path / "docs" / "page.md")
    with pytest.raises(BadInput, match="no result was found"):
        reproductions(None, tmp_path / "other" / "page.md")


def test_the_page_of_the_docs_is_the_one_that_its_numbers_make(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    if not (docs / "reproductions.json").is_file():
        pytest.skip("nothing was measured yet")
    (tmp_path / "reproductions.json").write_bytes((docs / "reproductions.json").read_bytes())
    reproductions(None, tmp_path / "reproductions.md")
    made = (tmp_path / "reproductions.md").read_text()
    assert made == (docs / "reproductions.md").read_text()


def test_the_verb(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from lesionlab.cli.reproductions import command

    folder = tmp_path / "runs" / "breast"
    folder.mkdir(parents=True)
    (folder / "repeat.json").write_text(json.dumps(repeated(roc_auc=spread(0.8, 0.9))))
    shown = CliRunner().invoke(command, [str(tmp_path / "runs"), "--to", str(tmp_path / "p.md")])
    assert shown.exit_code == 0, shown.output
    assert "p.md from breast" in shown.output
