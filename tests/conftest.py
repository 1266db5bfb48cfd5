"""What the tests share: the real files, the processes, the order and the cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.cost import Costs
from lesionlab.platforms import usable_cpus

# One thread a test process: several of them on few cores would wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the package asks, before any test loads MKL

SHARED = Path(__file__).resolve().parents[2] / "shared"
PROCESSES = 4  # at most: each takes 1.5 GB once it has loaded torch
ABSENT = "the real files (../shared/data) are not here"
# Files of much work for few tests: what is begun last must not be one of them.
FIRST = (
    "tests/api/test_explain.py",
    "tests/training/test_resume.py",
    "tests/experiments/test_ensemble.py",
    "tests/experiments/test_repeat.py",
    "tests/deployment/test_export.py",
    "tests/data/audit/test_faults.py",
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real files beside the checkout; the test is skipped, saying so, without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(ABSENT)
    return SHARED


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option for the one who wants to know what the tests cost."""
    parser.addoption("--cost", type=Path, help="write the CPU seconds of every test to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Every process of the session measures; the first collects."""
    path = None if hasattr(config, "workerinput") else config.getoption("--cost")
    config.pluginmanager.register(Costs(path), "costs")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Whole folders are shared out among processes; a few files are quicker in this one."""
    folders = all(Path(argument).is_dir() for argument in config.args)
    return min(usable_cpus(), PROCESSES) if folders else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The same order in every process: xdist hands the files out in it."""
    place = {name: n for n, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(FIRST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of the real files are skipped where there are none."""
    if item.get_closest_marker("real") and not (SHARED / "data").is_dir():
        pytest.skip(ABSENT)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The last lines say why tests of the real files did not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    if absent := sum(ABSENT in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(f"{absent} tests skipped: {ABSENT}")
