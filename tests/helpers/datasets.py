"""Data sets and run folders by hand: rows without images, runs without a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lesionlab.config import Settings
from lesionlab.data.manifest import COLUMNS, NUMBER_COLUMNS, PIXEL_COLUMNS, Dataset, DatasetInfo
from lesionlab.evaluation.predictions import write_predictions
from lesionlab.models.classifier import last_linear
from lesionlab.models.tensor_files import write_tensors
from lesionlab.run_folder import BEST, Run, RunConfig, write_config
from lesionlab.training.inference import bare_network
from lesionlab.training.run_calibration import RunCalibration, predictions_of, write_calibration
from lesionlab.training.setup import Parts, open_parts, reference, write_snapshot


def row(image_id: str, split: str = "train", label: str = "nv", **cells: Any) -> dict[str, Any]:
    """One row of a manifest; its image has a content of its own."""
    return {"image_id": image_id, "split": split, "label": label, "sha256": f"#{image_id}", **cells}


def dataset(folder: Path, *rows: Mapping[str, Any], **info: Any) -> Dataset:
    """A data set of these rows in memory; cells that are not given are absent."""
    filled = [{c: r.get(c, "") for c in dict.fromkeys([*COLUMNS, *r])} for r in rows]
    table = pd.DataFrame(filled)
    for column in (*NUMBER_COLUMNS, *PIXEL_COLUMNS):
        table[column] = pd.to_numeric(table[column].replace("", None)).astype("float64")
    about = {"name": "hand", "source": "by hand", "classes": ("nv", "mel"), **info}
    return Dataset(folder, table, DatasetInfo.model_validate(about))


def written(data: Dataset) -> Path:
    """The folder of a data set, with its files."""
    data.folder.mkdir(parents=True, exist_ok=True)
    data.table.to_csv(data.folder / "manifest.csv", index=False)
    (data.folder / "dataset.json").write_text(json.dumps(data.info.model_dump(mode="json")))
    return data.folder


def begun_run(folder: Path, settings: Settings, data: Dataset, **changes: Any) -> RunConfig:
    """A run folder that holds nothing but its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = RunConfig(settings=settings, dataset=reference(data, settings.model.metadata))
    config = config.model_copy(update=changes)
    write_config(folder, config)
    return config


def lettered_parts(folder: Path, splits: str = "ttttttvvx", **info: Any) -> Parts:
    """Images a, b, c, ... of these parts (t, v and x for test), written to `folder`.

    The first of every three is of class mel, the others are of class nv; two by two they are of
    one lesion. Ages are 40, 41, ...
    """
    names = {"t": "train", "v": "valid", "x": "test"}
    rows = [
        row(
            "z" * (k // 26) + chr(97 + k % 26),
            names[split],
            "mel" if k % 3 == 0 else "nv",
            lesion_id=f"L{k // 2}",
            age=40.0 + k,
            site="back",
        )
        for k, split in enumerate(splits)
    ]
    return open_parts(written(dataset(folder, *rows, **info)))


def finished_run(
    folder: Path, settings: Settings, parts: Parts, seed: int = 0, **changes: Any
) -> Run:
    """A run of random weights with all that its end writes; its validation logits are random.

    The head's weights are a hundred times those of a start, so that images differ.
    """
    data = parts.dataset
    config = begun_run(folder, settings, data, **changes)
    write_snapshot(folder, data, settings.model.metadata)
    torch.manual_seed(seed)
    network = bare_network(config)
    with torch.no_grad():
        last_linear(network.head).weight *= 100
    write_tensors(folder / BEST, network.state_dict(), {})
    prior, train_prior = np.array([0.7, 0.3]), np.array([0.5, 0.5])
    fitted = RunCalibration(1.5, prior, train_prior, "valid", len(parts.valid), len(parts.valid))
    write_calibration(folder, data.info.classes, fitted)
    logits = np.random.default_rng(seed).normal(size=(len(parts.valid), 2)).astype(np.float32)
    run = Run(folder, config)
    write_predictions(
        run.predictions_path("valid"), predictions_of(data, parts.valid, logits, fitted)
    )
    return run
