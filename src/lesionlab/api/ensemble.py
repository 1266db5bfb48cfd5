"""`lesionlab.ensemble`: several runs as one, that evaluates and exports like a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lesionlab import extras, files
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress
from lesionlab.run_folder import (
    Run,
    read_run,
)

METHODS = ("mean", "rank", "stack")


def ensemble(
    members: Sequence[Path | str],
    out: Path | str,
    *,
    method: Literal["mean", "rank", "stack"] = "mean",
    tta: bool = False,
    handmade: bool = False,
    facts: Sequence[str] | None = None,
    seed: int = 0,
    data: Path | str | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Join runs of one split, or repeats over the same folds, into a run folder `out`.

    "mean" averages the members' calibrated probabilities, "rank" their ranks among the held-out
    images, "stack" learns from them with boosted trees; it takes repeats only, because it must
    learn from out-of-fold predictions, and reads age, sex and site too (`facts`; default: those
    that the data set has). `tta` averages each member over the 8 flips and turns; `handmade` adds
    a member of colours and, where there are masks, lesion shape. `seed` is that of the repeats.
    With a single member and `tta` this is plain test-time augmentation.

    Returns `{ensemble, method, members: {name: {metric: measure}}, valid: {metric: measure}, n,
    folds: {name: {metric: measure}}, notes}`. The measures are those of held-out images:
    validation, or all folds. `notes` says where the labels do not determine the temperature.
    Raises `BadInput` for members that do not fit together.
    """
    folders, out = [Path(m) for m in members], Path(out)
    _refuse_options(folders, method, tta, handmade, facts)
    files.refuse_existing(out)
    from lesionlab.api.split import known_pairs

    extras.need_torch("ensemble")
    from lesionlab.experiments import ensemble as parts
    from lesionlab.experiments.ensemble_folder import covariates, write_ensemble
    from lesionlab.training.device import choose_machine
    from lesionlab.training.inference import VIEWS
    from lesionlab.training.members import EnsembleRecord, MemberRecord

    repeats = parts.refuse_in_fold(folders, method)
    found = parts.members_of(folders, seed)
    first = read_run(Path(found[0].runs[0].folder))
    dataset = read_dataset(_data_folder(folders[0], first, repeats, data)).in_order()
    if repeats:
        for folder in folders:
            parts.refuse_repeat_of_other_data(folder, dataset)
    else:
        parts.refuse_other_data([read_run(Path(m.runs[0].folder)) for m in found], dataset)
    if handmade:
        found.append(MemberRecord(name=parts.HANDMADE, kind="handmade"))
    record = EnsembleRecord(
        method=method,
        views=VIEWS if tta else 1,
        members=tuple(found),
        seed=seed,
        facts=covariates(dataset, facts) if method == "stack" else (),
        out_of_fold=repeats,
    )
    context = parts.Context(dataset, choose_machine(device, "float32", threads), progress)
    if repeats:
        groups = united_groups(dataset.table, known_pairs(dataset, None, False, SILENT)[1])
        held = parts.held_by_folds(folders, record, groups, context)
        fitting = held.rows
    else:
        rows, fitting = dataset.rows_of("valid"), dataset.rows_of("train")
        each = [
            parts.member_probabilities(m, rows, record, context, fitting)
            for m in found
            if m.kind == "run"
        ]
        held = parts.Held(rows, np.array(each), np.full(len(rows), "valid", object))
    if handmade:
        own = parts.handmade_held(held, record, context, fitting)
        held = parts.Held(held.rows, np.concatenate([held.y_prob, own[None]]), held.folds)
    return write_ensemble(out, record, held, fitting, first, context)


def _refuse_options(
    folders: Sequence[Path], method: str, tta: bool, handmade: bool, facts: Sequence[str] | None
) -> None:
    """`BadInput` for options that do not fit together, before torch is imported."""
    if method not in METHODS:
        raise BadInput(f"no method '{method}'", remedy="known: " + ", ".join(METHODS))
    if not folders or len(folders) + handmade + tta < 2:
        raise BadInput(
            "an ensemble needs more than one member",
            remedy="give several runs, or --tta, or --handcrafted",
        )
    if facts is not None and method != "stack":
        raise BadInput(
            f"method '{method}' uses no clinical metadata",
            where="--metadata",
            remedy="use --method stack",
        )


def _data_folder(folder: Path, first: Run, repeats: bool, data: Path | str | None) -> Path:
    if data is not None:
        return Path(data)
    if repeats:
        return Path(files.read_json(folder / "plan.json")["dataset"])
    return Path(first.config.dataset.folder)
