"""`lesionlab.predict`: images in, calibrated answers out. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lesionlab.deployment.answers import DEFAULT_ABSTENTION, find_point
from lesionlab.deployment.batch import PredictOptions
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.inputs import find_inputs
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.shards import Shard, predict_here, predict_in_shards
from lesionlab.deployment.table import PredictionsTable, plan_table
from lesionlab.errors import BadInput
from lesionlab.experiments.engine import Cluster, Engine, run_jobs
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

    Returns `{schema_version, bundle, identity, research_only, no_operating_point (why the bundle
    decides nothing; "" where it decides), n, errors, resumed, csv,
    left_out: [{suffix, reason, files, first}] (files of the folders that are no images),
    predictions: [{image_id, path, error, probabilities, decision, ood, ...}]}`. Raises
    `BadInput` for a bundle or a source that cannot be used; an unreadable image is a row.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    inputs = find_inputs([Path(s) for s in given])
    items = inputs.items
    predictor = Predictor(read_bundle(Path(bundle)), threads)
    predictor.self_test()
    info, identity = predictor.info, predictor.bundle.identity
    point = find_point(info, operating_point)
    if heatmaps is not None and "cam" not in info.outputs:
        raise BadInput(
            "this model has no heat maps", where=info.name, remedy="leave out --heatmaps"
        )
    options = PredictOptions(point, abstain, draft, heatmaps is not None)
    plan = plan_table(info, identity, items, options)
    predictions: list[dict[str, Any]] = []
    if engine != "local":
        if csv is None or heatmaps is not None:
            raise BadInput(
                "workers write a table and no heat maps",
                remedy="give --csv and leave out --heatmaps",
            )
        each = Shard(str(Path(bundle).resolve()), plan, options, max(threads, 1))
        cluster = Cluster(address, workers, each.threads)
        run = partial(run_jobs, engine=engine, cluster=cluster, progress=progress)
        errors, resumed = predict_in_shards(items, each, Path(csv), shard, run)
    else:
        table = None if csv is None else PredictionsTable(Path(csv), plan)
        maps = None if heatmaps is None else Path(heatmaps)
        predictions, errors, resumed = predict_here(
            predictor, items, options, table, maps, progress
        )
    return {
        "schema_version": 1,
        "bundle": info.name,
        "identity": identity,
        "research_only": True,
        "leaky": info.leaky,
        "synthetic": info.synthetic,
        "no_operating_point": info.no_operating_point,
        "n": len(items),
        "errors": errors,
        "resumed": resumed,
        "left_out": [group.to_json() for group in inputs.left_out],
        "csv": None if csv is None else str(csv),
        "predictions": predictions,
    }
