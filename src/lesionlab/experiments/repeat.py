"""Folds x seeds: the same recipe trained again and again, and what came out of it, with spread.

OUT/plan.json            what is repeated; a call with another plan is refused
OUT/folds-seedS.csv      image_id, fold
OUT/data/NAME, OUT/runs/NAME   the twin data set and the run of fold and seed, NAME = foldF-seedS
OUT/results/NAME.json    written last: the mark of a finished run
OUT/failures/NAME.json   of a run that crashed: how often, and why
OUT/oof-seedS.csv        the predictions of all folds together, each image by a run that had not
                         seen it: the input of `ensemble --method stack`, and of `evaluate`;
                         oof-seedS-LEAKY.csv where groups cross the folds
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import files
from lesionlab.array_types import Labels
from lesionlab.config import Settings
from lesionlab.data.linked_dataset import write_linked_dataset
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.regions import balanced
from lesionlab.data.split import Parts
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions
from lesionlab.experiments.folds import Folds, deal_folds, fold_parts
from lesionlab.experiments.plan_file import check_plan
from lesionlab.progress import Progress
from lesionlab.run_folder import CONFIG, Run

SCHEMA_VERSION = 1
PARTS = ("train", "valid", "fold")
RESAMPLES = {"train": 100, "valid": 500, "fold": 500}  # intervals of single runs
OF_MALIGNANT = ("sensitivity", "specificity", "ppv", "roc_auc", "average_precision")


@dataclass(frozen=True)
class Plan:
    """What is repeated. `digest` of two plans is equal where their runs are."""

    dataset: str
    fingerprint: str
    settings: dict[str, Any]
    folds: int
    seeds: tuple[int, ...]
    by: str
    valid: float
    weights: str | None
    weights_sha256: str
    device: str
    threads: int
    allow_leak: bool = False
    balance: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON object; paths are for the reader."""
        return {"schema_version": SCHEMA_VERSION, **vars(self), "seeds": list(self.seeds)}

    def name(self) -> str:
        """The preset's name."""
        return str(self.settings["name"])


@dataclass(frozen=True)
class Job:
    """One training of one fold and seed: all that a worker needs, by shared paths."""

    name: str
    out: str
    data: str
    settings: dict[str, Any]
    weights: str | None
    device: str
    threads: int
    fold: str
    seed: int
    train_part: bool


@dataclass(frozen=True)
class Deal:
    """Everything random of a plan, before anything is written: folds by seed, parts by run."""

    folds: dict[int, Folds]
    parts: dict[str, Parts]  # of the runs whose data are not in OUT yet


def deal(dataset: Dataset, groups: Labels, plan: Plan, out: Path) -> Deal:
    """Deal all folds of the plan, and the parts of each run; `BadInput` where that cannot be."""
    images = ("image:" + dataset.table["image_id"]).to_numpy(object)
    units = images if plan.allow_leak else groups
    dealt = Deal({}, {})
    for seed in plan.seeds:
        folds = deal_folds(dataset, groups, plan.folds, seed, plan.by, units)
        dealt.folds[seed] = folds
        for number in range(len(folds.names)):
            name = run_name(number, seed)
            if not (out / "data" / name / "dataset.json").is_file():
                parts = fold_parts(dataset, units, folds, number, plan.valid, seed)
                dealt.parts[name] = _balanced(dataset, parts, plan, seed)
    return dealt


def run_name(fold: int, seed: int) -> str:
    """The name of the run of a fold and seed, everywhere in OUT."""
    return f"fold{fold}-seed{seed}"


def refuse_other_plan(out: Path, plan: Plan) -> None:
    """`BadInput` where OUT was begun with another plan; more seeds may be asked for later."""
    absent = {f.name: f.default for f in fields(Plan) if f.default is not MISSING}
    check_plan(out, plan.to_json(), free=("seeds", "dataset", "weights"), absent=absent)


def prepare_jobs(
    dataset: Dataset, dealt: Deal, plan: Plan, out: Path, train_part: bool
) -> list[Job]:
    """All jobs of the plan in order; their folds and data are kept in OUT."""
    jobs = []
    for seed, folds in dealt.folds.items():
        _keep_folds(dataset, folds, out / f"folds-seed{seed}.csv")
        for number, value in enumerate(folds.names):
            name = run_name(number, seed)
            data = out / "data" / name
            if name in dealt.parts:
                _write_fold(dataset, dealt.parts[name], folds, number, plan, seed, data)
            jobs.append(
                Job(
                    name,
                    str(out.resolve()),
                    str(data.resolve()),
                    {**plan.settings, "seed": seed},
                    plan.weights,
                    plan.device,
                    plan.threads,
                    value,
                    seed,
                    train_part,
                )
            )
    return jobs


def folds_sha256(out: Path, seeds: Sequence[int]) -> str:
    """SHA-256 over the fold files of these seeds: equal where two repeats held out the same."""
    files_of = [out / f"folds-seed{seed}.csv" for seed in seeds]
    return hashlib.sha256(b"\n".join(path.read_bytes() for path in files_of)).hexdigest()


def oof_path(out: Path, seed: int, leaky: bool) -> Path:
    """Where the predictions of all folds of a seed lie; of leaking folds the name says so."""
    return out / f"oof-seed{seed}{'-LEAKY' * leaky}.csv"


def _keep_folds(dataset: Dataset, folds: Folds, path: Path) -> None:
    rows = folds.number >= 0
    names = np.array(folds.names, object)[folds.number[rows]]
    table = pd.DataFrame({"image_id": dataset.table["image_id"].to_numpy()[rows], "fold": names})
    files.write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _balanced(dataset: Dataset, parts: Parts, plan: Plan, seed: int) -> Parts:
    """The parts without the training rows that the plan's balance drops."""
    if not plan.balance:
        return parts
    train = np.flatnonzero(parts == "train")
    some = dataset.table.iloc[train]
    dropped = train[~balanced(some, plan.balance, seed, dataset.info.malignant)]
    kept = parts.copy()
    kept[dropped] = ""
    return kept


def _write_fold(
    dataset: Dataset, parts: Parts, folds: Folds, number: int, plan: Plan, seed: int, to: Path
) -> None:
    shutil.rmtree(to, ignore_errors=True)  # what a killed process left half written
    fold = folds.names[number]
    policy = {"policy": "fold of a repeat", "fold": fold, "folds": len(folds.names),
              "by": plan.by, "seed": seed, "valid": plan.valid, "balance": plan.balance,
              "sealed": folds.sealed}  # fmt: skip
    note = f"the part 'test' is fold {fold} of {len(folds.names)}: no row of the sealed test part"
    leak = {}
    if plan.allow_leak:
        leak = {"leaky": True, "leak_reason": "folds dealt by image, on purpose: groups cross"}
    write_linked_dataset(
        dataset, parts, to, split_policy=policy, notes=(*dataset.info.notes, note), **leak
    )


def unfinished(jobs: Sequence[Job]) -> Iterator[tuple[Job, str]]:
    """The jobs without a result, each with a word on what is known of it."""
    for job in jobs:
        if (Path(job.out) / "results" / f"{job.name}.json").is_file():
            continue
        failure = Path(job.out) / "failures" / f"{job.name}.json"
        began = (Path(job.out) / "runs" / job.name / CONFIG).is_file()
        if failure.is_file():
            yield job, f"failed before ({files.read_json(failure)['error']})"
        else:
            yield job, "was not finished" if began else ""


def do_job(job: Job, progress: Progress) -> dict[str, Any]:
    """Train (or go on with) one run, predict its fold, measure; the result is written last."""
    from lesionlab.config import parse
    from lesionlab.training.device import choose_machine
    from lesionlab.training.inference import load_run
    from lesionlab.training.train import resume, train

    started, out = time.monotonic(), Path(job.out)
    settings = parse(Settings, job.settings, job.name)
    machine = choose_machine(job.device, settings.precision, job.threads)
    folder = out / "runs" / job.name
    if (folder / CONFIG).is_file():
        run = resume(folder, dataset_folder=Path(job.data), machine=machine, progress=progress)
    else:
        weights = None if job.weights is None else Path(job.weights)
        run = train(
            Path(job.data), settings, folder, weights=weights, machine=machine, progress=progress
        )
    seconds = time.monotonic() - started
    loaded = load_run(
        run, read_dataset(Path(job.data)).in_order(), machine=machine, progress=progress
    )
    found = {"valid": read_predictions(run.predictions_path("valid"))}
    for part, split in (("fold", "test"), *[("train", "train")] * job.train_part):
        found[part] = loaded.predictions(loaded.dataset.rows_of(split))
    write_predictions(folder / "predictions-fold.csv", found["fold"])
    return _keep_result(job, run, found, seconds)


def _keep_result(
    job: Job, run: Run, found: dict[str, Predictions], seconds: float
) -> dict[str, Any]:
    summary = files.read_json(run.folder / "summary.json")
    result = {
        "schema_version": SCHEMA_VERSION,
        "name": job.name,
        "fold": job.fold,
        "seed": job.seed,
        "seconds": round(seconds, 1),
        "best_epoch": summary["best_epoch"],
        "n": {part: len(p) for part, p in found.items()},
        "n_train": run.config.dataset.images["train"],
        "parts": {part: _measured(run, part, found[part]) for part in PARTS if part in found},
    }
    folder = Path(job.out) / "results"
    folder.mkdir(exist_ok=True)
    files.write_json(folder / f"{job.name}.json", result)
    (Path(job.out) / "failures" / f"{job.name}.json").unlink(missing_ok=True)
    return result


def _measured(run: Run, part: str, predictions: Predictions) -> dict[str, Any]:
    raw = files.read_json(run.folder / "calibration.json")
    prior = np.array([raw["prior"][c] for c in predictions.classes])
    return measures(predictions, run.config.dataset.malignant, prior, RESAMPLES[part])


def measures(
    predictions: Predictions,
    malignant: tuple[str, ...],
    prior: np.ndarray[Any, np.dtype[np.float64]],
    resamples: int,
) -> dict[str, Any]:
    """The headline measures and those of the malignant classes, `{name: measure}` in JSON."""
    evaluation = evaluate_predictions(
        predictions, malignant=malignant, prior=prior, resampling=Resampling(resamples)
    ).to_json()
    found: dict[str, Any] = dict(evaluation["metrics"])
    against = evaluation["malignant_v_benign"] or {}
    found |= {f"malignant_{k}": against[k] for k in OF_MALIGNANT if k in against}
    return found


def note_again(out: Path, name: str, why: str) -> None:
    """Write into a finished run's result that it was begun more than once, for the table."""
    path = out / "results" / f"{name}.json"
    if path.is_file():
        files.write_json(path, {**files.read_json(path), "begun_again": why})


def keep_failure(out: Path, name: str, error: str, attempts: int) -> None:
    """Note that a run crashed, for the next call to name it."""
    (out / "failures").mkdir(exist_ok=True)
    path = out / "failures" / f"{name}.json"
    before = files.read_json(path)["attempts"] if path.is_file() else 0
    told = {"schema_version": 1, "name": name, "error": error, "attempts": before + attempts}
    files.write_json(path, told)


def joined_folds(
    out: Path, jobs: Sequence[Job], seed: int, leaky: bool = False
) -> Predictions | None:
    """The out-of-fold predictions of one seed, kept in OUT; None unless all folds are in."""
    paths = [Path(j.out) / "runs" / j.name / "predictions-fold.csv" for j in jobs if j.seed == seed]
    if not all(path.is_file() for path in paths):
        return None
    tables = [read_predictions(path) for path in paths]
    joined = join_tables(tables)
    write_predictions(oof_path(out, seed, leaky), joined)
    if leaky:  # an older version wrote it under the plain name
        oof_path(out, seed, leaky=False).unlink(missing_ok=True)
    return joined


def join_tables(tables: Sequence[Predictions]) -> Predictions:
    """Predictions of other images by the same classes, one below the other, by `image_id`."""
    first = tables[0]
    columns = [
        np.concatenate([getattr(t, name) for t in tables])
        for name in ("image_id", "patient_id", "lesion_id", "y_true", "y_prob")
    ]
    whole = all(t.logits is not None for t in tables)
    logits = np.concatenate([t.logits for t in tables if t.logits is not None]) if whole else None
    joined = Predictions(
        columns[0], columns[1], columns[2], first.classes, columns[3], columns[4], logits
    )
    return joined.take(np.argsort(joined.image_id.astype(str), kind="stable"))
