"""A network that reads age, sex and site: in the run folder, after a resume, in predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.training import step as step_module
from lesionlab.training import train as engine
from lesionlab.training.device import Machine
from lesionlab.training.inference import predict_split
from lesionlab.training.train import resume, train

Recipe = Callable[..., Settings]
Outcome = Callable[[Path], dict[str, Any]]
MODEL = {"name": "test_efficientnet", "pretrained": False}


class Crash(BaseException):
    """A death."""


@pytest.fixture(scope="module")
def run(
    data: Path, tiny: Recipe, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("facts") / "run"
    train(data, tiny(model={**MODEL, "metadata": ["age", "sex", "site"]}), out, machine=machine)
    return out


def test_the_coding_is_in_the_run_folder(run: Path) -> None:
    facts = json.loads((run / "config.json").read_text())["facts"]
    assert facts["columns"] == ["age", "sex", "site"]
    assert 20 < facts["age_mean"] < 90
    assert facts["sites"]


def test_predictions_are_computed_with_the_facts(run: Path, data: Path, machine: Machine) -> None:
    stored = read_predictions(run / "predictions-valid.csv")
    again = predict_split(run, "valid", machine=machine)
    assert stored.logits is not None
    assert again.logits is not None
    assert np.allclose(stored.logits, again.logits, atol=1e-5)


def test_the_facts_matter(run: Path, data: Path, machine: Machine, tmp_path: Path) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    table["age"] = "30"
    table.to_csv(other / "manifest.csv", index=False)
    with pytest.raises(BadInput, match="the data set has changed"):
        predict_split(run, "valid", dataset_folder=other, machine=machine)


def test_it_resumes_to_the_same_bits(
    run: Path, data: Path, machine: Machine, tmp_path: Path, outcome: Outcome
) -> None:
    settings, left = engine.read_run(run).config.settings, iter(range(100))

    def dying(*args: Any) -> float:
        if next(left) == 7:
            raise Crash
        return step_module.do_step(*args)

    with pytest.MonkeyPatch.context() as fault:
        fault.setattr(engine, "do_step", dying)
        with pytest.raises(Crash):
            train(data, settings, tmp_path / "run", machine=machine)
    resume(tmp_path / "run", machine=machine)
    assert outcome(tmp_path / "run") == outcome(run)


def test_weights_of_a_run_with_other_sites_are_refused(
    run: Path, data: Path, machine: Machine, tmp_path: Path
) -> None:
    """As many words, so the shapes fit; the numbers would mean something else."""
    other = shutil.copytree(data, tmp_path / "other")
    table = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    site = next(s for s in sorted(set(table["site"])) if s)
    table["site"] = table["site"].replace(site, "elsewhere")
    table.to_csv(other / "manifest.csv", index=False)
    settings = engine.read_run(run).config.settings
    for start in (run / "best.safetensors", run / "stages" / "head.safetensors"):
        with pytest.raises(BadInput, match=r"uses other clinical metadata: .*; here .*elsewhere"):
            train(other, settings, tmp_path / "run", start=start, machine=machine)
    assert not (tmp_path / "run").exists()


def test_forbidden_columns_are_refused_before_anything(
    data: Path, tiny: Recipe, machine: Machine, tmp_path: Path
) -> None:
    settings = tiny(model={**MODEL, "metadata": ["dx_type"]})
    with pytest.raises(BadInput, match="'dx_type' must not be an input"):
        train(data, settings, tmp_path / "run", machine=machine)
    assert not (tmp_path / "run").exists()
