"""The sealed part is opened once for the same weights, and noted before anything of it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from helpers import datasets
from lesionlab.config import Settings
from lesionlab.data import ledger
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.predictions import Predictions, read_predictions
from lesionlab.experiments import sealed_test
from lesionlab.experiments.repeat import Plan
from lesionlab.experiments.sealed_test import open_sealed, sealed_predictions
from lesionlab.progress import SILENT
from lesionlab.run_folder import BEST, Run

RUNS = ("fold0-seed0", "fold1-seed0")
N = 30  # test images
TRUTH = np.arange(N) % 2  # of the test images in the order of image_id
SCORES = dict(zip(RUNS, np.random.default_rng(0).uniform(0.05, 0.95, (2, N)), strict=True))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Sealed images of two classes, out of order; 8 in 10 of the other images are nv."""
    test = [datasets.row(f"t{k:02}", "test", ("nv", "mel")[TRUTH[k]]) for k in range(N)]
    rest = [
        datasets.row(f"o{k}", ("train", "valid", "calib", "")[k % 4], "nv" if k < 32 else "mel")
        for k in range(40)
    ]
    (tmp_path / "data").mkdir()
    return datasets.dataset(tmp_path / "data", *reversed(test), *rest, malignant=("mel",))


@pytest.fixture
def out(tmp_path: Path, data: Dataset, tiny: Callable[..., Settings]) -> Path:
    """The folder of a repeat whose two runs hold weights of their own."""
    for name in RUNS:
        folder = tmp_path / "out" / "runs" / name
        datasets.begun_run(folder, tiny(), data)
        (folder / BEST).write_bytes(name.encode())
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In the place of a network: the scores above; which runs were asked, in order."""
    names: list[str] = []

    def load(run: Run, dataset: Dataset, **_: Any) -> SimpleNamespace:
        def predictions(rows: np.ndarray) -> Predictions:
            names.append(run.folder.name)
            table, p = dataset.table.iloc[rows], SCORES[run.folder.name]
            ids = [table[c].to_numpy(object) for c in ("image_id", "patient_id", "lesion_id")]
            y_prob = np.stack([1 - p, p], 1)
            y_true = dataset.label_indices(table)
            return Predictions(ids[0], ids[1], ids[2], dataset.info.classes, y_true, y_prob)

        return SimpleNamespace(predictions=predictions)

    monkeypatch.setattr(sealed_test, "load_run", load)
    return names


PLAN = cast(Plan, SimpleNamespace(device="cpu", threads=1, name=lambda: "tiny"))


def opened(data: Dataset, out: Path, names: Sequence[str] = RUNS) -> dict[str, Any]:
    return open_sealed(data, PLAN, out, names, out / "test.json", SILENT)


def test_the_mean_is_that_of_the_probabilities(data: Dataset, out: Path) -> None:
    found = sealed_predictions(data, out, RUNS, PLAN, SILENT)
    assert list(found) == [*RUNS, "mean"]
    assert list(found["mean"].image_id) == [f"t{k:02}" for k in range(N)]  # no other part
    assert (found["mean"].y_true == TRUTH).all()
    assert found["mean"].y_prob[:, 1] == pytest.approx(np.mean(list(SCORES.values()), axis=0))
    assert found["mean"].logits is None


def test_each_run_and_their_mean_are_measured(data: Dataset, out: Path) -> None:
    told = opened(data, out)
    each = {name: accuracy_score(TRUTH, p > 0.5) for name, p in SCORES.items()}
    accuracy = told["test"]["accuracy"]
    assert accuracy["runs"] == pytest.approx(each)
    assert accuracy["mean"] == pytest.approx(np.mean(list(each.values())))
    assert accuracy["low"] is accuracy["high"] is None  # the runs share these images
    mean = np.mean(list(SCORES.values()), axis=0)
    assert told["test_of_the_mean"]["accuracy"]["value"] == accuracy_score(TRUTH, mean > 0.5)
    # The prior is that of the parts that training may see: neither the test part nor unused rows.
    table = data.table[data.table["split"].isin(("train", "valid", "calib"))]
    share = (table["label"] == "mel").mean()
    expected = balanced_accuracy_score(TRUTH, mean / share > (1 - mean) / (1 - share))
    corrected = told["test_of_the_mean"]["balanced_accuracy_prior_corrected"]["value"]
    assert corrected == pytest.approx(expected)
    assert corrected != pytest.approx(balanced_accuracy_score(TRUTH, mean > 0.5))
    stored = read_predictions(out / "predictions-test.csv")
    assert stored.y_prob[:, 1] == pytest.approx(mean)


def test_the_opening_is_noted_with_the_runs_the_result_and_the_weights(
    data: Dataset, out: Path
) -> None:
    told = opened(data, out)
    (line,) = ledger.openings(data.folder)
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in RUNS]
    assert line["run"] == "tiny repeated 2 times"
    assert line["result"] == ledger.digest(told)
    assert line["model"] == hashlib.sha256("".join(hashes).encode()).hexdigest()
    for name in RUNS:  # each run knows that it has seen the test part
        assert ledger.has_seen_test(out / "runs" / name, None)
    kept = json.loads((out / "test.json").read_text())
    assert kept == {"schema_version": 1, "models": dict(zip(RUNS, hashes, strict=True)), **told}


def test_the_ledger_is_written_before_any_file_of_the_result(
    data: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sealed_test, "write_predictions", killed)
    with pytest.raises(KeyboardInterrupt):
        opened(data, out)
    assert len(ledger.openings(data.folder)) == 1
    assert not (out / "test.json").exists()


def test_where_the_ledger_is_broken_nothing_is_kept(data: Dataset, out: Path) -> None:
    ledger.append(data.folder, {"run": "x", "split": "test", "result": ""})
    path = data.folder / "ledger.jsonl"
    path.write_text(path.read_text().replace('"run":"x"', '"run":"y"'))
    with pytest.raises(Exception, match="breaks the hash chain"):
        opened(data, out)
    assert not (out / "test.json").exists()
    assert not (out / "predictions-test.csv").exists()


def test_the_same_weights_are_not_asked_again(data: Dataset, out: Path, asked: list[str]) -> None:
    first = opened(data, out)
    assert asked == list(RUNS)
    assert opened(data, out) == first
    assert asked == list(RUNS)
    assert len(ledger.openings(data.folder)) == 1


def test_other_weights_or_other_runs_are_another_opening(
    data: Dataset, out: Path, asked: list[str]
) -> None:
    both = opened(data, out)
    (out / "runs" / RUNS[0] / BEST).write_bytes(b"trained again")
    opened(data, out)
    assert asked == [*RUNS, *RUNS]
    one = opened(data, out, RUNS[:1])
    assert asked == [*RUNS, *RUNS, RUNS[0]]
    assert list(one["test"]["accuracy"]["runs"]) == [RUNS[0]]
    assert one["test_of_the_mean"] != both["test_of_the_mean"]
    lines = ledger.openings(data.folder)
    assert [line["run"] for line in lines] == ["tiny repeated 2 times"] * 2 + [
        "tiny repeated 1 times"
    ]
    assert len({line["model"] for line in lines}) == 3


def test_an_older_opening_that_names_no_weights_is_known_by_its_runs(
    data: Dataset, out: Path, asked: list[str]
) -> None:
    first = opened(data, out)
    kept = json.loads((out / "test.json").read_text())
    del kept["models"]
    (out / "test.json").write_text(json.dumps(kept))
    assert opened(data, out) == first
    assert asked == list(RUNS)
    opened(data, out, RUNS[:1])
    assert asked == [*RUNS, RUNS[0]]
