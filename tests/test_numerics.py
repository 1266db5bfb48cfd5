"""Who asks for exact arithmetic, when, and what is recorded where it was too late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lesionlab.numerics import MKL, VARIABLES

HEADER = "import json, os, sys\n"


def _python(code: str, **given: str) -> Any:
    """What code says as JSON, in a process of its own where nothing was asked yet."""
    there = {k: v for k, v in os.environ.items() if k not in VARIABLES} | given
    run = [sys.executable, "-c", HEADER + code]
    done = subprocess.run(run, env=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


ASKED = "{n: os.environ.get(n) for n in " + repr(list(VARIABLES)) + "}"


def test_import_sets_no_variable_and_loads_nothing() -> None:
    code = (
        "before = dict(os.environ); loaded = set(sys.modules); import lesionlab; dir(lesionlab)\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - loaded}\n"
        "new = sorted(new - sys.stdlib_module_names)\n"
        "print(json.dumps([before == dict(os.environ), new]))"
    )
    same, new = _python(code)
    assert same
    assert new == ["lesionlab"]


@pytest.mark.slow
def test_import_and_an_evaluation_of_arrays_touch_no_global_state() -> None:
    code = """
import random, numpy, torch
import sklearn  # which sets variables of its own
def state():
    return [repr(random.getstate()), repr(numpy.random.get_state()), torch.get_rng_state().tolist(),
            dict(os.environ), numpy.geterr(), torch.get_default_dtype().__repr__()]
before = state()
import lesionlab, lesionlab.stats
after_import = state()
y = torch.arange(60) % 2
found = lesionlab.evaluate(y_true=y, y_prob=(y + torch.linspace(0, 1, 60)) / 2, resamples=50)
lesionlab.stats.auc_interval(y, y + torch.linspace(0, 1, 60))
print(json.dumps([before == after_import, before == state(), found.n]))
"""
    assert _python(code) == [True, True, 60]


@pytest.mark.slow
def test_a_verb_asks_where_nothing_is_loaded_yet() -> None:
    code = f"import lesionlab; lesionlab.split; print(json.dumps({ASKED}))"
    assert _python(code) == VARIABLES
    assert _python(code, MKL_CBWR="AVX2")[MKL] == "AVX2"


def test_the_command_line_asks_before_it_computes() -> None:
    code = (
        "from lesionlab.cli.main import run; loaded = 'numpy' in sys.modules; run(['--version'])\n"
        "from lesionlab import numerics\n"
        f"print(json.dumps([loaded, {ASKED}, numerics.why_inexact(), numerics.mkl_mode()]))"
    )
    assert _python(code) == [False, VARIABLES, "", "AUTO,STRICT"]


def test_children_inherit_what_was_asked() -> None:
    code = (
        "import numpy, subprocess\n"
        "from lesionlab import numerics; numerics.ask_for_exact_numerics()\n"
        "child = 'from lesionlab import numerics; print(numerics.mkl_mode())'\n"
        "there = subprocess.run([sys.executable, '-c', child], capture_output=True, text=True)\n"
        "print(json.dumps([numerics.mkl_mode(), there.stdout.strip()]))"
    )
    assert _python(code) == ["", "AUTO,STRICT"]


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_too_late_is_remembered(library: str) -> None:
    code = (
        f"import {library}; from lesionlab import numerics\n"
        "numerics.ask_before_loading(); untouched = 'MKL_CBWR' not in os.environ\n"
        "numerics.ask_for_exact_numerics(); first = numerics.why_inexact()\n"
        "numerics.ask_for_exact_numerics()\n"
        "print(json.dumps([untouched, first, numerics.why_inexact(), numerics.mkl_mode()]))"
    )
    untouched, first, again, mode = _python(code)
    assert untouched
    assert first.startswith("not bit-exact: ")
    assert library in first
    assert again == first
    assert mode == ""


def test_nobody_asked_is_said_too() -> None:
    code = "from lesionlab import numerics; print(json.dumps(numerics.why_inexact()))"
    assert _python(code) == "not bit-exact: MKL_CBWR is not set"
    assert _python(code, MKL_CBWR="AUTO,STRICT") == ""


TRAIN = """
import lesionlab
from pathlib import Path
from lesionlab.config import InputSettings, ModelSettings, Settings, Stage
folder = Path(os.environ["WORK"])
lesionlab.import_dataset("synthetic", to=folder / "data", lesions=24, seed=0)
lesionlab.split(folder / "data", test=0.2, valid=0.3)
recipe = Settings(
    batch_size=8, precision="float32", input=InputSettings(size=32),
    model=ModelSettings(name="test_efficientnet", pretrained=False),
    stages=(Stage(name="head", trainable="head", epochs=1),),
)
run = lesionlab.train(folder / "data", recipe, folder / "run", threads=1)
summary = json.loads((folder / "run" / "summary.json").read_text())
print(json.dumps([run["notes"], summary["notes"]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import numpy\n", "import torch\n"])
def test_a_run_records_that_it_is_not_bit_exact(tmp_path: Path, before: str) -> None:
    notes, stored = _python(before + TRAIN, WORK=str(tmp_path))
    inexact = [note for note in notes if note.startswith("not bit-exact")]
    assert inexact == [note for note in stored if note.startswith("not bit-exact")]
    if before:
        assert len(inexact) == 1
        assert "MKL_CBWR" in inexact[0]
    else:
        assert inexact == []
