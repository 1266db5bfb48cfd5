"""The run folder: what it holds, who may write to it, and when it is none."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lesionlab.config import Settings, Stage
from lesionlab.errors import BadInput
from lesionlab.run_folder import (
    BEST,
    CALIBRATION,
    CONFIG,
    ENSEMBLE,
    DatasetReference,
    Run,
    RunConfig,
    as_written_today,
    environment,
    locked,
    model_sha256,
    now,
    read_history,
    read_run,
    refuse_unfinished,
    write_config,
    write_history,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    reference = DatasetReference(
        folder="data",
        name="tiny",
        source="test",
        classes=("mel", "nv"),
        malignant=("mel",),
        fingerprint="0" * 64,
        images={"train": 2},
    )
    settings = Settings(stages=(Stage(name="head", epochs=1),))
    config = RunConfig(settings=settings, dataset=reference, created=now())
    write_config(tmp_path, config)
    return Run(tmp_path, config)


def test_what_is_written_comes_back(run: Run) -> None:
    assert read_run(run.folder) == run


def test_a_run_of_0_1_0_has_bilinear_whole_images(run: Run) -> None:
    config = json.loads((run.folder / CONFIG).read_text())
    for key in ("interpolation", "crop"):
        del config["settings"]["input"][key]
    (run.folder / CONFIG).write_text(json.dumps(config))
    found = read_run(run.folder).config.settings
    assert (found.input.interpolation, found.input.crop) == ("bilinear", 1.0)
    assert as_written_today(config["settings"]) == found.model_dump(mode="json")


def test_settings_of_no_recipe_stay_as_they_are() -> None:
    for strange in ({}, {"learning_rate": "fast"}, {"input": 3}):
        assert as_written_today(strange) == strange


def test_folders_that_are_no_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not a run folder .*lesionlab train"):
        read_run(tmp_path / "absent")
    config = json.loads((run.folder / CONFIG).read_text())
    for changes, match in (
        ({"schema_version": 2}, "schema_version 2 is newer than 1; upgrade"),
        ({"schema_version": "2"}, "schema_version '2' is no whole number"),
        ({"strange": 1}, "strange"),
        ({"threads": "many"}, "threads"),
    ):
        (run.folder / CONFIG).write_text(json.dumps({**config, **changes}))
        with pytest.raises(BadInput, match=match):
            read_run(run.folder)
    for text in ("[]", "3", "{"):
        (run.folder / CONFIG).write_text(text)
        with pytest.raises(BadInput, match=CONFIG):
            read_run(run.folder)


def test_a_run_is_finished_with_both_of_its_last_files(run: Run) -> None:
    for path in (run.folder / CALIBRATION, run.predictions_path("valid")):
        with pytest.raises(BadInput, match="not finished; run: lesionlab resume"):
            refuse_unfinished(run)
        path.touch()
    refuse_unfinished(run)


def test_the_hash_of_the_weights(tmp_path: Path) -> None:
    assert model_sha256(tmp_path) is None
    members = [{"runs": [{"sha256": "aa"}, {"sha256": "bb"}]}, {"runs": [{"sha256": "cc"}]}]
    (tmp_path / ENSEMBLE).write_text(json.dumps({"members": members}))
    assert model_sha256(tmp_path) == hashlib.sha256(b"aabbcc").hexdigest()
    (tmp_path / BEST).write_bytes(b"weights")
    assert model_sha256(tmp_path) == hashlib.sha256(b"weights").hexdigest()


HOLD = """
import sys
from pathlib import Path
from lesionlab.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(run: Run) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=rf"\(pid {holder.pid}\) is writing"), locked(run.folder):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locked(run.folder):  # a killed process leaves no lock behind
        pass


def test_the_lock_is_free_after_an_error(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), locked(run.folder):
        raise ZeroDivisionError
    with locked(run.folder):
        pass


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"), locked(tmp_path / "absent"):
        pass


def test_history_comes_back_number_for_number(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    rows = [
        {"epoch": 1, "stage": 'he,"ad', "loss": 0.1 + 0.2},
        {"epoch": 2, "stage": "a\nb", "auc": 1e-300, "loss": math.inf},
    ]
    write_history(tmp_path, rows)
    assert read_history(tmp_path) == [{**rows[0], "auc": None}, rows[1]]
    assert list(read_history(tmp_path)[0]) == ["epoch", "stage", "loss", "auc"]
    write_history(tmp_path, [{"loss": math.nan}])
    (row,) = read_history(tmp_path)
    assert math.isnan(row["loss"])


def test_provenance_names_no_person_and_no_place() -> None:
    found = environment(["numpy"])
    assert set(found) == {"lesionlab", "python", "system", "byteorder", "numpy"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert str(Path.home()) not in " ".join(found.values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now())
