"""A plan carried out by a stand-in for training: what is done, tried again, summed up and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from helpers import datasets
from lesionlab import files
from lesionlab.config import Settings
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions
from lesionlab.experiments import repeat_results
from lesionlab.experiments.plan_file import PLAN
from lesionlab.experiments.repeat import Job, Plan
from lesionlab.experiments.repeat_results import (
    RESULT,
    TEST,
    HowToRun,
    finished,
    make_plan,
    refuse_other_layout,
    refuse_unfinished_runs,
    repeat_plan,
    with_test,
)
from lesionlab.progress import SILENT, Progress

Tiny = Callable[..., Settings]
N = 40  # images that are not test
SCORES = np.random.default_rng(0).uniform(0.05, 0.95, N)  # of the images in the order of their ids


@dataclass
class Trainer:
    """In the place of training: fixed scores, and as many crashes of a run as are asked for."""

    crashes: dict[str, int] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def __call__(self, job: Job, progress: Progress) -> dict[str, Any]:
        self.asked.append(job.name)
        if job.name in self.refused:
            raise BadInput("no such device")
        if self.crashes.get(job.name, 0):
            self.crashes[job.name] -= 1
            raise RuntimeError("the disk\nfell off")
        out, predictions = Path(job.out), predicted(read_dataset(Path(job.data)))
        (out / "runs" / job.name).mkdir(parents=True)
        write_predictions(out / "runs" / job.name / "predictions-fold.csv", predictions)
        right = accuracy_score(predictions.y_true, predictions.y_prob.argmax(1))
        accuracy = {"value": right, "low": None, "high": None, "n": len(predictions), "method": ""}
        result = {
            "name": job.name, "fold": job.fold, "seed": job.seed, "seconds": 1.25,
            "n": {"fold": len(predictions)}, "n_train": 10,
            "parts": {"fold": {"accuracy": accuracy}},
        }  # fmt: skip
        (out / "results").mkdir(exist_ok=True)
        files.write_json(out / "results" / f"{job.name}.json", result)
        return result


def predicted(twin: Dataset) -> Predictions:
    """The scores of the images that a run's data set holds out."""
    table = twin.part("test")
    p = SCORES[table["image_id"].str[1:].astype(int)]
    ids = [table[c].to_numpy(object) for c in ("image_id", "patient_id", "lesion_id")]
    y_prob = np.stack([1 - p, p], 1)
    return Predictions(ids[0], ids[1], ids[2], twin.info.classes, twin.label_indices(table), y_prob)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    rows = [
        datasets.row(f"i{k:02}", ("train", "valid")[k % 4 == 3], ("nv", "mel")[k % 2])
        for k in range(N)
    ]
    sealed = [datasets.row(f"s{k}", "test", ("nv", "mel")[k % 2]) for k in range(6)]
    data = datasets.dataset(tmp_path / "data", *rows, *sealed, malignant=("mel",))
    datasets.written(data)
    return data


@pytest.fixture
def plan(data: Dataset, tiny: Tiny) -> Plan:
    return planned(data, tiny())


def planned(data: Dataset, recipe: Settings, **changes: Any) -> Plan:
    options = {"folds": 2, "seeds": (0, 1), "by": "", "valid": 0.2, "device": "cpu", "threads": 1}
    return make_plan(data, recipe, options | changes, None, SILENT.say)


def repeated(
    data: Dataset, plan: Plan, out: Path, trainer: Trainer | None = None, progress: Any = SILENT
) -> dict[str, Any]:
    how = HowToRun(work=trainer or Trainer())
    return repeat_plan(data, united_groups(data.table), plan, out, how, progress)


NAMES = ["fold0-seed0", "fold1-seed0", "fold0-seed1", "fold1-seed1"]


def test_a_plan_is_the_same_whatever_seed_the_recipe_has(data: Dataset, tiny: Tiny) -> None:
    plan = planned(data, tiny(seed=7))
    assert plan == planned(data, tiny())
    assert plan.settings["seed"] == 0
    assert (plan.weights, plan.weights_sha256) == (None, "")
    assert plan.name() == "tiny"


def test_a_plan_has_nothing_left_to_decide(data: Dataset, tiny: Tiny) -> None:
    plan = planned(data, tiny(input={"size": 32, "mean": "auto"}))
    assert "auto" not in json.dumps(plan.settings["input"])
    assert plan.settings["input"]["size"] == 32
    marked = replace(data, table=data.table.assign(label="nv"))
    assert planned(marked, tiny()).fingerprint != plan.fingerprint


def test_every_run_is_done_once_and_summed_up(data: Dataset, plan: Plan, tmp_path: Path) -> None:
    trainer, out = Trainer(), tmp_path / "out"
    told = repeated(data, plan, out, trainer)
    assert trainer.asked == told["names"] == told["done"] == NAMES
    assert (told["runs"], told["folds"], told["seeds"]) == (4, 2, [0, 1])
    assert told["unfinished"] == told["retried"] == []
    assert told["failed"] == {}
    assert told["seconds"] == 5.0
    assert (told["name"], told["leaky"], told["dataset"]) == ("tiny", False, "hand")
    assert told["test_to_train"] == 2.0  # 20 held out, 10 said to be trained on
    assert files.read_json(out / RESULT) == told
    assert (out / "table.md").read_text().startswith("### tiny\n")
    assert len((out / "table.csv").read_text().splitlines()) == 1 + 4


def test_the_folds_of_a_seed_together_are_all_images_that_are_not_sealed(
    data: Dataset, plan: Plan, tmp_path: Path
) -> None:
    told = repeated(data, plan, tmp_path / "out")
    expected = accuracy_score(np.arange(N) % 2, SCORES > 0.5)
    for seed in "01":
        joined = read_predictions(tmp_path / "out" / f"oof-seed{seed}.csv")
        assert list(joined.image_id) == [f"i{k:02}" for k in range(N)]
        accuracy = told["out_of_fold"][seed]["accuracy"]
        assert (accuracy["value"], accuracy["n"]) == (pytest.approx(expected), N)
    found = told["parts"]["fold"]["accuracy"]
    assert found["mean"] == pytest.approx(np.mean(list(found["runs"].values())))


def test_what_is_finished_is_not_done_again(data: Dataset, plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = repeated(data, replace(plan, seeds=(0,)), out)
    again = Trainer()
    told = repeated(data, replace(plan, seeds=(0,)), out, again)
    assert again.asked == told["done"] == []
    assert {**told, "done": first["done"]} == first
    more = Trainer()
    told = repeated(data, plan, out, more)
    assert more.asked == told["done"] == NAMES[2:]
    assert told["folds_sha256"] != first["folds_sha256"]


def test_a_crashed_run_is_named_and_the_others_count(
    data: Dataset, plan: Plan, tmp_path: Path, lines: Any
) -> None:
    trainer, out = Trainer({NAMES[1]: 99}), tmp_path / "out"
    told = repeated(data, plan, out, trainer)
    assert told["failed"] == {NAMES[1]: "RuntimeError: the disk\\nfell off"}
    assert told["unfinished"] == [NAMES[1]]
    assert finished(told) == [NAMES[0], *NAMES[2:]]
    assert list(told["out_of_fold"]) == ["1"]  # of seed 0 a fold is missing
    with pytest.raises(
        BadInput, match=r"1 of 4 runs not finished, the first is fold1-seed0: .* stays sealed"
    ):
        refuse_unfinished_runs([{**told, "unfinished": []}, told])
    trainer.crashes = {NAMES[1]: 1}
    trainer.asked.clear()
    told = repeated(data, plan, out, trainer, lines)
    assert trainer.asked == [NAMES[1]] * 2
    assert told["done"] == told["retried"] == [NAMES[1]]
    assert f"{NAMES[1]} failed before (RuntimeError: the disk\\nfell off): retrying" in lines.said
    assert "tiny: 3 of 4 runs are finished" in lines.said
    assert "crashed once" in files.read_json(out / "results" / f"{NAMES[1]}.json")["begun_again"]
    assert f"Restarted: {NAMES[1]} (failed before" in (out / "table.md").read_text()
    refuse_unfinished_runs([told])
    quiet = repeated(data, plan, out, trainer)
    assert quiet["retried"] == []  # of this call; the table still says it
    assert "Restarted" in (out / "table.md").read_text()


def test_without_any_result_the_first_error_is_told(
    data: Dataset, plan: Plan, tmp_path: Path
) -> None:
    trainer = Trainer(refused=tuple(NAMES))
    with pytest.raises(BadInput, match="no run finished; fold0-seed0: no such device"):
        repeated(data, plan, tmp_path / "out", trainer)
    assert trainer.asked == NAMES  # once each: what is refused does not heal
    assert not (tmp_path / "out" / RESULT).exists()


def test_another_plan_in_the_same_folder_is_refused_before_anything_is_written(
    data: Dataset, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    repeated(data, plan, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(BadInput, match=r"was begun with another valid \(0\.2, now 0\.3\)"):
        repeated(data, replace(plan, valid=0.3), out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_folds_that_cannot_be_dealt_leave_no_folder(
    data: Dataset, plan: Plan, tmp_path: Path
) -> None:
    with pytest.raises(BadInput):
        repeated(data, replace(plan, folds=21), tmp_path / "out")  # 20 images a class
    assert not (tmp_path / "out").exists()


def test_leaking_folds_are_marked_wherever_they_are_told(
    data: Dataset, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = repeated(data, replace(plan, allow_leak=True), out)
    assert told["leaky"]
    assert (out / "table.md").read_text().startswith("### LEAKY: tiny\n")
    assert (out / "table.csv").read_text().splitlines()[1].endswith(",true")
    assert (out / "oof-seed0-LEAKY.csv").is_file()
    assert not (out / "oof-seed0.csv").exists()
    info = data.info.model_copy(update={"leaky": True, "leak_reason": "copies"})
    assert repeated(replace(data, info=info), plan, tmp_path / "other")["leaky"]


def test_what_was_seen_of_the_sealed_part_stays_in_the_result(
    data: Dataset, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"test": {"accuracy": {"mean": 0.5}}, "test_of_the_mean": {"accuracy": {"value": 0.6}}}
    asked: list[Sequence[str]] = []

    def opened(
        dataset: Dataset, plan: Plan, out: Path, names: Sequence[str], kept: Path, progress: Any
    ) -> dict[str, Any]:
        asked.append(names)
        files.write_json(kept, {"schema_version": 1, "models": {}, **seen})
        return seen

    monkeypatch.setattr(repeat_results, "open_sealed", opened)
    out = tmp_path / "out"
    told = repeated(data, plan, out, Trainer({NAMES[3]: 99}))
    assert "test" not in told
    result = with_test(data, plan, out, told, SILENT)
    assert asked == [NAMES[:3]]  # those that have a result
    assert result == {**told, **seen} == files.read_json(out / RESULT)
    assert (out / TEST).is_file()
    later = repeated(data, plan, out)
    assert {k: later[k] for k in seen} == seen
    assert "models" not in later


def test_one_preset_and_several_do_not_share_a_folder(tmp_path: Path) -> None:
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several / "b", several / "a"):
        folder.mkdir(parents=True)
        (folder / PLAN).write_text("{}")
    refuse_other_layout(one, 1)
    refuse_other_layout(several, 2)
    refuse_other_layout(tmp_path / "new", 1)
    with pytest.raises(BadInput, match="one: already holds the repeat of a single preset"):
        refuse_other_layout(one, 2)
    with pytest.raises(BadInput, match=r"repeats of several presets \(a, b\); name them all"):
        refuse_other_layout(several, 1)
