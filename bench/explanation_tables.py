"""Tables of docs/explanation.md from `explanations-<part>.json` of runs: nothing typed by hand.

    lesionlab explain runs/ham --masks HAM10000_segmentations.zip
    python bench/explain_speed.py --out speed.json
    python bench/explanation_tables.py runs/toy runs/ham --speed speed.json --page PAGE

PAGE is docs/explanation.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preset_runs import replace_between

from lesionlab import files
from lesionlab.run_folder import read_run

VERDICTS = {
    "passed": "passed",
    "failed": "**FAILED**",
    "unknown": "too few to say",
    "no_map": "**NO MAP**",
}
CHOSE = {
    "valid": "validation split, which chose the epoch and fitted the temperature",
    "test": "test split, which chose nothing",
}
BEGIN, END = "<!-- explanations: begin -->", "<!-- explanations: end -->"
COLUMNS = (
    ("pointing", "maximum in the lesion"),
    ("pointing_gain", "minus shuffled network"),
    ("share", "proportion of attribution in it"),
    ("insertion_gain", "insertion minus centre"),
    ("stability", "rank correlation after a shift"),
)


def main() -> None:
    """Print the tables, or put them between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--part", default="valid")
    parser.add_argument("--speed", type=Path, help="what bench/explain_speed.py wrote")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    lines = [line for folder in options.runs for line in about(folder, options.part)]
    if options.speed:
        lines += speed(files.read_json(options.speed))
    text = "\n".join(lines)
    if options.page is None:
        print(text)
    else:
        replace_between(options.page, BEGIN, END, text)


def about(folder: Path, part: str) -> Iterator[str]:
    """The heading, the methods and the parts of the picture, of one run."""
    told = files.read_json(folder / f"explanations-{part}.json")
    config = read_run(folder).config
    synthetic = " (synthetic images; nothing about patients)" if told["synthetic"] else ""
    yield f"### {config.dataset.name}, `{config.settings.name}`{synthetic}"
    yield ""
    yield (
        f"Images of the {CHOSE.get(told['part'], told['part'])}, n = {told['n']:,}: maps of "
        f"{told['explained']} images, expensive checks on {told['checks']}; masks of "
        f"{told['masks']['images']:,} images. 95 % intervals resample the groups; "
        f"{told['created'][:10]}."
    )
    yield ""
    if told["network"]["better_than_chance"] is False:
        yield (
            f"The network is no better than chance here (AUC {cell(told['network']['roc_auc'])}): "
            "its maps explain nothing, whatever passed."
        )
        yield ""
    masked = bool(told["masks"]["images"])
    yield from methods(told["study"], COLUMNS if masked else COLUMNS[3:])
    yield from parts(told["parts"])
    agreed, among = told["neighbours"], told["leave_one_out"]
    yield (
        f"Of the {agreed['k']} most similar images of other patients, a proportion of "
        f"{cell(agreed['share'])} has the same label (by chance: "
        f"{agreed['chance']:.2f}); mean over classes {cell(agreed['balanced'])} "
        f"({agreed['chance_balanced']:.2f}). Leave-one-out among {among['n']:,} training images: "
        f"{cell(among['share'])} ({among['chance']:.2f}); mean over classes "
        f"{cell(among['balanced'])} ({among['chance_balanced']:.2f})."
    )
    yield ""


def methods(rows: list[dict[str, Any]], columns: Any = COLUMNS) -> Iterator[str]:
    """One line a method or reference."""
    titles = ["method", "randomisation", *(title for _, title in columns), "ms per image"]
    yield "| " + " | ".join(titles) + " |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    for row in rows:
        cells = [row["name"], verdict(row), *(cell(row[key]) for key, _ in columns)]
        cost = row["milliseconds"]
        yield "| " + " | ".join([*cells, "" if cost is None else f"{cost:.0f}"]) + " |"
    yield ""


def verdict(row: dict[str, Any]) -> str:
    """Whether the map changes with the weights, and with the labels."""
    if row["reference"]:
        return "reference"
    word = VERDICTS[row["sanity"]["verdict"]]
    if row["constant"]:
        word += f" (constant for {row['constant']} of {row['maps']})"
    alike = row["sanity"]["parameters"].get("all")
    if alike is None:
        return word
    draws = row["sanity"]["draws"]
    weights = f"{word}: weights {cell(alike)}{spread(draws.get('all', []))}"
    if not row["class_specific"]:
        return f"{weights}; not class-specific"
    return f"{weights}, labels {cell(row['sanity']['labels'])}{spread(draws.get('labels', []))}"


def spread(means: list[float | None]) -> str:
    """The lowest and highest mean of a single draw, where there are several."""
    known = [m for m in means if m is not None]
    return f" [{min(known):.2f} to {max(known):.2f}]" if len(known) > 1 else ""


def parts(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The network's accuracy on parts of the picture."""
    if not rows:
        return
    yield "| region kept | area | balanced accuracy | prior-corrected | macro AUC |"
    yield "|---|---|---|---|---|"
    for row in rows:
        keys = ("balanced_accuracy", "balanced_accuracy_prior_corrected", "roc_auc")
        cells = " | ".join(cell(row[key]) for key in keys)
        yield f"| {row['part'].replace('_', ' ')} | {row['left']:.2f} | {cells} |"
    yield ""


def speed(told: dict[str, Any]) -> Iterator[str]:
    """Grad-CAM beside a forward and a backward pass."""
    seconds = {name: min(values) for name, values in told["seconds"].items()}
    yield "### Speed"
    yield ""
    yield (
        f"Grad-CAM of {told['images']:,} images, MobileNetV2 at 224 px, {told['threads']} "
        f"thread(s): {seconds['gradcam']:.0f} s; a forward and a backward pass of "
        f"the same: {seconds['passes']:.0f} s; ratio {told['ratio']:.2f} (goal: at most 1.5), "
        f"peak memory {told['peak_mib']:,} MiB. Fastest of {len(told['seconds']['passes'])} "
        "rounds each."
    )


def cell(measure: dict[str, Any] | None) -> str:
    """`0.91 (0.88 to 0.94)`."""
    if measure is None or measure["value"] is None:
        return "–"
    if measure["low"] is None:
        return f"{measure['value']:.2f}"
    return f"{measure['value']:.2f} ({measure['low']:.2f} to {measure['high']:.2f})"


if __name__ == "__main__":
    main()
