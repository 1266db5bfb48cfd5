from __future__ import annotations

from pathlib import Path

import pytest

from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.inflation import inflation
from lesionlab.api.split import split
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.run_folder import CONFIG


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inflation") / "d"
    import_dataset("synthetic", to=folder, lesions=60, seed=0)
    return folder


def test_the_difference_is_paired_and_finished_arms_are_kept(lesions: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    def fit(data: Path, run: Path, seed: int) -> dict[str, float]:
        dataset = read_dataset(data)
        asked.append((data.name, dataset.info.leaky))
        assert (data / dataset.part("train")["path"].iloc[0]).is_file()
        return {"balanced_accuracy": 0.7 + 0.01 * seed + (0.1 + 0.01 * seed) * dataset.info.leaky}

    before = (lesions / "manifest.csv").read_bytes()
    told = inflation(lesions, "p", tmp_path / "o", fit=fit)
    found = told["metrics"]["balanced_accuracy"]
    assert found["difference"]["value"] == pytest.approx(0.11)
    assert found["difference"]["low"] < 0.11 < found["difference"]["high"]
    assert found["leaky"] - found["clean"] == pytest.approx(0.11)
    assert "+0.110" in told["sentence"]
    assert asked[:2] == [("seed0-leaky-data", True), ("seed0-clean-data", False)]
    again = inflation(lesions, "p", tmp_path / "o", fit=fit)
    assert len(asked) == 6
    assert again["metrics"] == told["metrics"]
    assert (tmp_path / "o" / "inflation.json").is_file()
    assert (lesions / "manifest.csv").read_bytes() == before


def test_the_sealed_test_part_is_left_alone(lesions: Path, tmp_path: Path) -> None:
    split(lesions, test=0.2, valid=0.2, search=False)
    sealed = set(read_dataset(lesions).part("test")["image_id"])
    used: set[str] = set()

    def fit(data: Path, run: Path, seed: int) -> dict[str, float]:
        table = read_dataset(data).table
        used.update(table["image_id"][table["split"] != ""])
        assert len(table) == len(read_dataset(lesions).table)
        return {"accuracy": 0.5}

    inflation(lesions, "p", tmp_path / "o", seeds=2, fit=fit)
    assert used
    assert not used & sealed


def test_one_seed_gives_no_interval(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1 seeds are too few for an interval"):
        inflation(lesions, "p", tmp_path / "o", seeds=1)


def test_an_interrupted_arm_goes_on(lesions: Path, tmp_path: Path) -> None:
    began: list[bool] = []

    def fit(data: Path, run: Path, seed: int) -> dict[str, float]:
        began.append((run / CONFIG).is_file())
        if len(began) == 1:
            run.mkdir()
            (run / CONFIG).write_text("{}", encoding="utf-8")
            (data / "mark").touch()
            raise KeyboardInterrupt
        assert (data / "mark").is_file() == (len(began) == 2)
        return {"accuracy": 0.5}

    with pytest.raises(KeyboardInterrupt):
        inflation(lesions, "p", tmp_path / "o", seeds=2, fit=fit)
    inflation(lesions, "p", tmp_path / "o", seeds=2, fit=fit)
    assert began == [False, True, False, False, False]
