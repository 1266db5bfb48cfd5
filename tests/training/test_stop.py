"""What a signal does, and what the second one does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from lesionlab.errors import Interrupted
from lesionlab.progress import SILENT
from lesionlab.training.stop import StopRequest, Watchful


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, object]]:
    """The handlers before the test; put back after it, whatever it did."""
    before = {number: signal.getsignal(number) for number in StopRequest.SIGNALS}
    yield dict(before)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_second_signal_meets_the_handler_that_was_there_before() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested
            assert not heard
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", StopRequest.SIGNALS)
def test_the_first_signal_of_each_kind_is_a_request(
    number: int, handlers: dict[int, object]
) -> None:
    with StopRequest() as stop:
        assert not stop.requested
        assert all(signal.getsignal(n) != handlers[n] for n in StopRequest.SIGNALS)
        send(number)
        assert stop.requested
        assert {n: signal.getsignal(n) for n in StopRequest.SIGNALS} == handlers


def test_the_handlers_are_put_back_after_an_error(handlers: dict[int, object]) -> None:
    with pytest.raises(KeyError), StopRequest() as stop:
        raise KeyError
    assert not stop.requested
    assert {n: signal.getsignal(n) for n in StopRequest.SIGNALS} == handlers


def test_a_handler_that_others_set_meanwhile_stays_after_the_request() -> None:
    """The context restores once: at the signal, and not again at its end."""
    with StopRequest() as stop:
        send(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert stop.requested
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_ctrl_c_twice_is_a_keyboard_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_another_thread_may_train_and_leaves_the_signals_alone(
    handlers: dict[int, object],
) -> None:
    seen: list[dict[int, object]] = []

    def work() -> None:
        with StopRequest():
            seen.append({n: signal.getsignal(n) for n in StopRequest.SIGNALS})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handlers]


def test_a_long_loop_ends_before_the_item_after_the_request() -> None:
    stop, done = StopRequest(), list[int]()
    watchful = Watchful(SILENT, stop, "interrupted; go on with lesionlab resume run")

    def loop() -> None:
        for item in watchful(range(9), "validation", 9):
            done.append(item)
            stop.requested = item == 3

    with pytest.raises(Interrupted, match="go on with lesionlab resume run"):
        loop()
    assert done == [0, 1, 2, 3]


def test_a_loop_without_a_request_is_whole() -> None:
    watchful = Watchful(SILENT, StopRequest(), "interrupted")
    assert list(watchful("abc", "letters")) == ["a", "b", "c"]
    assert not list(watchful((), "nothing"))
