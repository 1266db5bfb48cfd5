from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from lesionlab.api.reproduce import reproductions
from lesionlab.errors import BadInput
from lesionlab.experiments.presets import preset_names
from lesionlab.experiments.reproductions import (
    NOT_MEASURED,
    cell,
    collect,
    looked_up,
    page,
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
            "folds_sha256": "1", "test_to_train": 0.5, "parts": {"fold": metrics}}  # fmt: skip


def made_by(rows: dict[str, Any]) -> dict[str, list[str]]:
    """The lines that make each NAME, and those that evaluate it."""
    lines = [line for row in rows["rows"] for line in (*row["command"], *row["gpu"])]
    made: dict[str, list[str]] = {}
    for words in map(str.split, lines):
        if "--out" in words:
            out = words[words.index("--out") + 1].removeprefix("runs/")
            presets = [b for a, b in pairwise(words) if a == "--preset"]
            for name in [f"{out}/{p}" for p in presets] if len(presets) > 1 else [out]:
                assert name not in made, name
                made[name] = [" ".join(words)]
        elif words[1:2] == ["evaluate"]:
            made[words[2].removeprefix("runs/")].append(" ".join(words))
    return made


def test_every_name_that_is_looked_up_is_made_by_a_command() -> None:
    rows = read_rows()
    made = made_by(rows)
    asked = [(r, c) for row in rows["rows"] for c in ("theirs", "honest") for r in row[c]]
    for reference, column in asked:
        name, part = reference.split(".")[0].split(":")
        line, *evaluated = made[name]
        if column == "honest":
            assert "--allow-leak" not in line
            assert "mias-t" not in line
        if part.startswith("test") and " repeat " in line:
            assert "--open-test" in line
        if " train " in line:
            own = f"lesionlab evaluate runs/{name}"
            assert (own if part == "valid" else f"{own} --split test") in evaluated
    for row in rows["rows"]:
        named = {r.partition(":")[0] for r in (*row["theirs"], *row["honest"])}
        assert set(row.get("notes", {})) <= named
    for claim in rows["questions"]:
        assert {claim["first"], claim["second"]} <= set(made)


def test_every_data_set_is_imported_before_it_is_used() -> None:
    rows = read_rows()
    lines = [*rows["data"], *(line for row in rows["rows"] for line in row["command"])]
    known: set[str] = set()
    for words in map(str.split, lines):
        if words[1:2] == ["import"]:
            known.add(words[words.index("--to") + 1])
        elif words[1:2] in (["split"], ["repeat"], ["train"]):
            assert words[2] in known, words


def test_every_line_is_a_command_that_its_verb_takes() -> None:
    from importlib import import_module

    rows = read_rows()
    lines = [*rows["data"], *(x for row in rows["rows"] for x in (*row["command"], *row["gpu"]))]
    plain = [line for line in lines if not line.startswith("#")]
    for words in map(shlex.split, plain):
        if words[1] == "import":  # which reads its source first
            continue
        verb = import_module(f"lesionlab.cli.{words[1]}").command
        parameters = {o for p in verb.params for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words if w.startswith("--")} <= parameters, words


def test_every_reference_can_be_looked_up_and_every_preset_is_one() -> None:
    rows = read_rows()
    for row in rows["rows"]:
        for reference in (*row["theirs"], *row["honest"]):
            assert looked_up(reference, {}) == ""
        words = " ".join((*row["command"], *row["gpu"])).split()
        named = [b for a, b in pairwise(words) if a == "--preset"]
        assert named or row["command"] == ["# made with the baseline"]
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
    two["b"] = repeated(roc_auc=spread(0.1, 0.9, 0.5))
    assert "(-1.142 to +1.962; 3 paired runs)" in verdict(claim, two)  # as it is, not clipped
    two["b"] = repeated(roc_auc=spread(0.95, 0.85))
    assert verdict(claim, two) == NOT_MEASURED


def test_other_folds_are_not_paired_though_the_runs_have_the_same_names() -> None:
    claim = {"first": "a", "second": "b", "metric": "roc_auc"}
    first, second = (0.90, 0.80, 0.70), (0.88, 0.78, 0.68)
    same = {"a": repeated(roc_auc=spread(*first)), "b": repeated(roc_auc=spread(*second))}
    other = {"a": same["a"], "b": {**same["b"], "folds_sha256": "2"}}
    assert "without any variation" in verdict(claim, same)
    told = verdict(claim, other)
    assert told.startswith("not distinguishable: +0.020")
    assert told.endswith("unpaired, 3 and 3 runs)")
    variance = (1 / 3 + 0.5) * 0.01  # of either mean; equal ones have 4 degrees of freedom
    half = stats.t.ppf(0.975, 4) * np.sqrt(2 * variance)
    assert f"({0.02 - half:+.3f} to {0.02 + half:+.3f};" in told
    unknown = {
        name: {k: v for k, v in r.items() if k != "folds_sha256"} for name, r in same.items()
    }
    assert "unpaired" in verdict(claim, unknown)


def test_a_claim_of_a_spread_is_answered_by_the_ratio_of_sds() -> None:
    claim = {"first": "a", "second": "b", "metric": "roc_auc", "about": "sd"}
    generator = np.random.default_rng(0)
    narrow, wide = 0.8 + 0.001 * generator.normal(size=6), 0.8 + 0.05 * generator.normal(size=6)
    two = {"a": repeated(roc_auc=spread(*narrow)), "b": repeated(roc_auc=spread(*wide))}
    assert verdict(claim, two).startswith("yes: ratio of SDs 0.0")
    assert "Pitman-Morgan" in verdict(claim, two)
    assert verdict({**claim, "first": "b", "second": "a"}, two).startswith("no: the reverse")
    two["b"]["folds_sha256"] = "2"
    assert "F, unpaired" in verdict(claim, two)
    few = {"a": repeated(roc_auc=spread(0.9, 0.8)), "b": repeated(roc_auc=spread(0.9, 0.7))}
    assert verdict(claim, few) == "not distinguishable: 2 and 2 runs are too few"


def test_what_cannot_be_measured_says_why() -> None:
    claim = {"first": "a", "second": "b", "metric": "accuracy", "cannot": "no weights"}
    assert verdict(claim, {}) == "cannot be measured here: no weights"
    text = page(read_rows(), {}, "m")
    assert text.count("cannot be measured here: no ImageNet weights of either") == 1


def test_the_page_says_what_each_split_chose_and_what_the_images_are() -> None:
    head = " ".join(page(read_rows(), {}, "m").partition("| seed |")[0].split())
    assert "`valid` chose the epoch and fitted the temperature" in head
    assert "`fold` is the held-out fold: it chose nothing" in head
    assert "256 px copies of the centre 450 x 450 of the 600 x 450 originals" in head


def test_a_leaky_record_is_marked_and_a_note_needs_its_record() -> None:
    records = {"ham-frozen": {**repeated(accuracy=spread(0.8, 0.9)), "leaky": True}}
    text = page(read_rows(), records, "m")
    assert "LEAKY ham-frozen, fold: accuracy 0.850" in text
    assert "(ham-prog0:" not in text
    records["ham-prog0"] = {"kind": "run", "leaky": False, "seconds": None, "parts": {
        "valid": {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 9}}}}  # fmt: skip
    text = page(read_rows(), records, "m")
    assert "(ham-prog0: MobileNetV2 fine-tuned" in text
    measure = {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 9}}
    records["bm-s3"] = {**records["ham-prog0"], "parts": {"valid": measure, "test": measure}}
    assert page(read_rows(), records, "m").count("(bm-s3: official split") == 1
    assert "ham-prog0 0" not in text  # nobody knows how long it took


def test_results_of_older_versions_are_read(tmp_path: Path) -> None:
    told = repeated(roc_auc=spread(0.9, 0.8, 0.7))
    old = {k: v for k, v in told.items() if k not in ("folds_sha256", "test_to_train")}
    old["parts"]["fold"]["roc_auc"]["high"] = 1.2
    old["test"] = {"roc_auc": spread(0.9, 0.8, 0.7)}
    old["test_of_the_mean"] = {"roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 50}}
    for name, folds in (("a", "x"), ("b", "x"), ("c", "y")):
        folder = tmp_path / name
        (folder / "results").mkdir(parents=True)
        (folder / "repeat.json").write_text(json.dumps(old))
        (folder / "folds-seed0.csv").write_text(folds)
        for run in told["parts"]["fold"]["roc_auc"]["runs"]:
            result = {"n": {"fold": 40}, "n_train": 60}
            (folder / "results" / f"{run}.json").write_text(json.dumps(result))
    found = collect(tmp_path, read_rows())
    hashes = {name: found[name]["folds_sha256"] for name in "abc"}
    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert found["a"]["test_to_train"] == pytest.approx(2 / 3)
    parts = found["a"]["parts"]
    assert parts["fold"]["roc_auc"]["high"] == 1
    assert parts["test"]["roc_auc"]["low"] is None
    assert parts["test_of_the_mean"]["roc_auc"]["low"] == 0.8


def test_an_ensemble_among_the_runs_has_no_time(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    metrics = {"metrics": {"accuracy": {"value": 0.8, "low": None, "high": None, "n": 3}},
               "malignant_v_benign": None}  # fmt: skip
    config = {"settings": {"name": "e"}, "dataset": {"name": "d", "leaky": False}}
    (folder / "metrics-valid.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(json.dumps(config))
    assert collect(tmp_path, read_rows())["e"]["seconds"] is None


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
