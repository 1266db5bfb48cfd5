"""`lesionlab ensemble`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option
from lesionlab.errors import counted

SHOWN = ("balanced_accuracy_prior_corrected", "roc_auc", "accuracy", "nll")
EPILOG = """\b
Examples:
  lesionlab ensemble runs/a runs/b --tta --out runs/mean
  lesionlab ensemble runs/repeat/a runs/repeat/b --method stack --handcrafted --out runs/stack
"""


@click.command("ensemble", epilog=EPILOG)
@path_argument("members", nargs=-1, required=True, metavar="RUN...")
@path_option("--out", required=True, help="The new run folder.")
@click.option("--method", type=click.Choice(("mean", "rank", "stack")), default="mean",
              show_default=True, help="How the predictions are combined.")  # fmt: skip
@click.option(
    "--tta", is_flag=True, help="Test-time augmentation: average over 8 flips and rotations."
)
@click.option("--handcrafted", "handmade", is_flag=True,
              help="Add a member trained on colour and lesion shape features.")  # fmt: skip
@click.option("--metadata", "facts",
              help="stack: clinical metadata to use, e.g. age,sex,site ('' for none).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Seed of the repeats to combine.")  # fmt: skip
@path_option("--data", help="The dataset folder, if it has moved.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="Processor threads; 0: all cores."
)
@json_option
def command(members: tuple[Path, ...], facts: str | None, as_json: bool, **options: Any) -> None:
    """Combine RUNs of one split, or folders of `repeat`, into an ensemble.

    The result is a run folder: evaluate, compare and export take it.
    """
    from lesionlab.api.ensemble import ensemble

    columns = None if facts is None else [c for c in facts.split(",") if c]
    result = ensemble(members, facts=columns, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    """Print the metrics of each member and of the ensemble ("together")."""
    views = f", {result['views']} views" if result["views"] > 1 else ""
    print(f"{result['ensemble']}: {result['method']} of {len(result['members'])}{views}")
    rows = {}
    for member, metrics in result["members"].items():
        # The handcrafted member predicts from features of one view; it has no augmented views.
        rows[member if member == "handmade" else member + views] = metrics
    for name, metrics in {**rows, "together": result["valid"]}.items():
        print(f"  {name:<24} " + ", ".join(_cell(n, metrics[n]) for n in SHOWN if n in metrics))
    print(
        f"on {result['held_out']} (held out), n = {result['n']}, "
        f"{counted(result['groups'], 'group')}."
    )
    for note in result["notes"]:
        print(f"note: {note}")
    print(f"next: lesionlab evaluate {result['ensemble']}")


def _cell(name: str, m: dict[str, Any]) -> str:
    if m["value"] is None:
        return f"{name} too few groups to say"
    ends = "" if m["low"] is None else f" ({m['low']:.3f} to {m['high']:.3f})"
    return f"{name} {m['value']:.3f}{ends}"
