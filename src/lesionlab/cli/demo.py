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
    "report": "the report: open it in a browser",
    "audit": "what the audit found in the data",
    "data": "the manifest: one row an image",
    "bundle": "the model card of the bundle",
    "prediction": "the answer for one image",
}


@click.command("demo", epilog=EPILOG)
@path_option("--out", default="lesionlab-demo", show_default=True, help="A new folder for it all.")
@seed_option
@json_option
def command(out: Path, seed: int, as_json: bool) -> None:
    """Draw synthetic lesions, then audit, split, train, evaluate, export and predict.

    Needs the extra 'train'. The images are drawn by a program: no figure says a thing of skin.
    """
    from lesionlab.api.demo import demo

    result = demo(out, seed=seed, progress=Bar())
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    measured = result["test"]
    n, resampled = measured["n"], measured["resampled"]
    print(f"\nOn the test part (n = {n}; intervals resample the {resampled}):")
    for name in ("roc_auc", "balanced_accuracy", "accuracy", "majority_accuracy"):
        if name in measured["metrics"]:
            print(f"  {name:<20} {_interval(measured['metrics'][name])}")
    print(f"Done in {sum(result['seconds'].values()):.0f} s. What you may want to open:")
    for key, what in OPEN.items():
        print(f"  {result['paths'][key]:<36} {what}")
    print("The images are SYNTHETIC: no figure above says anything about skin.")
    print("Research use only: not a medical device, no advice to a patient.")


def _interval(measure: dict[str, Any]) -> str:
    if measure["value"] is None:
        return "unknown"
    value = f"{measure['value']:.3f}"
    if measure["low"] is None:
        return f"{value} (too little for an interval)"
    return f"{value} (95 % interval {measure['low']:.3f} to {measure['high']:.3f})"
