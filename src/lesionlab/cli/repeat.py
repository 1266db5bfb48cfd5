"""`lesionlab repeat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option

SHOWN = ("balanced_accuracy_prior_corrected", "balanced_accuracy", "roc_auc", "accuracy")
EPILOG = """\b
Example:
  lesionlab repeat data/ham --preset ham10000-mobilenetv2-frozen --folds 5 --seeds 3 \\
      --out runs/repeat
"""


@click.command("repeat", epilog=EPILOG)
@path_argument("dataset")
@click.option("--preset", multiple=True, required=True, help="A recipe; several are compared.")
@path_option("--out", required=True, help="Where the runs and the table go; resumed if there.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="0 to N - 1.")
@click.option("--by", default="", metavar="COLUMN", help="Each value is a fold, e.g. source.")
@click.option("--valid", type=float, default=0.15, show_default=True, help="Share of the rest.")
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--epochs", type=click.IntRange(1), help="At most so many epochs in each stage.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Of a run; 0: all cores.")
@click.option("--no-train-part", "train_part", flag_value=False, default=True, type=bool,
              help="Do not predict the training part.")  # fmt: skip
@click.option("--allow-leak", is_flag=True, help="Deal by image, as tutorials do; marked LEAKY.")
@click.option(
    "--balance", type=click.Choice(("", "class", "full")), default="",
    help="As many benign as malignant training rows; full: of each abnormality too.",
)  # fmt: skip
@click.option("--open-test", is_flag=True, help="At last, predict the sealed test part, once.")
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True)
@click.option("--address", help="Of a Ray cluster; without it one is made here.")
@click.option("--workers", type=click.IntRange(1), default=2, help="Of a Ray made here.")
@json_option
def command(dataset: Path, preset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Train PRESET on each fold of DATASET, for each seed; every run, mean and spread.

    The test part is not folded and stays sealed. Finished runs are not repeated: call it again
    to go on, or to retry a run that crashed.
    """
    from lesionlab.api.repeat import repeat

    result = repeat(dataset, preset, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    from lesionlab.experiments.spread import mean_sd

    for told in result["presets"]:
        if told["leaky"]:
            print("LEAKY: groups cross the folds; these figures are no result")
        print(f"{told['name']}: {told['folds']} folds, seeds {told['seeds']}, {told['out']}")
        for part, metrics in {**told["parts"], "test": told.get("test", {})}.items():
            cells = [f"{n} {mean_sd(metrics[n])}" for n in SHOWN if n in metrics]
            if cells:
                print(f"  {part:<6} " + ", ".join(cells))
        for name, error in told["failed"].items():
            print(f"  FAILED {name}: {error}")
        if told["retried"]:
            print(f"  retried: {', '.join(told['retried'])}")
    print("mean (SD over runs); table.csv, table.md, chart.svg and repeat.json lie in OUT")
    for pair, metrics in result["differences"].items():
        for name in (n for n in SHOWN if n in metrics):
            m = metrics[name]
            print(f"{pair}: {name} {m['value']:+.3f} ({m['low']:+.3f} to {m['high']:+.3f})")
