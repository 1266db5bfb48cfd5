"""Several runs as one: averaged, averaged by rank, or stacked on out-of-fold predictions.

Members are runs trained on the same split (their validation part is then held out for all), or
folders of `repeat` over the same folds (then each open image is held out by one of its folds).
An ensemble is a run folder whose weights are those of its members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab import files
from lesionlab.array_types import Floats, Ints, Labels, Rows
from lesionlab.config import Settings, parse
from lesionlab.data.clinical_metadata import encode, fit_coding
from lesionlab.data.manifest import Dataset
from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.predictions import read_predictions
from lesionlab.experiments.folds import open_rows
from lesionlab.experiments.handmade import (
    crossed,
    fit_trees,
    handmade_features,
    tree_probabilities,
)
from lesionlab.experiments.plan_file import PLAN
from lesionlab.experiments.repeat import oof_path
from lesionlab.progress import Progress
from lesionlab.run_folder import BEST, CONFIG, Run, read_run, refuse_unfinished
from lesionlab.training.device import Machine
from lesionlab.training.inference import LoadedRun, load_run
from lesionlab.training.members import (
    EPSILON,
    EnsembleRecord,
    MemberRecord,
    MemberRun,
    is_ensemble,
    read_record,
)
from lesionlab.training.setup import fingerprint, refuse_changed_data

HANDMADE = "handmade"
STACK = "stack.npz"  # what the trees learn from; they are fitted again when they are needed
STACK_ITERATIONS = 80


@dataclass(frozen=True)
class Held:
    """What the members say of images that they had not seen.

    `rows` (n,) of the table; `y_prob` (M, n, K); `folds` (n,) names, one name for a part.
    """

    rows: Rows
    y_prob: Floats
    folds: npt.NDArray[np.object_]


@dataclass(frozen=True)
class Context:
    """What predicting needs beside a record; `dataset` is in the order of `image_id`."""

    dataset: Dataset
    machine: Machine
    progress: Progress

    @property
    def classes(self) -> int:
        """K."""
        return len(self.dataset.info.classes)

    def labels(self, rows: Rows) -> Ints:
        """(n,) class numbers."""
        found: Ints = self.dataset.label_indices(self.dataset.table)[rows]
        return found

    def loaded(self, run: Run) -> LoadedRun:
        """A run, ready to predict."""
        return load_run(run, self.dataset, machine=self.machine, progress=self.progress)


def members_of(folders: Sequence[Path], seed: int) -> list[MemberRecord]:
    """Run folders, or folders of `repeat`, as members; `BadInput` for an unfinished one."""
    named = zip(_names(folders), folders, strict=True)
    return [_member(name, folder, seed) for name, folder in named]


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, with as many folders above them as tell them apart."""
    whole = [folder.resolve() for folder in folders]
    twice = [folder for folder in whole if whole.count(folder) > 1]
    if twice:
        raise BadInput("was given twice", where=str(twice[0]), remedy="give each member once")
    for depth in range(1, max(len(folder.parts) for folder in whole) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in whole]
        if len({*names, HANDMADE}) == len(names) + 1:
            break
    return names


def _member(name: str, folder: Path, seed: int) -> MemberRecord:
    if (folder / PLAN).is_file():
        return _repeat_member(name, folder, seed)
    if is_ensemble(folder):
        raise BadInput("is an ensemble itself", where=str(folder), remedy="give its members")
    run = read_run(folder)
    refuse_unfinished(run)
    return MemberRecord(name=name, kind="run", runs=(_weights(run),))


def _repeat_member(name: str, folder: Path, seed: int) -> MemberRecord:
    if not _out_of_fold(folder, seed).is_file():
        raise BadInput(
            f"no out-of-fold predictions of seed {seed}",
            where=str(folder),
            remedy="finish the repeat, or choose another --seed",
        )
    names = sorted(p.stem for p in folder.glob(f"results/fold*-seed{seed}.json"))
    runs = tuple(_weights(read_run(folder / "runs" / run)) for run in names)
    return MemberRecord(name=name, kind="repeat", runs=runs)


def _out_of_fold(folder: Path, seed: int) -> Path:
    marked = oof_path(folder, seed, leaky=True)
    return marked if marked.is_file() else oof_path(folder, seed, leaky=False)


def _weights(run: Run) -> MemberRun:
    return MemberRun(folder=str(run.folder.resolve()), sha256=files.sha256_file(run.folder / BEST))


def refuse_in_fold(folders: Sequence[Path], method: str) -> bool:
    """Whether the members are repeats; `BadInput` for a mixture, and for stacking plain runs.

    The predictions of a run for its own training part are too good: trees that learn from
    them learn to trust what will not come again.
    """
    kinds = {(f / PLAN).is_file() for f in folders}
    if len(kinds) > 1:
        raise BadInput(
            "runs and repeats cannot be mixed, because they hold out different images",
            remedy="give runs of one split, or folders of `repeat` over the same folds",
        )
    repeats = kinds == {True}
    if method == "stack" and not repeats:
        raise BadInput(
            "stacking needs out-of-fold predictions, and a single run has none",
            where=str(folders[0]),
            remedy="make them first: lesionlab repeat DATASET --preset P --out DIR, then: "
            "lesionlab ensemble DIR --method stack --handcrafted",
        )
    return repeats


def refuse_other_data(runs: Sequence[Run], dataset: Dataset) -> None:
    """`BadInput` where the runs were not all trained on this data set with this split."""
    first, *others = runs
    refuse_changed_data(first.folder, first.config, dataset)
    for run in others:
        facts = run.config.settings.model.metadata
        if fingerprint(dataset, facts) != run.config.dataset.fingerprint:
            raise BadInput(
                f"was trained on other data, or another split, than {first.folder}",
                where=str(run.folder),
                remedy="give runs of one data set and one split",
            )


def refuse_repeat_of_other_data(folder: Path, dataset: Dataset) -> None:
    """`BadInput` where the data set was changed or split again since the repeat."""
    plan = files.read_json(folder / PLAN)
    facts = plan["settings"]["model"]["metadata"]
    if fingerprint(dataset, facts) != plan["fingerprint"]:
        raise BadInput(
            f"the data set {dataset.folder} has changed since the repeat: it was split again, or "
            "edited, and its test split may hold images that the folds were trained on",
            where=str(folder),
            remedy="restore its split, or repeat on the present data set with another --out",
        )


def refuse_sealed(rows: Rows, groups: Labels, context: Context) -> None:
    """`BadInput` where one of these rows is in the test part now, or is kin of one that is."""
    sealed = rows[~open_rows(context.dataset, groups)[rows]]
    if len(sealed):
        first = context.dataset.table["image_id"].iloc[int(sealed[0])]
        raise BadInput(
            counted(
                len(sealed),
                "folded image is now in the test split, or shares a group",
                "folded images are now in the test split, or share a group",
            )
            + f" with an image that is (first: {first})",
            where=str(context.dataset.folder),
            remedy="repeat on the present data set, with another --out",
        )


def held_by_folds(
    folders: Sequence[Path], record: EnsembleRecord, groups: Labels, context: Context
) -> Held:
    """The members' out-of-fold probabilities; the folds must be the same for all.

    `groups` (N,) are those of the data set; no folded row may be in its test part, nor its kin.
    """
    seed = record.seed
    dealt = [(f / f"folds-seed{seed}.csv").read_bytes() for f in folders]
    if len(set(dealt)) > 1:
        raise BadInput(
            "the members have different folds",
            remedy="repeat them with the same data set and --folds",
        )
    table = pd.read_csv(folders[0] / f"folds-seed{seed}.csv", dtype=str, keep_default_na=False)
    table = table.sort_values("image_id", kind="stable")
    position = pd.Series(np.arange(len(context.dataset.table)), context.dataset.table["image_id"])
    if not set(table["image_id"]) <= set(position.index):
        raise BadInput("the folds belong to another data set", where=str(folders[0]))
    rows = position.loc[table["image_id"]].to_numpy()
    refuse_sealed(rows, groups, context)
    folds = table["fold"].to_numpy(object)
    found = []
    for member, folder in zip(record.members, folders, strict=False):
        if record.views == 1:
            found.append(_joined(folder, seed, table["image_id"].tolist()))
        else:
            found.append(_turned_folds(member, rows, folds, record.views, context))
    return Held(rows, np.array(found), folds)


def _joined(folder: Path, seed: int, ids: list[str]) -> Floats:
    """(n, K) out-of-fold probabilities as the repeat stored them, of just these images."""
    path = _out_of_fold(folder, seed)
    joined = read_predictions(path)
    if joined.image_id.astype(str).tolist() != ids:
        raise BadInput(
            "holds images other than those of the folds",
            where=str(path),
            remedy="run the repeat again",
        )
    return joined.y_prob


def _turned_folds(
    member: MemberRecord, rows: Rows, folds: npt.NDArray[np.object_], views: int, context: Context
) -> Floats:
    """(n, K) out-of-fold probabilities over several views, each fold by its own run."""
    y_prob = np.empty((len(rows), context.classes))
    for saved in member.runs:
        run = read_run(Path(saved.folder))
        result = files.read_json(run.folder.parents[1] / "results" / f"{run.folder.name}.json")
        inside = folds == result["fold"]
        y_prob[inside] = context.loaded(run).probabilities(rows[inside], views)
    return y_prob


def member_probabilities(
    member: MemberRecord, rows: Rows, record: EnsembleRecord, context: Context, fitting: Rows
) -> Floats:
    """(n, K) of images that no run of the member has seen; of several runs the mean.

    A hand-made member is fitted on the rows `fitting`.
    """
    if member.kind == HANDMADE:
        features = handmade_features(context.dataset, _side(record), context.progress)
        trees = fit_trees(features[fitting], context.labels(fitting))
        return tree_probabilities(trees, features[rows], context.classes)
    runs = [read_run(Path(saved.folder)) for saved in member.runs]
    each = [context.loaded(run).probabilities(rows, record.views) for run in runs]
    return np.asarray(np.mean(each, axis=0))


def _side(record: EnsembleRecord) -> int:
    """The size of the first network's images: their pixel cache is there already."""
    first = next(run for m in record.members for run in m.runs)
    return read_run(Path(first.folder)).config.settings.shown.size


def handmade_held(held: Held, record: EnsembleRecord, context: Context, fitting: Rows) -> Floats:
    """(n, K) of the hand-made member for the held-out rows: crossed over the folds where several,
    else fitted on the training rows `fitting`."""
    features = handmade_features(context.dataset, _side(record), context.progress)
    if len(set(held.folds)) > 1:
        y = context.labels(held.rows)
        return crossed(features[held.rows], y, held.folds, context.classes)
    trees = fit_trees(features[fitting], context.labels(fitting))
    return tree_probabilities(trees, features[held.rows], context.classes)


def mean_logits(y_prob: Floats) -> Floats:
    """(M, n, K) -> (n, K) log of the mean probability."""
    return np.asarray(np.log(np.maximum(y_prob.mean(0), EPSILON)))


def rank_logits(y_prob: Floats, reference: Floats) -> Floats:
    """(M, n, K) -> (n, K) log of the mean rank among the held-out `reference` (M, m, K).

    Each class's probability is replaced by the share of held-out images that have less, ties
    half: what is averaged is the order, so that a member that is too sure counts no more.
    """
    ranks = np.empty_like(y_prob)
    m = reference.shape[1]
    for member in range(len(y_prob)):
        for k in range(y_prob.shape[2]):
            known = np.sort(reference[member, :, k])
            below = np.searchsorted(known, y_prob[member, :, k], "left")
            upto = np.searchsorted(known, y_prob[member, :, k], "right")
            ranks[member, :, k] = (below + upto + 1) / (2 * m + 2)
    return np.asarray(np.log(ranks.mean(0)))


def stack_features(
    y_prob: Floats, rows: Rows, record: EnsembleRecord, context: Context, fitting: Rows
) -> Floats:
    """(n, M K + F): log-probabilities of all members, then age, sex and site of the case."""
    logs = np.log(np.maximum(y_prob, 1e-6)).transpose(1, 0, 2).reshape(y_prob.shape[1], -1)
    if not record.facts:
        return np.asarray(logs)
    coding = fit_coding(context.dataset.table.iloc[fitting], record.facts)
    return np.hstack([logs, encode(context.dataset.table, coding)[rows].astype(np.float64)])


def stacked_held(features: Floats, y: Ints, folds: npt.NDArray[np.object_], k: int) -> Floats:
    """(n, K) log-probabilities of each fold, by trees fitted on the other folds."""
    y_prob = np.empty((len(y), k))
    for fold in sorted(set(folds)):
        inside = folds == fold
        trees = fit_trees(features[~inside], y[~inside], STACK_ITERATIONS)
        y_prob[inside] = tree_probabilities(trees, features[inside], k)
    return np.asarray(np.log(np.maximum(y_prob, EPSILON)))


def ensemble_logits(folder: Path, rows: Rows, context: Context) -> Floats:
    """(n, K) logits of an ensemble for rows that its members have not seen."""
    record = read_record(folder)
    stored = np.load(folder / STACK, allow_pickle=False)
    fitting = stored["fitting"].astype(np.int64)
    y_prob = np.array(
        [member_probabilities(m, rows, record, context, fitting) for m in record.members]
    )
    if record.method == "mean":
        return mean_logits(y_prob)
    if record.method == "rank":
        return rank_logits(y_prob, stored["y_prob"])
    held = stored["rows"].astype(np.int64)
    known = stack_features(stored["y_prob"], held, record, context, held)
    trees = fit_trees(known, context.labels(held), STACK_ITERATIONS)
    asked = stack_features(y_prob, rows, record, context, held)
    found = tree_probabilities(trees, asked, context.classes)
    return np.asarray(np.log(np.maximum(found, EPSILON)))


def settings_of(folder: Path, method: str, members: Sequence[str], first: Run) -> Settings:
    """The first member's recipe under the ensemble's name: what a reader is shown."""
    values = first.config.settings.model_dump(mode="json")
    values |= {
        "name": folder.resolve().name,
        "description": f"{method} of {', '.join(members)}",
        "source": "",
        "expected": "",
    }
    return parse(Settings, values, CONFIG)
