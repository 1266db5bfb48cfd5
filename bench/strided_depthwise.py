"""A training stage with strided depthwise convolutions, without the quick gradient and with it.

    uv run python bench/strided_depthwise.py DATA --work FOLDER [--repeats 3]

DATA is a split data set. Each network trains all its layers at 128 px for one epoch on the same
images, by the product's own `train` (bf16 where the processor has it), in turns: without
`training.depthwise.quicken`, then with it. Prints images a second of the stage: minimum, median
and maximum over the repeats, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import time
from pathlib import Path

from lesionlab.config import Settings, parse
from lesionlab.numerics import ask_for_exact_numerics

ask_for_exact_numerics()

from lesionlab.data.manifest import Dataset, read_dataset, write_dataset  # noqa: E402
from lesionlab.training import prepared_stage  # noqa: E402
from lesionlab.training.device import choose_machine  # noqa: E402
from lesionlab.training.train import train  # noqa: E402

NETWORKS = ("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv2_100")
SIDE, IMAGES = 128, 640
QUICK = prepared_stage.quicken


def recipe(name: str) -> Settings:
    """One epoch of all layers; random weights cost the same."""
    return parse(
        Settings,
        {
            "model": {"name": name, "pretrained": False},
            "input": {"size": SIDE},
            "batch_size": 16,
            "micro_batch": 16,
            "monitor": "valid_loss",
            "stages": [{"name": "all", "epochs": 1, "augment": {"flips": "dihedral"}}],
        },
    )


def some_of(data: Path, folder: Path) -> Path:
    """A data set of at most `IMAGES` training images and a few of validation, of every class."""
    dataset = read_dataset(data)
    each = IMAGES // len(dataset.info.classes)
    rows = dataset.part("train").groupby("label").head(each)
    ids = [*rows["image_id"], *dataset.part("valid").groupby("label").head(3)["image_id"]]
    table = dataset.table[dataset.table["image_id"].isin(ids)].reset_index(drop=True)
    folder.mkdir(parents=True)
    (folder / "images").symlink_to((dataset.folder / "images").resolve())
    write_dataset(Dataset(folder, table, dataset.info))
    return folder


def speed(data: Path, name: str, quick: bool, out: Path) -> float:
    """Images a second of the stage."""
    prepared_stage.quicken = QUICK if quick else (lambda network: 0)
    shutil.rmtree(out, ignore_errors=True)
    run = train(data, recipe(name), out, machine=choose_machine())
    row = (run.folder / "history.csv").read_text(encoding="utf-8").splitlines()
    return float(dict(zip(row[0].split(","), row[1].split(","), strict=True))["images_per_second"])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    data = some_of(options.data, options.work / "data")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {choose_machine().describe()}, "
          f"n = {options.repeats}, {time.strftime('%Y-%m-%d')}")  # fmt: skip
    print("| network | without: images/s | with: images/s | ratio of medians |")
    print("|---|---|---|---|")
    for name in NETWORKS:
        found: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.repeats):
            for quick in (False, True):
                found[quick].append(speed(data, name, quick, options.work / "run"))
        told = [
            f"{statistics.median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in found.values()
        ]
        ratio = statistics.median(found[True]) / statistics.median(found[False])
        print(f"| {name} | {' | '.join(told)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
