"""One preset over several lesion-grouped splits of a dataset: every run, mean and SD.

    python bench/ham10000_splits.py data/ham --preset ham10000-mobilenetv2-frozen \
        --weights mobilenetv2.safetensors --seeds 0 1 2 3 4 --out runs/splits \
        --images "256 px copies of centre crops"

Works on validation only, which also chooses the epoch: the table says so, and what the images are.
The data set is not changed: each split is made in a twin folder whose images and pixel cache are
links. Writes OUT/results.json; `--markdown FILE` adds its table there.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import lesionlab
from lesionlab.cli.common import Bar

NAMES = ("balanced_accuracy_prior_corrected", "balanced_accuracy", "roc_auc", "accuracy")


def main() -> None:
    """Run every seed that has no result yet, then write the table."""
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [one_split(options, seed) for seed in options.seeds]
    (options.out / "results.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    table = markdown(options, rows)
    print(table)
    if options.markdown:
        with options.markdown.open("a", encoding="utf-8") as stream:
            stream.write("\n" + table)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--images", required=True, help="what they are: originals, or which copies")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    return parser.parse_args()


def one_split(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Split, train, measure on validation."""
    kept = options.out / f"result-{seed}.json"
    if kept.is_file():
        row: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return row
    dataset, run = options.out / f"data-{seed}", options.out / f"run-{seed}"
    for leftover in (dataset, run):
        shutil.rmtree(leftover, ignore_errors=True)
    twin(options.dataset, dataset)
    split = lesionlab.split(dataset, test=0.2, valid=0.15, seed=seed, search=False)
    start = time.monotonic()
    result = lesionlab.train(
        dataset,
        options.preset,
        run,
        weights=options.weights,
        seed=seed,
        overrides=options.overrides,
        progress=Bar(),
    )
    row = {"seed": seed, "seconds": round(time.monotonic() - start), **result}
    row["groups_crossing"] = split["groups_crossing"]
    kept.write_text(json.dumps(row), encoding="utf-8")
    return row


def twin(dataset: Path, folder: Path) -> None:
    """A dataset folder with its own manifest and the other's images and cache."""
    folder.mkdir()
    (dataset / "cache").mkdir(exist_ok=True)
    for name in ("images", "cache"):
        (folder / name).symlink_to((dataset / name).resolve())
    for name in ("manifest.csv", "dataset.json"):
        shutil.copy(dataset / name, folder / name)


def markdown(options: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """A table: every split with its interval, then mean and SD."""
    settings = "".join(f" --set {s}" for s in options.overrides)
    seeds = " ".join(map(str, options.seeds))
    machine = f"{platform.machine()}, Python {platform.python_version()}, lesionlab "
    lines = [
        f"`bench/ham10000_splits.py --preset {options.preset}{settings} --seeds {seeds}`, "
        f"images: {options.images}; "
        "validation split, which chose the epoch and fitted the temperature, "
        f"n = {rows[0]['n']}, intervals resample the {rows[0]['resampled']}; "
        f"{machine}{lesionlab.__version__}.",
        "",
        "| seed | " + " | ".join(NAMES) + " | seconds |",
        "|---|" + "---|" * (len(NAMES) + 1),
    ]
    for row in rows:
        cells = [cell(row["valid"][name]) for name in NAMES]
        lines.append(f"| {row['seed']} | " + " | ".join(cells) + f" | {row['seconds']} |")
    values = {name: [row["valid"][name]["value"] for row in rows] for name in NAMES}
    spread = [f"{statistics.mean(v):.3f} (SD {deviation(v):.3f})" for v in values.values()]
    seconds = statistics.mean(row["seconds"] for row in rows)
    lines.append("| mean (SD) | " + " | ".join(spread) + f" | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def cell(measure: dict[str, Any]) -> str:
    """Value and interval."""
    if measure["low"] is None:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f} ({measure['low']:.3f} to {measure['high']:.3f})"


def deviation(values: list[float]) -> float:
    """Sample standard deviation; NaN of one value."""
    return statistics.stdev(values) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
