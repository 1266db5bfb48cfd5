"""`lesionlab explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option, seed_option

VERDICTS = {
    "passed": "[green]passed",
    "failed": "[bold red]FAILED",
    "unknown": "[yellow]too few",
    "no_map": "[bold red]NO MAP",
}
CHANCE = {
    False: "The network is no better than chance on this split: its maps explain nothing",
    None: "Too few groups to say whether the network is better than chance on this split",
}
EPILOG = """\b
Examples:
  lesionlab explain runs/ham --masks HAM10000_segmentations.zip
  lesionlab explain runs/ham --method gradcam --method occlusion --limit 50
"""


@click.command("explain", epilog=EPILOG)
@path_argument("run", metavar="RUN")
@click.option("--split", default="valid", show_default=True, help="The split to explain.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="cam, gradcam, attention_rollout, saliency, smoothgrad, integrated_gradients or "
    "occlusion; repeatable (default: all that apply to the network).",
)
@path_option("--masks", help="Lesion masks, a folder or an archive, named by image id.")
@click.option(
    "--limit", type=click.IntRange(1), default=200, show_default=True,
    help="Images whose maps are compared with the masks.",
)  # fmt: skip
@click.option(
    "--checks", type=click.IntRange(1), default=32, show_default=True,
    help="Images used for the expensive checks (randomisation, insertion, shifts).",
)  # fmt: skip
@click.option(
    "--draws", type=click.IntRange(1), default=3, show_default=True,
    help="How many times the weights are shuffled and the labels permuted.",
)  # fmt: skip
@click.option(
    "--projection",
    default="tsne",
    show_default=True,
    help="Projection of the embedding: tsne or umap.",
)
@path_option("--data", help="The dataset folder, if it has moved.")
@path_option("--out", help="Output folder  [default: RUN]")
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="Processor threads; 0: all cores."
)
@click.option("--lang", default="en", show_default=True, help="Language of the page: en or zh.")
@seed_option
@json_option
def command(run: Path, as_json: bool, **options: Any) -> None:
    """Make attribution maps of the network of RUN, and check whether they can be trusted.

    Writes explanations-<split>.html, explanations-<split>.json and overlays as PNG beside the
    report.
    """
    from lesionlab.api.explain import explain

    result = explain(run, progress=Bar(), **options)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"Maps of {escape(result['run'])}, {result['part']}", title_justify="left")
    for name in ("method", "randomisation", "in the lesion", "insertion minus centre"):
        table.add_column(name)
    learned = result["network"]["better_than_chance"]
    for row in result["study"]:
        verdict = "reference" if row["reference"] else _verdict(row)
        if not row["reference"] and row["sanity"]["passed"] and not learned:
            verdict = "[yellow]changes"  # it passed, but there is nothing that it could show
        table.add_row(
            row["name"], verdict, *(_text(row[k]) for k in ("pointing", "insertion_gain"))
        )
    console.print(table)
    if not learned:
        console.print(f"[bold red]{CHANCE[learned]}")
    for part in result["parts"]:
        console.print(f"{part['part']}: balanced accuracy {_text(part['balanced_accuracy'])}")
    if result["leaky"]:
        console.print("[bold red]LEAKY: these numbers are too optimistic to be reported")
    if result["synthetic"]:
        console.print(
            "[yellow]SYNTHETIC: a program drew the images; the numbers say nothing about patients"
        )
    console.print("Research use only. A map is not a diagnosis.")
    console.print(f"Page: {escape(result['page'])}", soft_wrap=True)


def _verdict(row: dict[str, Any]) -> str:
    word, none = VERDICTS[row["sanity"]["verdict"]], row["constant"]
    return word + (f", constant for {none} of {row['maps']}" if none else "")


def _text(measure: dict[str, Any] | None) -> str:
    if measure is None or measure["value"] is None:
        return "–"
    interval = ""
    if measure["low"] is not None:
        interval = f" ({measure['low']:.3f} to {measure['high']:.3f})"
    return f"{measure['value']:.3f}{interval}"
