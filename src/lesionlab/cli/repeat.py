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
@click.option(
    "--preset", multiple=True, required=True, help="A preset; repeatable, several are compared."
)
@path_option("--out", required=True, help="Output folder; an existing one is resumed.")
@click.option(
    "--folds", type=click.IntRange(2), default=5, show_default=True, help="Number of folds."
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True,
              help="Number of seeds, from 0.")  # fmt: skip
@click.option(
    "--by", default="", metavar="COLUMN", help="Make each value of this column a fold, e.g. source."
)
@click.option(
    "--valid",
    type=float,
    default=0.15,
    show_default=True,
    help="Validation proportion of the remaining folds.",
)
@click.option(
    "--weights",
    metavar="FILE|FOLDER|auto",
    help="Backbone weights; auto, the preset's default: a package, a cache folder or the hub.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable."
)
@click.option("--epochs", type=click.IntRange(1), help="Maximum number of epochs per stage.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="Processor threads of a run; 0: all cores."
)
@click.option("--skip-train", "train_part", flag_value=False, default=True, type=bool,
              help="Do not predict the training split.")  # fmt: skip
@click.option(
    "--allow-leak", is_flag=True, help="Make folds by image, as tutorials do; marked LEAKY."
)
@click.option(
    "--balance", type=click.Choice(("", "class", "full")), default="",
    help="Equal numbers of benign and malignant training rows; full: also per abnormality.",
)  # fmt: skip
@click.option("--open-test", is_flag=True, help="Predict the sealed test set at the end, once.")
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True,
              help="Run here, or on a Ray cluster.")  # fmt: skip
@click.option("--address", help="Address of a Ray cluster; without it, a local one is started.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, help="Workers of a local Ray cluster."
)
@json_option
def command(dataset: Path, preset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Train PRESET on each fold of DATASET for each seed; report every run, mean and SD.

    The test split is not folded and stays sealed. Finished runs are kept. Call the command again
    to continue, or to retry a run that failed.
    """
    from lesionlab.api.repeat import repeat

    result = repeat(dataset, preset, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    from lesionlab.experiments.run_summary import mean_sd

    for told in result["presets"]:
        if told["leaky"]:
            print("LEAKY: groups cross the folds; these numbers are too optimistic to be reported")
        print(f"{told['name']}: {told['folds']} folds, seeds {told['seeds']}, {told['out']}")
        for part, metrics in {**told["parts"], "test": told.get("test", {})}.items():
            cells = [f"{n} {mean_sd(metrics[n])}" for n in SHOWN if n in metrics]
            if cells:
                print(f"  {part:<6} " + ", ".join(cells))
        for name, error in told["failed"].items():
            print(f"  FAILED {name}: {error}")
        if told["retried"]:
            print(f"  retried: {', '.join(told['retried'])}")
    print("mean (SD over runs); table.csv, table.md, chart.svg and repeat.json are in OUT")
    for pair, metrics in result["differences"].items():
        for name in (n for n in SHOWN if n in metrics):
            m = metrics[name]
            print(f"{pair}: {name} {m['value']:+.3f} ({m['low']:+.3f} to {m['high']:+.3f})")
