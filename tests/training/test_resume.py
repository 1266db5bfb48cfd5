"""A run that is stopped anywhere and resumed ends with the bits of one that was not."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lesionlab.config import Settings
from lesionlab.errors import Interrupted
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine, choose_machine
from lesionlab.training.train import Trainer, resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]

STEPS = 12  # of the tiny recipe: 2 stages x 2 epochs x 3 steps


def thinned(calls: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """All of them as parameters; those outside `quick` are marked slow."""
    return [c if c in quick else pytest.param(*as_tuple(c), marks=pytest.mark.slow) for c in calls]


def as_tuple(call: Any) -> tuple[Any, ...]:
    return call if isinstance(call, tuple) else (call,)


class Crash(BaseException):
    """A death that nothing between the test and the fault may catch."""


def crash_in(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """The `call`-th call (from 0) of `owner.name` dies, once."""
    original, calls = getattr(owner, name), iter(range(10**6))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Crash
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


def crashed_then_resumed(
    data: Path, settings: Settings, out: Path, machine: Machine, patch: Callable[[Any], None]
) -> None:
    with pytest.MonkeyPatch.context() as fault:
        patch(fault)
        with pytest.raises(Crash):
            train(data, settings, out, machine=machine)
    resume(out, machine=machine)


def test_the_recipe_has_the_steps_that_the_tests_count(reference: Path) -> None:
    history = engine.read_run(reference)
    assert history.config.settings.name == "tiny"
    rows = (reference / "history.csv").read_text().splitlines()
    assert rows[-1].split(",")[2] == str(STEPS)


def test_a_second_run_is_the_same_bits(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    train(data, tiny(), tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(reference)


def test_another_seed_is_another_run(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    train(data, tiny(seed=1), tmp_path / "run", machine=machine)
    other, first = outcome(tmp_path / "run"), outcome(reference)
    assert other["last.safetensors"] != first["last.safetensors"]
    assert other["history"] != first["history"]


@pytest.mark.parametrize("call", thinned(range(STEPS), (0, 5, 6, 11)))
def test_a_crash_at_any_step(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    call: int,
) -> None:
    def patch(fault: pytest.MonkeyPatch) -> None:
        crash_in(fault, engine, "do_step", call)

    crashed_then_resumed(data, tiny(), tmp_path / "run", machine, patch)
    assert outcome(tmp_path / "run") == outcome(reference)


@pytest.mark.parametrize("call", thinned((2, 7, 11), (7,)))
def test_a_crash_long_after_the_last_checkpoint(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    call: int,
) -> None:
    def patch(fault: pytest.MonkeyPatch) -> None:
        crash_in(fault, engine, "do_step", call)

    settings = tiny(checkpoint_seconds=1e6)
    crashed_then_resumed(data, settings, tmp_path / "run", machine, patch)
    assert outcome(tmp_path / "run") == outcome(reference)


@pytest.mark.parametrize(
    ("method", "call"),
    thinned(
        [
            *(("_end_epoch", n) for n in range(4)),
            *(("_end_stage", n) for n in range(2)),
            *(("_keep_best", n) for n in (0, 1)),
            *(("_validate", n) for n in (1, 3)),
            ("_finish", 0),
            *(("_save", n) for n in (3, 6, 7, 13)),
        ],
        [
            ("_end_epoch", 1),
            ("_end_stage", 0),
            ("_keep_best", 1),
            ("_validate", 3),
            ("_finish", 0),
            ("_save", 7),
        ],
    ),
)
def test_a_crash_at_the_ends(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    method: str,
    call: int,
) -> None:
    def patch(fault: pytest.MonkeyPatch) -> None:
        crash_in(fault, Trainer, method, call)

    crashed_then_resumed(data, tiny(), tmp_path / "run", machine, patch)
    assert outcome(tmp_path / "run") == outcome(reference)


def test_a_crash_among_the_last_files(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    for number, name in enumerate(("write_results", "write_tensors")):
        out = tmp_path / str(number)
        last = 0 if name == "write_results" else None

        def patch(fault: pytest.MonkeyPatch, name: str = name, last: int | None = last) -> None:
            if last is not None:
                crash_in(fault, engine, name, last)
            else:  # the write of best.safetensors itself
                original = engine.write_tensors

                def wrapped(path: Path, *rest: Any) -> None:
                    if path.name == engine.BEST:
                        raise Crash
                    original(path, *rest)

                fault.setattr(engine, "write_tensors", wrapped)

        crashed_then_resumed(data, tiny(), out, machine, patch)
        assert outcome(out) == outcome(reference)


def test_several_resumes_never_replay_a_step_or_repeat_an_image(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    original = step_module.do_step

    def watched(inputs: Any, context: Any, slots: Any, order: Any, micro: int, place: Any) -> float:
        if len(seen) % 3 == 2 and seen[-1:] != [((-1,), ())]:
            seen.append(((-1,), ()))
            raise Crash
        loss = original(inputs, context, slots, order, micro, place)
        seen.append((place, tuple(np.asarray(order)[slots])))
        return loss

    monkeypatch.setattr(engine, "do_step", watched)
    out = tmp_path / "run"
    with pytest.raises(Crash):
        train(data, tiny(), out, machine=machine)
    for _ in range(20):
        try:
            resume(out, machine=machine)
        except Crash:
            continue
        break
    steps = [s for s in seen if s[0] != (-1,)]
    assert [place for place, _ in steps] == sorted({place for place, _ in steps})
    assert len(steps) == STEPS
    by_epoch: dict[tuple[int, ...], list[int]] = {}
    for place, rows in steps:
        by_epoch.setdefault(place[:2], []).extend(rows)
    assert all(len(rows) == len(set(rows)) for rows in by_epoch.values())
    assert len({tuple(rows) for rows in by_epoch.values()}) == 4  # no epoch has another's order
    assert outcome(out) == outcome(reference)


def test_bfloat16_resumes_to_the_same_bits(
    data: Path, tiny: Recipe, tmp_path: Path, outcome: Outcome
) -> None:
    machine = choose_machine("cpu", "bfloat16", 1)
    settings = tiny(precision="bfloat16")
    train(data, settings, tmp_path / "whole", machine=machine)

    def patch(fault: pytest.MonkeyPatch) -> None:
        crash_in(fault, engine, "do_step", 8)

    crashed_then_resumed(data, settings, tmp_path / "run", machine, patch)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_every_optimiser_resumes_to_the_same_bits(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome, optimizer: str
) -> None:
    settings = tiny(
        optim={"name": optimizer},
        ema=None,
        sampling="balanced",
        stages=[{"name": "all", "epochs": 1, "schedule": "cosine"}],
    )
    train(data, settings, tmp_path / "whole", machine=machine)

    def patch(fault: pytest.MonkeyPatch) -> None:
        crash_in(fault, engine, "do_step", 2)

    crashed_then_resumed(data, settings, tmp_path / "run", machine, patch)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_stage_that_begins_with_the_best_of_the_one_before(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    first = {"name": "first", "epochs": 2, "max_lr": 0.3, "schedule": "constant"}  # gets worse
    stages = [first, {"name": "second", "epochs": 1, "start_from": "best"}]
    settings = tiny(stages=stages, ema=None)
    train(data, settings, tmp_path / "whole", machine=machine)
    for call in (6, 8):  # in the second stage: the best has been overwritten by then, or not

        def patch(fault: pytest.MonkeyPatch, call: int = call) -> None:
            crash_in(fault, engine, "do_step", call)

        crashed_then_resumed(data, settings, tmp_path / str(call), machine, patch)
        assert outcome(tmp_path / str(call)) == outcome(tmp_path / "whole")


# --- stopping on request ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "call"),
    thinned(
        [(n, c) for c in (4, 9) for n in (signal.SIGTERM, signal.SIGINT)],
        [(signal.SIGTERM, 9), (signal.SIGINT, 4)],
    ),
)
def test_a_signal_saves_at_the_step_and_says_how_to_go_on(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    number: signal.Signals,
    call: int,
) -> None:
    out, done = tmp_path / "run", iter(range(100))
    original, before = step_module.do_step, signal.getsignal(number)

    def signalled(*args: Any) -> float:
        if next(done) == call:
            os.kill(os.getpid(), number)
        return original(*args)

    settings = tiny(checkpoint_seconds=1e6)
    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", signalled)
        with pytest.raises(Interrupted, match=f"lesionlab resume {out}"):
            train(data, settings, out, machine=machine)
    assert next(done) == call + 1  # not one step more
    assert signal.getsignal(number) == before
    resume(out, machine=machine)
    assert outcome(out) == outcome(reference)


@pytest.mark.parametrize("where", ["features", "validation"])
def test_a_signal_in_a_long_loop_ends_it_at_once(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"features": "frozen features", "validation": "validation"}

    class Signalling:
        sent = False

        def __call__(self, items: Any, description: str, total: Any = None) -> Any:
            for item in items:
                if description == words[where] and not self.sent:
                    self.sent = True
                    os.kill(os.getpid(), signal.SIGTERM)
                yield item

        def say(self, line: str) -> None:
            return None

    monkeypatch.setattr(engine, "QUIET", -1.0)  # show every bar
    own = Path(shutil.copytree(data, tmp_path / "data"))
    shutil.rmtree(own / "cache" / "features")
    with pytest.raises(Interrupted):
        train(own, tiny(), tmp_path / "run", machine=machine, progress=Signalling())
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(reference)


# --- death of the process -----------------------------------------------------------------


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a fork; the parent gets its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a child must not go on as a second pytest)
            os._exit(1)
        os._exit(0)
    return child


def killed_and_resumed(run: Path, machine: Machine, wait: float, number: int) -> bool:
    """Resume in a child and end it after `wait` seconds; whether it had finished by then."""
    child = in_child(lambda: resume(run, machine=machine))
    time.sleep(wait)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def begun(data: Path, settings: Settings, out: Path, machine: Machine) -> None:
    with pytest.MonkeyPatch.context() as fault:
        crash_in(fault, engine, "do_step", 0)
        with pytest.raises(Crash):
            train(data, settings, out, machine=machine)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_random_times(
    data: Path,
    reference: Path,
    tiny: Recipe,
    machine: Machine,
    tmp_path: Path,
    outcome: Outcome,
    kills: int,
) -> None:
    out, rng = tmp_path / "run", random.Random(kills)
    begun(data, tiny(), out, machine)
    started = time.monotonic()
    resume_copy(out, tmp_path / "timed", machine)
    whole = time.monotonic() - started
    for _ in range(kills):
        if killed_and_resumed(out, machine, rng.uniform(0, whole / 2), signal.SIGKILL):
            break
    resume(out, machine=machine)
    assert outcome(out) == outcome(reference)
    assert not list(out.rglob(".*.part"))


def resume_copy(run: Path, copy: Path, machine: Machine) -> None:
    """How long the rest takes here and now."""
    shutil.copytree(run, copy)
    child = in_child(lambda: resume(copy, machine=machine))
    os.waitpid(child, 0)


def test_two_signals_end_it_at_once_and_it_is_still_whole(
    data: Path, reference: Path, tiny: Recipe, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    out = tmp_path / "run"
    begun(data, tiny(), out, machine)
    ready, told = os.pipe()

    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

        def endless(*_: Any) -> float:
            os.write(told, b"x")
            while signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
                time.sleep(0.01)
            os.write(told, b"y")  # the first signal was heard
            time.sleep(600)
            return 0.0

        engine.do_step = endless
        resume(out, machine=machine)

    child = in_child(work)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
    resume(out, machine=machine)
    assert outcome(out) == outcome(reference)


def test_other_work_in_the_process_may_change_the_threads(
    data: Path, tiny: Any, machine: Machine, reference: Path, outcome: Any, tmp_path: Path
) -> None:
    torch.set_num_threads(machine.threads + 1)
    train(data, tiny(), tmp_path / "run", machine=machine)
    assert torch.get_num_threads() == machine.threads
    assert outcome(tmp_path / "run") == outcome(reference)
