"""A long list of images in shards: each one a table of its own, done anywhere, joined at last.

OUT.shards/plan.json       what is asked; another call with another plan is refused
OUT.shards/shard-N.csv     a finished shard; with .partial behind it, one that was begun
OUT                        all of them in order, when the last one is there
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.deployment.answers import find_point
from lesionlab.deployment.batch import How, predict_items
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.table import PredictionsTable, TablePlan, columns
from lesionlab.errors import BadInput
from lesionlab.progress import Progress

PLAN = "plan.json"


@dataclass(frozen=True)
class Shard:
    """Some images, and how they are to be answered: all that a worker needs."""

    bundle: str
    identity: str
    items: tuple[Item, ...]
    csv: str
    operating_point: str | None
    abstain: str
    draft: bool
    threads: int
    settings: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def _predictor(bundle: str, identity: str, threads: int) -> Predictor:
    """One session a worker, kept for its next shard; `identity` makes another bundle another."""
    predictor = Predictor(read_bundle(Path(bundle)), threads)
    if predictor.bundle.identity != identity:
        raise BadInput("is another bundle than the one that was asked for", where=bundle)
    predictor.self_test()
    return predictor


def do_shard(shard: Shard, progress: Progress) -> dict[str, Any]:
    """Answer the images of a shard that have no row yet; `{n, errors, resumed}`."""
    if Path(shard.csv).is_file():
        return {"n": len(shard.items), "errors": 0, "resumed": len(shard.items)}
    predictor = _predictor(shard.bundle, shard.identity, shard.threads)
    point = find_point(predictor.info, shard.operating_point)
    names = tuple(columns(predictor.info, point is not None))
    table, errors = (
        PredictionsTable(Path(shard.csv), TablePlan(shard.identity, names, dict(shard.settings))),
        0,
    )
    left = table.left(shard.items)
    with table:
        how = How(point, shard.abstain, shard.draft)
        for result in progress(predict_items(predictor, left, how), "predicting", len(left)):
            errors += bool(result.error)
            table.add(result)
    return {"n": len(shard.items), "errors": errors, "resumed": len(shard.items) - len(left)}


def cut(items: Sequence[Item], size: int, csv: Path, shard: Shard) -> list[tuple[str, Shard]]:
    """`(name, shard)` of `size` images each; the folder and its plan are made, or agreed with."""
    folder = csv.with_name(csv.name + ".shards")
    if csv.exists():
        raise BadInput("exists already", where=str(csv), remedy="choose another --csv")
    listed = hashlib.sha256(
        repr([(i.image_id, i.path.as_posix(), i.roi, i.case) for i in items]).encode()
    )
    plan = {
        "schema_version": 1,
        "bundle": shard.identity,
        "settings": dict(shard.settings),
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
    found = []
    for number, start in enumerate(range(0, len(items), size)):
        name = f"shard-{number:06d}"
        part = {**vars(shard), "items": tuple(items[start : start + size])}
        found.append((name, Shard(**{**part, "csv": str(folder / f"{name}.csv")})))
    return found


def errors_in(shards: Sequence[tuple[str, Shard]]) -> int:
    """Images that could not be answered, in all finished shards, whenever they were done."""
    found = 0
    for _, shard in shards:
        with Path(shard.csv).open(newline="", encoding="utf-8") as stream:
            found += sum(bool(row["error"]) for row in csv.DictReader(stream))
    return found


def join(shards: Sequence[tuple[str, Shard]], csv: Path) -> None:
    """All shards as one table, then without the shards."""
    with files.stage_file(csv) as aside, aside.open("wb") as stream:
        for number, (_, shard) in enumerate(shards):
            with Path(shard.csv).open("rb") as source:
                if number:
                    source.readline()  # the header stands once
                shutil.copyfileobj(source, stream)
    shutil.rmtree(csv.with_name(csv.name + ".shards"), ignore_errors=True)
