"""A table of finished runs from their own files: nothing in it is typed by hand.

    python bench/runs_table.py runs/a runs/b --title "Fine-tuning" \
        --images "256 px copies of centre crops" >> docs/results-ham10000.md

Reads each run's config.json, history.csv and metrics-valid.json (`lesionlab evaluate RUN`).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.run_folder import read_history, read_run

NAMES = ("balanced_accuracy_prior_corrected", "balanced_accuracy", "roc_auc", "accuracy")


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--title", required=True)
    parser.add_argument("--images", required=True, help="what they are: originals, or which copies")
    options = parser.parse_args()
    rows = [row_of(folder) for folder in options.runs]
    first = rows[0]
    print(f"\n## {options.title}\n")
    print(
        f"Preset `{first['preset']}`, data `{first['data']}`, images: {options.images}; "
        f"validation split, which chose the epoch and fitted the temperature, n = {first['n']}; "
        f"95 % intervals resample the {first['unit']} ({first['groups']} groups). "
        f"{first['machine']}.\n"
    )
    print("| seed | " + " | ".join(NAMES) + " | last stage, s | images/s |")
    print("|---|" + "---|" * (len(NAMES) + 2))
    for row in rows:
        cells = [cell(row["metrics"][name]) for name in NAMES]
        print(
            f"| {row['seed']} | " + " | ".join(cells) + f" | {row['seconds']:.0f} | {row['rate']} |"
        )
    spread = [mean_and_sd([row["metrics"][name]["value"] for row in rows]) for name in NAMES]
    print("| mean (SD) | " + " | ".join(spread) + " | | |")


def row_of(folder: Path) -> dict[str, Any]:
    """What the table needs of one run."""
    run = read_run(folder)
    metrics = files.read_json(run.metrics_path("valid"))
    history = read_history(folder)
    last = [row for row in history if row["stage"] == history[-1]["stage"]]
    settings = run.config.settings
    return {
        "seed": settings.seed,
        "preset": settings.name,
        "data": run.config.dataset.name,
        "n": metrics["n"],
        "unit": metrics["resampled"],
        "groups": metrics["groups"],
        "metrics": metrics["metrics"],
        "seconds": sum(row["seconds"] for row in last),
        "rate": max(row["images_per_second"] for row in last),
        "machine": f"{run.config.device}, {run.config.threads} threads, {run.config.precision}, "
        f"torch {run.config.environment['torch']}",
    }


def cell(measure: dict[str, Any]) -> str:
    """Value and interval."""
    if measure["low"] is None:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f} ({measure['low']:.3f} to {measure['high']:.3f})"


def mean_and_sd(values: list[float]) -> str:
    """Mean with sample standard deviation, where there are two or more."""
    spread = f" (SD {statistics.stdev(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
