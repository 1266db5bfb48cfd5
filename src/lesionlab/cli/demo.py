"""`lesionlab demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_option, seed_option

EPILOG = """\b
Example:
  lesionlab demo --out lesionlab-demo --seed 0
"""
OPEN = {
    "report": "the report; open it in a browser",
    "audit": "the audit of the data",
    "data": "the manifest, one row per image",
    "bundle": "the model card of the bundle",
    "prediction": "the prediction for one image",
}


@click.command("demo", epilog=EPILOG)
@path_option(
    "--out", default="lesionlab-demo", show_default=True, help="A new folder for all output."
)
@seed_option
@json_option
def command(out: Path, seed: int, as_json: bool) -> None:
    """Draw synthetic lesions, then audit, split, train, evaluate, export and predict.

    Needs the extra 'train'. A program draws the images: the numbers say nothing about skin.
    """
    from lesionlab.api.demo import demo

    result = demo(out, seed=seed, progress=Bar())
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    measured = result["test"]
    n, resampled = measured["n"], measured["resampled"]
    print(f"\nOn the test split (n = {n}; 95 % CI, resampled by {resampled}):")
    for name in ("roc_auc", "balanced_accuracy", "accuracy", "majority_accuracy"):
        if name in measured["metrics"]:
            print(f"  {name:<20} {_interval(measured['metrics'][name])}")
    print(f"Done in {sum(result['seconds'].values()):.0f} s. Files to open:")
    for key, what in OPEN.items():
        print(f"  {result['paths'][key]:<36} {what}")
    print("The images are SYNTHETIC. The numbers above say nothing about skin.")
    print("Research use only. Not a medical device. Nothing here is advice to a patient.")


def _interval(measure: dict[str, Any]) -> str:
    if measure["value"] is None:
        return "unknown"
    value = f"{measure['value']:.3f}"
    if measure["low"] is None:
        return f"{value} (too few groups for an interval)"
    return f"{value} (95 % CI {measure['low']:.3f} to {measure['high']:.3f})"
