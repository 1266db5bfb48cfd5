"""An ensemble's run folder, from probabilities made up here: no network is trained or asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, roc_auc_score

from helpers import datasets
from lesionlab import files
from lesionlab.array_types import Rows
from lesionlab.config import Settings
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.experiments import ensemble_folder
from lesionlab.experiments.ensemble import STACK, Context, Held
from lesionlab.experiments.ensemble_folder import (
    covariates,
    ensemble_predictions,
    write_ensemble,
)
from lesionlab.progress import SILENT
from lesionlab.run_folder import BEST, Run, read_run
from lesionlab.training.device import choose_machine
from lesionlab.training.members import EnsembleRecord, MemberRecord, MemberRun, read_record
from lesionlab.training.run_calibration import read_calibration

N = 160  # validation images, two of each patient: enough for trees to divide
Y = np.arange(N) // 2 % 2
LEAKY = {"leaky": True, "leak_reason": "dealt by image"}


def probabilities(seed: int, strength: float) -> np.ndarray:
    """(N, 2) of a member, better than chance; every row sums to 1."""
    z = np.random.default_rng(seed).normal(size=N) + strength * (2 * Y - 1)
    return softmax(np.stack([-z, z], 1), axis=1)


MEMBERS = np.array([probabilities(0, 0.5), probabilities(1, 1.0)])


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Validation images, training images of which 3 in 4 are nv, and a sealed part."""
    words = ("nv", "mel")
    valid = [
        datasets.row(f"v{k:03}", "valid", words[Y[k]], patient_id=f"p{k // 2}") for k in range(N)
    ]
    train = [datasets.row(f"t{k:02}", "train", words[k % 4 == 0]) for k in range(40)]
    sealed = [datasets.row(f"s{k}", "test", words[k % 2]) for k in range(4)]
    made = datasets.dataset(tmp_path / "data", *train, *valid, *sealed, malignant=("mel",))
    datasets.written(made)
    return made.in_order()


@pytest.fixture
def members(tmp_path: Path, data: Dataset, tiny: Callable[..., Settings]) -> list[MemberRecord]:
    """Two runs with weights of their own."""
    found = []
    for name in ("r0", "r1"):
        datasets.begun_run(tmp_path / name, tiny(seed=len(found)), data)
        (tmp_path / name / BEST).write_bytes(name.encode())
        run = MemberRun(
            folder=str(tmp_path / name), sha256=files.sha256_file(tmp_path / name / BEST)
        )
        found.append(MemberRecord(name=name, kind="run", runs=(run,)))
    return found


def written(
    out: Path,
    data: Dataset,
    members: Sequence[MemberRecord],
    y_prob: np.ndarray = MEMBERS,
    folds: Sequence[str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    record = EnsembleRecord(**{"method": "mean", "members": tuple(members), **changes})
    rows = data.rows_of("valid")
    names = np.array(["valid"] * N if folds is None else list(folds), object)
    fitting = rows if record.out_of_fold else data.rows_of("train")
    context = Context(data, choose_machine("cpu", "float32", 1), SILENT)
    first = read_run(Path(members[0].runs[0].folder))
    return write_ensemble(out, record, Held(rows, y_prob, names), fitting, first, context)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is resampled: for tests that look at no measure."""
    monkeypatch.setattr(ensemble_folder, "measures", lambda *_: {})


def test_the_folder_is_a_finished_run_that_answers_with_the_mean(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    told = written(tmp_path / "e", data, members)
    run = read_run(tmp_path / "e")
    shown = read_predictions(run.predictions_path("valid"))
    assert list(shown.image_id) == [f"v{k:03}" for k in range(N)]
    assert (shown.y_true == Y).all()
    assert shown.logits == pytest.approx(np.log(MEMBERS.mean(0)), abs=1e-6)
    fitted = read_calibration(run)
    scaled = softmax(np.log(MEMBERS.mean(0)) / fitted.temperature, axis=1)
    assert shown.y_prob == pytest.approx(scaled, abs=1e-5)
    assert (fitted.fitted_on, fitted.n, fitted.groups) == ("valid", N, N // 2)
    assert fitted.prior == pytest.approx([0.75, 0.25])  # of the training rows
    assert fitted.train_prior == pytest.approx(fitted.prior)
    assert told == files.read_json(tmp_path / "e" / "members.json")
    assert (told["held_out"], told["n"], told["groups"]) == ("validation", N, N // 2)


@pytest.mark.usefixtures("unmeasured")
def test_the_recipe_is_the_first_members_under_the_ensembles_name(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    written(tmp_path / "both", data, members, views=8)
    run = read_run(tmp_path / "both")
    assert run.config.settings.name == "both"
    assert run.config.settings.description == "mean of r0, r1"
    assert run.config.settings.stages == read_run(tmp_path / "r0").config.settings.stages
    assert run.config.created != read_run(tmp_path / "r0").config.created
    record = read_record(tmp_path / "both")
    assert (record.views, [m.name for m in record.members]) == (8, ["r0", "r1"])


def test_each_member_and_all_together_are_measured(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    told = written(tmp_path / "e", data, members, 2 * MEMBERS)  # what does not sum to 1 is scaled
    assert list(told["members"]) == ["r0", "r1"]
    for name, p in zip(("r0", "r1"), MEMBERS, strict=True):
        found = told["members"][name]
        assert found["accuracy"]["value"] == pytest.approx(accuracy_score(Y, p.argmax(1)))
        assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(Y, p[:, 1]))
        nll = -np.log(p[np.arange(N), Y]).mean()
        assert found["nll"]["value"] == pytest.approx(nll)
    mean = roc_auc_score(Y, MEMBERS.mean(0)[:, 1])
    assert told["valid"]["roc_auc"]["value"] == pytest.approx(mean)
    assert told["folds"] == {}


def test_folds_are_measured_each_where_there_are_several(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    folds = np.where(np.arange(N) // 4 % 4 == 0, "0", "1").astype(object)
    told = written(tmp_path / "e", data, members, folds=folds, out_of_fold=True)
    assert told["held_out"] == "folds"
    assert list(told["folds"]) == ["0", "1"]
    score = MEMBERS.mean(0)[:, 1]
    for name, found in told["folds"].items():
        inside = folds == name
        assert found["roc_auc"]["n"] == inside.sum()
        expected = roc_auc_score(Y[inside], score[inside])
        assert found["roc_auc"]["value"] == pytest.approx(expected)
    prior = read_calibration(read_run(tmp_path / "e")).prior
    assert prior == pytest.approx([0.5, 0.5])  # of the folded rows, not of the training part


@pytest.mark.usefixtures("unmeasured")
def test_ranks_take_classes_as_equally_frequent_and_see_the_order_alone(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    sure = MEMBERS**3  # the same order for each member and class
    for name, y_prob in (("plain", MEMBERS), ("sure", sure)):
        written(tmp_path / name, data, members, y_prob, method="rank")
    plain, other = (read_predictions(tmp_path / n / "predictions-valid.csv")
                    for n in ("plain", "sure"))  # fmt: skip
    assert plain.y_prob == pytest.approx(other.y_prob)
    fitted = read_calibration(read_run(tmp_path / "plain"))
    assert fitted.prior == pytest.approx([0.75, 0.25])
    assert fitted.train_prior == pytest.approx([0.5, 0.5])
    assert read_run(tmp_path / "plain").config.settings.description == "rank of r0, r1"


@pytest.mark.usefixtures("unmeasured")
def test_what_a_stack_learns_from_is_kept_and_its_held_out_answers_are_crossed(
    data: Dataset, members: list[MemberRecord], tmp_path: Path
) -> None:
    folds = np.array(["0", "1"] * (N // 2), object)
    told = written(tmp_path / "e", data, members, folds=folds, method="stack", out_of_fold=True)
    stored = np.load(tmp_path / "e" / STACK, allow_pickle=False)
    assert (stored["rows"] == data.rows_of("valid")).all()
    assert (stored["fitting"] == stored["rows"]).all()
    np.testing.assert_array_equal(stored["y_prob"], MEMBERS)
    assert told["method"] == "stack"
    # The answers of fold 0 hang on nothing that fold 0 was labelled.
    turned = data.table["label"].replace({"nv": "mel", "mel": "nv"})
    rows = data.rows_of("valid")[folds == "0"]
    table = data.table.copy()
    table.loc[rows, "label"] = turned[rows]
    other = Dataset(data.folder, table, data.info)
    written(tmp_path / "f", other, members, folds=folds, method="stack", out_of_fold=True)
    first, second = (read_predictions(tmp_path / n / "predictions-valid.csv") for n in "ef")
    assert first.logits is not None
    assert second.logits is not None
    np.testing.assert_array_equal(first.logits[folds == "0"], second.logits[folds == "0"])
    assert (first.logits[folds == "1"] != second.logits[folds == "1"]).any()


@pytest.mark.usefixtures("unmeasured")
def test_an_ensemble_is_leaky_where_a_member_or_its_data_are(
    data: Dataset, members: list[MemberRecord], tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    written(tmp_path / "clean", data, members)
    assert not read_run(tmp_path / "clean").config.dataset.leaky
    leaky = Dataset(data.folder, data.table, data.info.model_copy(update=LEAKY))
    datasets.begun_run(tmp_path / "r1", tiny(), leaky)  # the second member alone
    written(tmp_path / "marked", data, members)
    marked = read_run(tmp_path / "marked").config.dataset
    assert (marked.leaky, marked.leak_reason) == (True, "dealt by image")
    own = Dataset(data.folder, data.table, data.info.model_copy(
        update={"leaky": True, "leak_reason": "its own"}))  # fmt: skip
    written(tmp_path / "own", own, members)
    assert read_run(tmp_path / "own").config.dataset.leak_reason == "its own"


@pytest.mark.usefixtures("unmeasured")
def test_nothing_is_left_of_an_ensemble_that_cannot_be_written(
    data: Dataset, members: list[MemberRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(ensemble_folder, "write_calibration", full)
    with pytest.raises(OSError, match="disk full"):
        written(tmp_path / "new" / "e", data, members)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The logits of the sealed images, in the place of networks."""
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [-1.0, 1.0]])

    def made(folder: Path, rows: Rows, context: Context) -> np.ndarray:
        assert list(context.dataset.table["image_id"].iloc[rows]) == ["s0", "s1", "s2", "s3"]
        return logits

    monkeypatch.setattr(ensemble_folder, "ensemble_logits", made)
    return logits


def ensemble_of(out: Path, data: Dataset, members: list[MemberRecord], **changes: Any) -> Run:
    written(out, data, members, **changes)
    return read_run(out)


@pytest.mark.usefixtures("unmeasured")
def test_it_predicts_the_sealed_part_with_its_own_calibration(
    data: Dataset, members: list[MemberRecord], tmp_path: Path, answers: np.ndarray
) -> None:
    run = ensemble_of(tmp_path / "e", data, members)
    found = ensemble_predictions(run, "test")
    assert found.logits == pytest.approx(answers)
    scaled = softmax(answers / read_calibration(run).temperature, axis=1)
    assert found.y_prob == pytest.approx(scaled, abs=1e-6)
    assert list(found.y_true) == [0, 1, 0, 1]


@pytest.mark.usefixtures("unmeasured")
def test_parts_that_a_member_was_trained_on_are_refused(
    data: Dataset, members: list[MemberRecord], tmp_path: Path, answers: np.ndarray
) -> None:
    runs = ensemble_of(tmp_path / "e", data, members)
    folded = ensemble_of(tmp_path / "f", data, members, out_of_fold=True)
    for run, split in ((runs, "train"), (folded, "train"), (folded, "valid"), (folded, "calib")):
        with pytest.raises(BadInput, match=f"were trained on '{split}'; use --split valid"):
            ensemble_predictions(run, split)
    with pytest.raises(BadInput, match="no images in split 'calib'"):
        ensemble_predictions(runs, "calib")
    assert len(ensemble_predictions(folded, "test")) == 4


@pytest.mark.usefixtures("unmeasured")
def test_changed_weights_or_data_are_refused(
    data: Dataset, members: list[MemberRecord], tmp_path: Path, answers: np.ndarray
) -> None:
    run = ensemble_of(tmp_path / "e", data, members)
    (tmp_path / "r1" / BEST).write_bytes(b"other")
    with pytest.raises(BadInput, match="r1: its weights have changed"):
        ensemble_predictions(run, "test")
    table = data.table.copy()
    table.loc[0, "label"] = {"nv": "mel", "mel": "nv"}[table.loc[0, "label"]]
    datasets.written(Dataset(data.folder, table, data.info))
    with pytest.raises(BadInput, match="changed"):
        ensemble_predictions(run, "test")


def facts_of(tmp_path: Path, **cells: Any) -> Dataset:
    forbidden = cells.pop("forbidden", ())
    rows = [datasets.row("a", **cells), datasets.row("b")]
    return datasets.dataset(tmp_path, *rows, forbidden_inputs=forbidden)


def test_a_stack_reads_the_facts_that_some_image_has(tmp_path: Path) -> None:
    assert covariates(facts_of(tmp_path), None) == ()
    assert covariates(facts_of(tmp_path, age=50), None) == ("age",)
    assert covariates(facts_of(tmp_path, site="back", sex="female"), None) == ("sex", "site")
    assert covariates(facts_of(tmp_path, site="x", age=1, forbidden=("site",)), None) == ("age",)


def test_facts_that_were_asked_for_are_read_in_that_order_or_refused(tmp_path: Path) -> None:
    data = facts_of(tmp_path, age=50, sex="male", forbidden=("site",))
    assert covariates(data, ["sex", "age"]) == ("sex", "age")
    assert covariates(data, []) == ()
    with pytest.raises(BadInput, match="'site' must not be an input"):
        covariates(data, ["age", "site"])
    with pytest.raises(BadInput, match="'agee' is not a clinical metadata column"):
        covariates(data, ["agee"])
