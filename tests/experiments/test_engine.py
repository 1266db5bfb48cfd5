from __future__ import annotations

import csv
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lesionlab
from lesionlab.api.repeat import repeat
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.experiments import engine
from lesionlab.experiments.engine import Cluster, connected, run_jobs
from lesionlab.experiments.repeat import do_job
from lesionlab.progress import Progress, Silent

Tiny = Callable[..., Settings]


def test_a_job_that_raises_is_tried_twice_and_bad_input_once(lines: Any) -> None:
    asked: list[int] = []

    def work(job: int, progress: Progress) -> dict[str, Any]:
        asked.append(job)
        if job == 1:
            raise BadInput("never")
        if job == 2 or (job == 3 and asked.count(3) == 1):
            raise RuntimeError("perhaps")
        return {"job": job}

    jobs = [(f"j{n}", n) for n in range(4)]
    found = {o.name: o for o in run_jobs(jobs, work, progress=lines)}
    assert asked == [0, 1, 2, 2, 3, 3]
    assert found["j0"].result == {"job": 0}
    assert (found["j1"].result, found["j1"].error) == (None, "never")
    assert found["j2"].error == "RuntimeError: perhaps"
    assert (found["j3"].result, found["j3"].attempts) == ({"job": 3}, 2)
    assert any("j2 crashed" in line for line in lines.said)


def test_an_unknown_engine() -> None:
    with pytest.raises(BadInput, match="no engine 'dask'"):
        list(run_jobs([], lambda job, progress: {}, engine="dask"))  # type: ignore[arg-type]


class Slow:
    """A Ray whose first `failures` starts come to nothing."""

    def __init__(self, failures: int) -> None:
        self.failures, self.starts = failures, 0

    def is_initialized(self) -> bool:
        return False

    def init(self, **how: Any) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise RuntimeError("The current node timed out during startup.\nMore.")

    def shutdown(self) -> None:
        return None


def test_a_ray_that_does_not_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(1)
    monkeypatch.setattr(engine, "need_ray", lambda: slow)
    with connected(Cluster()) as ray:
        assert ray is slow
    assert slow.starts == 2
    slow = Slow(9)
    with pytest.raises(BadInput, match=r"did not start here .*timed out"), connected(Cluster()):
        pass
    assert slow.starts == 2
    slow = Slow(9)
    there = connected(Cluster(address="there:6379"))
    with pytest.raises(BadInput, match="no Ray cluster answers"), there:
        pass
    assert slow.starts == 1


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray of two workers on this machine, shared by the tests."""
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    with connected(Cluster(workers=2)) as ray:
        # The workers cannot import a test file: they get its functions whole.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield ray


def dying(job: tuple[str, int], progress: Progress) -> dict[str, Any]:
    """Kills its own worker the first time that job 1 is done."""
    folder, number = job
    mark = Path(folder) / f"died-{number}"
    if number == 1 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"job": number, "pid": os.getpid()}


@pytest.mark.slow
def test_a_killed_worker_costs_no_job_and_is_named(
    cluster: Any, tmp_path: Path, lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [(f"j{n}", (str(tmp_path), n)) for n in range(4)]
    outcomes = list(run_jobs(jobs, dying, engine="ray", progress=lines))
    found = {o.name: o.result for o in outcomes}
    assert (tmp_path / "died-1").exists()
    assert {o.name: o.again() for o in outcomes if o.again()} == {"j1": "lost its worker once"}
    assert lines.said == ["j1 lost its worker and is restarted"]
    assert capsys.readouterr().out == ""  # it is for our answer, not for Ray
    assert {k: v["job"] for k, v in found.items() if v} == {f"j{n}": n for n in range(4)}
    assert os.getpid() not in {v["pid"] for v in found.values() if v}


def always_dying(job: int, progress: Progress) -> dict[str, Any]:
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"job": job}


@pytest.mark.slow
def test_a_job_that_kills_every_worker_is_given_up(cluster: Any) -> None:
    jobs = [(f"j{n}", n) for n in range(2)]
    found = {o.name: o for o in run_jobs(jobs, always_dying, engine="ray")}
    assert found["j0"].result == {"job": 0}
    assert (found["j1"].result, found["j1"].lost) == (None, 4)
    assert "lost its worker 4 times" in found["j1"].error


def failing(job: int, progress: Progress) -> dict[str, Any]:
    if job == 1:
        raise ValueError("no")
    return {"job": job}


@pytest.mark.slow
def test_a_job_that_fails_on_a_worker_is_named(cluster: Any) -> None:
    jobs = [(f"j{n}", n) for n in range(2)]
    found = {o.name: o for o in run_jobs(jobs, failing, engine="ray")}
    assert found["j0"].result == {"job": 0}
    assert found["j1"].error == "ValueError: no"


@pytest.mark.slow
def test_repeat_on_ray_is_repeat(cluster: Any, lesions: Path, tiny: Tiny, tmp_path: Path) -> None:
    how: dict[str, Any] = {"folds": 2, "seeds": 1, "device": "cpu", "threads": 1}
    here = repeat(lesions, tiny(), tmp_path / "here", **how)["presets"][0]
    there = repeat(lesions, tiny(), tmp_path / "there", engine="ray", **how)["presets"][0]
    files = [(tmp_path / name / "oof-seed0.csv").read_bytes() for name in ("here", "there")]
    assert files[0] == files[1]
    assert here["parts"] == there["parts"]
    assert here["out_of_fold"] == there["out_of_fold"]


class Counting(Silent):
    """How many items were begun, as a bar sees it."""

    begun = 0

    def __call__(self, items: Iterable[Any], description: str, total: int | None = None) -> Any:
        for item in items:
            self.begun += 1
            yield item
        self.begun += 1


@pytest.mark.slow
def test_the_bar_of_ray_starts_with_the_first_job(cluster: Any) -> None:
    bar = Counting()
    seen = [bar.begun for _ in run_jobs([("a", 0), ("b", 2)], failing, engine="ray", progress=bar)]
    assert seen == [2, 3]


def dying_in_training(job: Any, progress: Progress) -> dict[str, Any]:
    """Trains, but the first time its worker is killed before the result is written."""
    result = do_job(job, progress)
    mark = Path(job.out) / "killed"
    if job.name == "fold1-seed0" and not mark.exists():
        mark.write_text("")
        (Path(job.out) / "results" / f"{job.name}.json").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return result


@pytest.mark.slow
def test_the_table_names_a_run_whose_worker_was_killed(
    cluster: Any, lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"folds": 2, "device": "cpu", "threads": 1, "train_part": False}
    out = tmp_path / "out"
    told = repeat(lesions, tiny(), out, work=dying_in_training, engine="ray", **how)["presets"][0]
    assert (told["retried"], told["failed"], told["unfinished"]) == (["fold1-seed0"], {}, [])
    named = "Restarted: fold1-seed0 (lost its worker once)."
    assert named in (out / "table.md").read_text()
    repeat(lesions, tiny(), out, **how)  # nothing is left to do, and the table still says it
    assert named in (out / "table.md").read_text()


@pytest.mark.slow
def test_predict_on_ray_is_predict_and_goes_on_by_shard(
    cluster: Any, lesions: Path, tiny: Tiny, tmp_path: Path
) -> None:
    lesionlab.train(lesions, tiny(), tmp_path / "r", device="cpu", threads=1)
    lesionlab.export(tmp_path / "r", tmp_path / "b")
    images = lesions / "images"
    lesionlab.predict(tmp_path / "b", images, csv=tmp_path / "one.csv", threads=1)
    how: dict[str, Any] = {"engine": "ray", "shard": 16, "threads": 1}
    told = lesionlab.predict(tmp_path / "b", images, csv=tmp_path / "many.csv", **how)
    rows = [list(csv.reader((tmp_path / n).open())) for n in ("one.csv", "many.csv")]
    assert [r[:4] for r in rows[0]] == [r[:4] for r in rows[1]]
    numbers = [[float(x) for r in table[1:] for x in r[4:8]] for table in rows]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)
    assert told["n"] == len(rows[0]) - 1
    assert not (tmp_path / "many.csv.shards").exists()
    with pytest.raises(BadInput, match="exists"):
        lesionlab.predict(tmp_path / "b", images, csv=tmp_path / "many.csv", **how)
    with pytest.raises(BadInput, match="give --csv"):
        lesionlab.predict(tmp_path / "b", images, **how)
