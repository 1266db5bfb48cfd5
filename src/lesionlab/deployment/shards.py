"""A list of images, answered here or in shards: tables of their own, done anywhere, joined at last.

OUT.shards/plan.json       what is asked; another call with another plan is refused
OUT.shards/shard-N.csv     a finished shard; with .partial behind it, one that was begun
OUT                        all of them in order, when the last one is there
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.deployment.batch import PredictOptions, as_json, predict_items
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.heatmap import write_heatmap
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.table import PredictionsTable, TablePlan
from lesionlab.errors import BadInput
from lesionlab.experiments.engine import Outcome
from lesionlab.platforms import case_twins
from lesionlab.progress import Progress

PLAN = "plan.json"


def predict_here(
    predictor: Predictor,
    items: Sequence[Item],
    options: PredictOptions,
    table: PredictionsTable | None,
    heatmaps: Path | None,
    progress: Progress,
) -> tuple[list[dict[str, Any]], int, int]:
    """Answer in this process, into the table where there is one.

    Returns the answers (none where they went into the table), how many images could not be read,
    and how many rows an earlier call had written.
    """
    left = items if table is None else table.left(items)
    duplicates = case_twins(item.image_id for item in items)
    answers: list[dict[str, Any]] = []
    errors = 0
    with nullcontext() if table is None else table:
        results = predict_items(predictor, left, options)
        for result in progress(results, "predicting", len(left)):
            errors += bool(result.error)
            if heatmaps is not None:
                write_heatmap(heatmaps, result, predictor.info, duplicates)
            if table is not None:
                table.add(result)
            else:
                answers.append(as_json(result))
    return answers, errors, len(items) - len(left)


@dataclass(frozen=True)
class Shard:
    """Some images, and how they are to be answered: all that a worker needs."""

    bundle: str
    plan: TablePlan
    options: PredictOptions
    threads: int
    items: tuple[Item, ...] = ()
    csv: str = ""


@lru_cache(maxsize=1)
def _predictor(bundle: str, identity: str, threads: int) -> Predictor:
    """One session a worker, kept for its next shard; `identity` makes another bundle another."""
    predictor = Predictor(read_bundle(Path(bundle)), threads)
    if predictor.bundle.identity != identity:
        raise BadInput("is no longer the bundle that the prediction started with", where=bundle)
    predictor.self_test()
    return predictor


def do_shard(shard: Shard, progress: Progress) -> dict[str, Any]:
    """Answer the images of a shard that have no row yet; `{n, errors, resumed}`."""
    if Path(shard.csv).is_file():
        return {"n": len(shard.items), "errors": 0, "resumed": len(shard.items)}
    predictor = _predictor(shard.bundle, shard.plan.bundle, shard.threads)
    table, errors = PredictionsTable(Path(shard.csv), shard.plan), 0
    left = table.left(shard.items)
    with table:
        results = predict_items(predictor, left, shard.options)
        for result in progress(results, "predicting", len(left)):
            errors += bool(result.error)
            table.add(result)
    return {"n": len(shard.items), "errors": errors, "resumed": len(shard.items) - len(left)}


def predict_in_shards(
    items: Sequence[Item],
    shard: Shard,
    csv: Path,
    size: int,
    run: Callable[..., Iterator[Outcome]],
) -> tuple[int, int]:
    """Answer all images in shards of `size` and join their tables as `csv`.

    `shard` says how, without its images; `run(jobs, work)` does the shards that are not there.
    Returns how many images could not be answered and how many were there already.
    """
    if size < 1:
        raise BadInput(f"a shard of {size} images", where="--shard", remedy="at least 1")
    shards = cut(items, size, csv, shard)
    left = [(name, s) for name, s in shards if not Path(s.csv).is_file()]
    resumed, failed = len(items) - sum(len(s.items) for _, s in left), []
    for outcome in run(left, do_shard):
        if outcome.result is None:
            failed.append(f"{outcome.name}: {outcome.error}")
        else:
            resumed += outcome.result["resumed"]
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(shards)} shards failed; {failed[0]}",
            where=str(csv),
            remedy="call it again: the others are kept",
        )
    errors = errors_in(shards)
    join(shards, csv)
    return errors, resumed


def cut(items: Sequence[Item], size: int, csv: Path, shard: Shard) -> list[tuple[str, Shard]]:
    """`(name, shard)` of `size` images each; the folder and its plan are made, or agreed with."""
    folder = csv.with_name(csv.name + ".shards")
    if csv.exists():
        raise BadInput("exists already", where=str(csv), remedy="choose another --csv")
    listed = hashlib.sha256(
        repr([(i.image_id, i.path.as_posix(), i.roi, i.clinical) for i in items]).encode()
    )
    plan = {
        "schema_version": 1,
        "bundle": shard.plan.bundle,
        "settings": dict(shard.plan.settings),
        "size": size,
        "images": len(items),
        "items": listed.hexdigest(),
    }
    if (folder / PLAN).is_file() and files.read_json(folder / PLAN) != plan:
        raise BadInput(
            "belongs to other images, another bundle or other settings",
            where=str(folder),
            remedy="remove it, or choose another --csv",
        )
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / PLAN, plan)
    shards = []
    for number, start in enumerate(range(0, len(items), size)):
        name = f"shard-{number:06d}"
        own = tuple(items[start : start + size])
        shards.append((name, replace(shard, items=own, csv=str(folder / f"{name}.csv"))))
    return shards


def errors_in(shards: Sequence[tuple[str, Shard]]) -> int:
    """Images that could not be answered, in all finished shards, whenever they were done."""
    errors = 0
    for _, shard in shards:
        with Path(shard.csv).open(newline="", encoding="utf-8") as stream:
            errors += sum(bool(row["error"]) for row in csv.DictReader(stream))
    return errors


def join(shards: Sequence[tuple[str, Shard]], csv: Path) -> None:
    """All shards as one table, then without the shards."""
    with files.stage_file(csv) as aside, aside.open("wb") as stream:
        for number, (_, shard) in enumerate(shards):
            with Path(shard.csv).open("rb") as source:
                if number:
                    source.readline()  # the header stands once
                shutil.copyfileobj(source, stream)
    shutil.rmtree(csv.with_name(csv.name + ".shards"), ignore_errors=True)
