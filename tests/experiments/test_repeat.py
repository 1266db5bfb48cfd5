from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lesionlab.api.repeat import repeat
from lesionlab.config import Settings
from lesionlab.data import ledger
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.experiments.repeat import do_job

Tiny = Callable[..., Settings]


@pytest.fixture(scope="module")
def repeated(lesions: Path, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repeat") / "out"
    repeat(lesions, tiny(), out, folds=2, seeds=2, device="cpu", threads=1)
    return out


def test_another_process_in_the_same_folder_is_refused(
    repeated: Path, lesions: Path, tiny: Tiny
) -> None:
    from lesionlab.run_folder import locked

    with locked(repeated), pytest.raises(BadInput, match="another process"):
        repeat(lesions, tiny(), repeated, folds=2, seeds=2, device="cpu", threads=1)


def test_every_open_image_is_predicted_once_by_a_run_that_had_not_seen_it(
    repeated: Path, lesions: Path
) -> None:
    dataset = read_dataset(lesions)
    for seed in (0, 1):
        joined = read_predictions(repeated / f"oof-seed{seed}.csv")
        wanted = set(dataset.table.loc[dataset.table["split"] != "test", "image_id"])
        assert set(joined.image_id) == wanted
        row = dict(zip(joined.image_id, joined.y_prob[:, 0], strict=True))
        for fold in range(2):
            name = f"fold{fold}-seed{seed}"
            twin = read_dataset(repeated / "data" / name).table
            ids = set(twin.loc[twin["split"] == "test", "image_id"])
            own = read_predictions(repeated / "runs" / name / "predictions-fold.csv")
            assert set(own.image_id) == ids
            assert all(row[i] == p for i, p in zip(own.image_id, own.y_prob[:, 0], strict=True))


def test_the_table_is_that_of_its_runs(repeated: Path) -> None:
    told = json.loads((repeated / "repeat.json").read_text())
    assert told["runs"] == 4
    assert told["failed"] == {}
    for part in ("train", "valid", "fold"):
        auc = told["parts"][part]["roc_auc"]
        values = list(auc["runs"].values())
        assert len(values) == 4
        assert auc["mean"] == pytest.approx(np.mean(values))
        assert auc["sd"] == pytest.approx(np.std(values, ddof=1))
        if part == "fold":
            assert 0 <= auc["low"] < auc["mean"] < auc["high"] <= 1
        else:  # over models that learned it, or share it: no interval
            assert auc["low"] is auc["high"] is None
    text = (repeated / "table.md").read_text()
    assert "| fold1-seed1 |" in text
    assert "**fold: mean (SD)**" in text
    assert (repeated / "table.csv").read_text().startswith("run,fold,seed,part,metric,value")
    assert "<svg" in (repeated / "chart.svg").read_text()
    assert set(told["out_of_fold"]) == {"0", "1"}


def test_finished_runs_are_not_repeated_and_more_seeds_may_be_added(
    repeated: Path, lesions: Path, tiny: Tiny
) -> None:
    asked: list[str] = []

    def work(job: Any, progress: Any) -> dict[str, Any]:
        asked.append(job.name)
        return do_job(job, progress)

    how: dict[str, Any] = {"folds": 2, "device": "cpu", "threads": 1, "work": work}
    before = (repeated / "table.csv").read_text()
    told = repeat(lesions, tiny(), repeated, seeds=2, **how)["presets"][0]
    assert asked == []
    assert told["done"] == []
    assert (repeated / "table.csv").read_text() == before
    with pytest.raises(BadInput, match="was begun with another folds"):
        repeat(lesions, tiny(), repeated, seeds=2, **{**how, "folds": 4})
    with pytest.raises(BadInput, match=r"another settings\.batch_size \(16, now 8\)"):
        repeat(lesions, tiny(batch_size=8), repeated, seeds=2, **how)
    plan = json.loads((repeated / "plan.json").read_text())
    older = {k: v for k, v in plan.items() if k not in ("allow_leak", "balance")}
    (repeated / "plan.json").write_text(json.dumps(older))  # as versions before these wrote it
    repeat(lesions, tiny(), repeated, seeds=2, **how)
    assert json.loads((repeated / "plan.json").read_text()) == plan


def test_a_crashed_run_is_tried_again_named_and_costs_no_other(
    lesions: Path, tiny: Tiny, tmp_path: Path, lines: Any
) -> None:
    crashes = {"fold1-seed0": 9}

    def work(job: Any, progress: Any) -> dict[str, Any]:
        if crashes.get(job.name, 0):
            crashes[job.name] -= 1
            raise RuntimeError("the disk\nfell off")
        return do_job(job, progress)

    how: dict[str, Any] = {"folds": 3, "device": "cpu", "threads": 1, "train_part": False}
    out = tmp_path / "out"
    told = repeat(lesions, tiny(), out, work=work, progress=lines, **how)["presets"][0]
    assert crashes["fold1-seed0"] == 7  # two attempts a call
    assert told["failed"] == {"fold1-seed0": "RuntimeError: the disk\\nfell off"}
    assert sorted(told["done"]) == ["fold0-seed0", "fold2-seed0"]
    assert told["out_of_fold"] == {}
    assert told["unfinished"] == ["fold1-seed0"]
    crashes["fold1-seed0"] = 2
    with pytest.raises(BadInput, match="1 of 3 runs not finished, the first is fold1-seed0"):
        repeat(lesions, tiny(), out, work=work, open_test=True, **how)
    assert ledger.openings(lesions) == []
    crashes["fold1-seed0"] = 1
    told = repeat(lesions, tiny(), out, work=work, progress=lines, **how)["presets"][0]
    assert told["failed"] == {}
    assert told["done"] == ["fold1-seed0"]
    assert told["retried"] == ["fold1-seed0"]
    assert any("fold1-seed0 failed before" in line for line in lines.said)
    named = r"fold1-seed0 (failed before (RuntimeError: the disk\nfell off), crashed once)"
    assert f"Restarted: {named}. " in (out / "table.md").read_text()
    assert set(told["out_of_fold"]) == {"0"}


def test_a_killed_run_goes_on_to_the_same_bits(
    repeated: Path, lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def work(job: Any, progress: Any) -> dict[str, Any]:
        result = do_job(job, progress)
        if job.name == "fold0-seed0" and not (out / "seen").exists():
            (out / "seen").write_text("")
            (out / "results" / f"{job.name}.json").unlink()
            for name in ("calibration.json", "summary.json", "predictions-fold.csv"):
                (out / "runs" / job.name / name).unlink()  # as if killed before the last files
            raise RuntimeError("killed")
        return result

    repeat(lesions, tiny(), out, folds=2, seeds=1, device="cpu", threads=1, work=work)
    assert (out / "oof-seed0.csv").read_bytes() == (repeated / "oof-seed0.csv").read_bytes()


@pytest.mark.slow
def test_two_presets_share_folds_and_are_compared(
    lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    recipes = [tiny(), tiny(name="other", optim={"name": "sgd"})]
    how: dict[str, Any] = {"folds": 2, "seeds": 1, "device": "cpu", "threads": 1}
    told = repeat(lesions, recipes, tmp_path / "o", **how)
    folds = [(tmp_path / "o" / n / "folds-seed0.csv").read_bytes() for n in ("tiny", "other")]
    assert folds[0] == folds[1]
    found = told["differences"]["other minus tiny"]["roc_auc"]
    means = [t["parts"]["fold"]["roc_auc"]["mean"] for t in told["presets"]]
    assert found["value"] == pytest.approx(means[1] - means[0])
    assert found["low"] <= found["value"] <= found["high"]
    chart = (tmp_path / "o" / "chart.svg").read_text()
    assert "other, fold" in chart
    with pytest.raises(BadInput, match="two presets have the same name"):
        repeat(lesions, [tiny(), tiny()], tmp_path / "p", **how)
    twin = tiny().model_copy(update={"name": "TINY"})
    with pytest.raises(BadInput, match="two presets have the same name"):  # on macOS one folder
        repeat(lesions, [tiny(), twin], tmp_path / "p", **how)
    with pytest.raises(BadInput, match=r"several presets \(other, tiny\)"):
        repeat(lesions, tiny(), tmp_path / "o", **how)
    with pytest.raises(BadInput, match="holds the repeat of a single preset"):
        repeat(lesions, recipes, tmp_path / "o" / "tiny", **how)


@pytest.mark.slow
def test_the_test_part_opens_once_on_request(tiny: Tiny, tmp_path: Path) -> None:
    from lesionlab.api.import_dataset import import_dataset
    from lesionlab.api.split import split

    data = tmp_path / "data"
    import_dataset("synthetic", to=data, lesions=40, seed=1)
    split(data, test=0.25, valid=0.2, seed=0, search=False)
    how: dict[str, Any] = {"folds": 2, "seeds": 1, "device": "cpu", "threads": 1}
    repeat(data, tiny(), tmp_path / "o", **how)
    assert ledger.openings(data) == []
    told = repeat(data, tiny(), tmp_path / "o", open_test=True, **how)["presets"][0]
    again = repeat(data, tiny(), tmp_path / "o", open_test=True, **how)["presets"][0]
    entries = ledger.openings(data)
    assert len(entries) == 1
    assert entries[0]["run"] == "tiny repeated 2 times"
    assert told["test"] == again["test"]
    assert told["test"]["roc_auc"]["n"] == 2
    assert told["test"]["roc_auc"]["low"] is None
    plain = repeat(data, tiny(), tmp_path / "o", **how)["presets"][0]
    assert plain["test"] == told["test"]  # what was seen stays in the result
    assert plain["test_of_the_mean"] == told["test_of_the_mean"]
    seen = read_predictions(tmp_path / "o" / "predictions-test.csv")
    assert set(seen.image_id) == set(read_dataset(data).part("test")["image_id"])
    more = repeat(data, tiny(), tmp_path / "o", open_test=True, **{**how, "seeds": 2})
    assert more["presets"][0]["test"]["roc_auc"]["n"] == 4  # other models: another opening
    fewer = repeat(data, tiny(), tmp_path / "o", open_test=True, **how)["presets"][0]
    assert fewer["test"] == told["test"]  # not the runs of seeds that are not in the plan
    assert [e["run"] for e in ledger.openings(data)] == [
        "tiny repeated 2 times",
        "tiny repeated 4 times",
        "tiny repeated 2 times",
    ]


def test_the_ledger_comes_before_the_predictions(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionlab.api.import_dataset import import_dataset
    from lesionlab.api.split import split

    data = tmp_path / "data"
    import_dataset("synthetic", to=data, lesions=40, seed=1)
    split(data, test=0.25, valid=0.2, seed=0, search=False)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise BadInput("line 1 breaks the hash chain")

    monkeypatch.setattr(ledger, "append", refuse)
    how: dict[str, Any] = {"folds": 2, "device": "cpu", "threads": 1, "train_part": False}
    with pytest.raises(BadInput, match="breaks the hash chain"):
        repeat(data, tiny(), tmp_path / "o", open_test=True, **how)
    assert not (tmp_path / "o" / "predictions-test.csv").exists()
    assert not (tmp_path / "o" / "test.json").exists()


def test_bad_requests(lesions: Path, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no engine 'slurm'"):
        repeat(lesions, tiny(), tmp_path / "o", engine="slurm")  # type: ignore[arg-type]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(BadInput, match="is not empty"):
        repeat(lesions, tiny(), tmp_path / "full")
    with pytest.raises(BadInput, match="no such file"):
        repeat(lesions, tiny(), tmp_path / "o2", weights=tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match=r"class .* groups"):
        repeat(lesions, tiny(), tmp_path / "o4", folds=500)
    assert not (tmp_path / "o4").exists()  # what is refused leaves nothing behind
    with pytest.raises(BadInput, match="at least one seed"):
        repeat(lesions, tiny(), tmp_path / "o3", seeds=[])


def test_a_leaking_repeat_says_so_and_leaves_test_alone(
    lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"folds": 2, "device": "cpu", "threads": 1, "train_part": False}
    told = repeat(lesions, tiny(), tmp_path / "o", allow_leak=True, **how)["presets"][0]
    assert told["leaky"]
    assert (tmp_path / "o" / "table.md").read_text().startswith("### LEAKY: tiny")
    assert (tmp_path / "o" / "table.csv").read_text().splitlines()[1].endswith(",true")
    assert "LEAKY: tiny" in (tmp_path / "o" / "chart.svg").read_text()
    assert [p.name for p in (tmp_path / "o").glob("oof-*")] == ["oof-seed0-LEAKY.csv"]
    twin = read_dataset(tmp_path / "o" / "data" / "fold0-seed0")
    assert twin.info.leaky
    groups = united_groups(twin.table)
    inside = set(groups[twin.table["split"] == "test"])
    assert inside & set(groups[twin.table["split"] == "train"])
    sealed = set(read_dataset(lesions).part("test")["image_id"])
    assert set(twin.table.loc[twin.table["image_id"].isin(sealed), "split"]) == {""}
    assert not read_dataset(lesions).info.leaky
    with pytest.raises(BadInput, match="was begun with another allow_leak"):
        repeat(lesions, tiny(), tmp_path / "o", **how)
    with pytest.raises(BadInput, match="cannot be combined"):
        repeat(lesions, tiny(), tmp_path / "p", allow_leak=True, open_test=True, **how)


def test_the_verb(lesions: Path, tmp_path: Path) -> None:
    from lesionlab.cli.repeat import command

    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\nmodel = { name = "test_resnet", pretrained = false }\n'
        "input = { size = 32 }\n[[stages]]\n"
        'name = "head"\ntrainable = "head"\nepochs = 1\ncached_views = 1\n'
    )
    arguments = [str(lesions), "--preset", str(recipe), "--out", str(tmp_path / "o")]
    shown = CliRunner().invoke(command, [*arguments, "--folds", "2", "--threads", "1"])
    assert shown.exit_code == 0, shown.output
    assert "tiny: 2 folds, seeds [0]" in shown.output
    assert "fold " in shown.output


def test_balance_drops_training_rows_of_each_run_only(
    lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kept = repeat(
        lesions, tiny(), out, folds=2, balance="class", device="cpu", threads=1, train_part=False
    )
    assert kept["presets"][0]["done"] == ["fold0-seed0", "fold1-seed0"]
    for fold in range(2):
        table = read_dataset(out / "data" / f"fold{fold}-seed0").table
        counts = table.groupby("split")["label"].value_counts()
        assert len(set(counts["train"])) == 1
        assert len(set(counts["test"])) > 1
    with pytest.raises(BadInput, match="another balance"):
        repeat(lesions, tiny(), out, folds=2, device="cpu", threads=1)
