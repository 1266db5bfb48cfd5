"""`lesionlab.predict`: images in, calibrated answers out. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.deployment.answers import DEFAULT_ABSTENTION, find_point
from lesionlab.deployment.batch import How, ImageResult, as_json, predict_items
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.heatmap import file_name, overlay, png
from lesionlab.deployment.inputs import Item, find_items
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.schema import BundleInfo, point_name
from lesionlab.deployment.shards import Shard, cut, do_shard, errors_in, join
from lesionlab.deployment.table import PredictionsTable, TablePlan, columns
from lesionlab.errors import BadInput
from lesionlab.experiments.engine import Cluster, Engine, run_jobs
from lesionlab.platforms import case_twins
from lesionlab.progress import SILENT, Progress


def predict(
    bundle: str | Path,
    sources: str | Path | Sequence[str | Path],
    *,
    csv: str | Path | None = None,
    operating_point: str | None = None,
    abstain: str = DEFAULT_ABSTENTION,
    heatmaps: str | Path | None = None,
    draft: bool = True,
    threads: int = 0,
    engine: Engine = "local",
    address: str | None = None,
    workers: int = 2,
    shard: int = 1000,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Classify images with a bundle.

    `sources`: image files, folders (searched through) or CSV tables with a column `path`, and
    `age`, `sex`, `site` where the model reads them (what is absent is unknown to it). With
    `csv` the answers go to that table, row by row, and a broken-off call goes on where it
    stopped; else they are in the result. `operating_point` names one of the bundle's (None: its
    first); `abstain` is "none", "ood" or "ood_or_set". `heatmaps` is a folder for one PNG an
    image: the evidence for its most likely class. `draft=False` decodes huge JPEGs in full.
    `engine="ray"` spreads shards of `shard` images over a cluster (`address`), or over `workers`
    processes here; bundle, images and `csv` must lie on a disk that all share.

    Returns `{schema_version, bundle, identity, research_only, n, errors, resumed, csv,
    predictions: [{image_id, path, error, probabilities, decision, ood, ...}]}`. Raises
    `BadInput` for a bundle or a source that cannot be used; an unreadable image is a row.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    items = find_items([Path(s) for s in given])
    predictor = Predictor(read_bundle(Path(bundle)), threads)
    predictor.self_test()
    info = predictor.info
    point = find_point(info, operating_point)
    if heatmaps is not None and "cam" not in info.outputs:
        raise BadInput(
            "this model has no heat maps", where=info.name, remedy="leave out --heatmaps"
        )
    how = How(point, abstain, draft, heatmaps is not None)
    settings = {
        "operating_point": point_name(point) if point else "",
        "abstain": abstain,
        "draft": str(draft),
    }
    if info.facts is not None:
        settings["cases"] = hashlib.sha256(repr([i.case for i in items]).encode()).hexdigest()
    if engine != "local":
        if csv is None or heatmaps is not None:
            raise BadInput("several workers write a table and no heat maps", remedy="give --csv")
        where, threads = str(Path(bundle).resolve()), max(threads, 1)
        identity = predictor.bundle.identity
        asked = tuple(settings.items())
        first = Shard(where, identity, (), "", operating_point, abstain, draft, threads, asked)
        cluster = Cluster(address, workers, threads)
        told = _in_shards(items, first, Path(csv), shard, engine, cluster, progress)
        return _answer(predictor, len(items), told["errors"], told["resumed"], csv, [])
    total, predictions, errors = len(items), [], 0
    twins = case_twins(item.image_id for item in items)
    with ExitStack() as stack:
        table = None
        if csv is not None:
            names = tuple(columns(info, point is not None))
            table = PredictionsTable(
                Path(csv), TablePlan(predictor.bundle.identity, names, settings)
            )
            items = table.left(items)
            stack.enter_context(table)
        results: Iterator[ImageResult] = predict_items(predictor, items, how)
        for result in progress(results, "predicting", len(items)):
            errors += bool(result.error)
            if heatmaps is not None:
                _write_heatmap(Path(heatmaps), result, info, twins)
            if table is not None:
                table.add(result)
            else:
                predictions.append(as_json(result))
    return _answer(predictor, total, errors, total - len(items), csv, predictions)


def _answer(
    predictor: Predictor,
    n: int,
    errors: int,
    resumed: int,
    csv: str | Path | None,
    predictions: list[dict[str, Any]],
) -> dict[str, Any]:
    info = predictor.info
    return {
        "schema_version": 1,
        "bundle": info.name,
        "identity": predictor.bundle.identity,
        "research_only": True,
        "leaky": info.leaky,
        "synthetic": info.synthetic,
        "n": n,
        "errors": errors,
        "resumed": resumed,
        "csv": None if csv is None else str(csv),
        "predictions": predictions,
    }


def _in_shards(
    items: Sequence[Item],
    first: Shard,
    csv: Path,
    size: int,
    engine: Engine,
    cluster: Cluster,
    progress: Progress,
) -> dict[str, int]:
    """All shards on a cluster; those that are there already are not done again."""
    if size < 1:
        raise BadInput(f"a shard of {size} images", where="--shard", remedy="at least 1")
    shards = cut(items, size, csv, first)
    left = [(name, s) for name, s in shards if not Path(s.csv).is_file()]
    told = {"errors": 0, "resumed": len(items) - sum(len(s.items) for _, s in left)}
    failed = []
    for outcome in run_jobs(left, do_shard, engine=engine, cluster=cluster, progress=progress):
        if outcome.result is None:
            failed.append(f"{outcome.name}: {outcome.error}")
        else:
            told["resumed"] += outcome.result["resumed"]
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(shards)} shards failed; {failed[0]}",
            where=str(csv),
            remedy="call it again: the others are kept",
        )
    told["errors"] = errors_in(shards)
    join(shards, csv)
    return told


def _write_heatmap(
    folder: Path, result: ImageResult, info: BundleInfo, twins: frozenset[str]
) -> None:
    if result.answer is None or result.pixels is None or result.cam is None:
        return
    name = result.answer.class_at_dataset_prior
    picture = overlay(result.pixels, result.cam, info.classes.index(name), info.cam_offset)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        image_id = result.item.image_id
        files.write_bytes(folder / file_name(image_id, name, image_id in twins), png(picture))
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(folder)) from None
