"""What each test costs in CPU seconds; seconds on the clock say nothing on a shared machine.

A pytest plugin. Every phase of a test is measured in the process that runs it, with the children
that it waited for; fixtures and the import of test modules are measured by themselves.
``--cost FILE`` writes a line of JSON for each test as it ends, and one for the rest at the end.
A test without the mark ``slow``, ``real`` or ``exhaustive`` that spends more than ``LIMIT`` in its
call is named at the end, so that the quick tests stay quick. No build fails by time.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

LIMIT = 10.0  # CPU seconds of one call; 5 on a quiet machine, where a busy one takes twice as many
SLOW = ("slow", "real", "exhaustive")


def cpu_seconds() -> float:
    """User and system seconds of this process, its threads and the children it waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Costs:
    """Collects the cost of phases, fixtures and collection, of all processes of the session."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.phases: dict[str, dict[str, float]] = defaultdict(dict)
        self.marks: dict[str, list[str]] = {}
        self.fixtures: dict[str, list[Any]] = {}
        self.modules: dict[str, float] = defaultdict(float)
        self.outcomes: dict[str, str] = {}
        self.processes: dict[str, float] = {}
        self._spent: float = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        started = cpu_seconds()
        report = yield
        self.modules[collector.nodeid] += cpu_seconds() - started
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        started = cpu_seconds()
        try:
            return (yield)
        finally:
            spent = cpu_seconds() - started
            if spent > 0.05:
                name = f"{fixturedef.baseid}::{fixturedef.argname}"
                entry = self.fixtures.setdefault(name, [fixturedef.scope, 0, 0.0])
                entry[1] += 1
                entry[2] += spent

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._measured())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._measured())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._measured())

    def _measured(self) -> Generator[None, Any, Any]:
        started = cpu_seconds()
        try:
            return (yield)
        finally:
            self._spent = cpu_seconds() - started

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        report = yield
        report.cpu_s = self._spent  # travels to the first process with the report
        report.marks = [name for name in SLOW if item.get_closest_marker(name)]
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.phases[report.nodeid][report.when] = getattr(report, "cpu_s", 0.0)
        self.marks[report.nodeid] = getattr(report, "marks", [])
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome
        if report.when == "teardown":
            self._write(self._line(report.nodeid))

    def _line(self, nodeid: str) -> dict[str, Any]:
        return {
            "test": nodeid,
            "outcome": self.outcomes.get(nodeid),
            "marks": self.marks[nodeid],
            **{phase: round(spent, 4) for phase, spent in self.phases[nodeid].items()},
        }

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        modules = dict(self.modules)  # xdist carries plain types alone
        here = {"fixtures": self.fixtures, "modules": modules, "total": cpu_seconds()}
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["cost"] = here
            return
        self.processes["first"] = here["total"]
        self._write(
            {"fixtures": self.fixtures, "modules": self.modules, "processes": self.processes}
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        there = getattr(node, "workeroutput", {}).get("cost", {})
        self.processes[node.gateway.id] = there.get("total", 0.0)
        for name, (scope, count, spent) in there.get("fixtures", {}).items():
            entry = self.fixtures.setdefault(name, [scope, 0, 0.0])
            entry[1] += count
            entry[2] += spent
        for name, spent in there.get("modules", {}).items():
            self.modules[name] = max(self.modules.get(name, 0.0), spent)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for nodeid, spent in self._expensive():
            terminalreporter.write_line(
                f"EXPENSIVE {nodeid}: {spent:.1f} CPU s; shrink it below {LIMIT:g} or mark it slow"
            )

    def _expensive(self) -> list[tuple[str, float]]:
        calls = ((nodeid, phases.get("call", 0.0)) for nodeid, phases in self.phases.items())
        return [(i, spent) for i, spent in calls if spent > LIMIT and not self.marks.get(i)]

    def _write(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
