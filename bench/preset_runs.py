"""A table of trial runs of presets, from the runs' own files: nothing in it is typed by hand.

    python bench/preset_runs.py runs/trial-* --page docs/benchmarks.md

Each row is one run folder: the command that made it (what differs from the preset, as options),
its wall clock, the steady speed of each stage and the best validation figure it was watched by.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.config import Settings
from lesionlab.experiments.presets import load_preset
from lesionlab.run_folder import SUMMARY, Run, read_history, read_run

BEGIN, END = "<!-- preset runs: begin -->", "<!-- preset runs: end -->"
QUIET = ("name", "description", "source", "expected", "schema_version")


def main() -> None:
    """Print the table, or put it between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    runs = sorted((read_run(folder) for folder in options.runs), key=lambda r: r.config.created)
    table = "\n".join([*about(runs), "", *HEAD, *(row_of(run) for run in runs)])
    if options.page is None:
        print(table)
        return
    replace_between(options.page, BEGIN, END, table)


HEAD = (
    "| preset | options | data | train / valid | wall clock, s | images/s | best, validation |",
    "|---|---|---|---|---|---|---|",
)


def about(runs: list[Run]) -> list[str]:
    """One sentence on the machine and the software."""
    first = runs[0].config
    days = sorted({run.config.created[:10] for run in runs})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    return [
        f"`lesionlab train DATA --preset NAME` with these options, on {first.device}, "
        f"{first.threads} threads, torch {first.environment.get('torch', 'unknown')}, "
        f"{when}. The machine was shared with other work: "
        "times are upper bounds. One epoch a stage says that a preset runs, not what it reaches. "
        "The last column is the best epoch by the validation split, which chose it."
    ]


def row_of(run: Run) -> str:
    """One line of the table."""
    config, settings = run.config, run.config.settings
    summary = files.read_json(run.folder / SUMMARY)
    began, ended = (datetime.fromisoformat(t) for t in (config.created, summary["finished"]))
    images = config.dataset.images
    cells = [
        f"`{settings.name}`",
        f"`{options_of(run)}`" if options_of(run) else "",
        config.dataset.name + (" (LEAKY)" if config.dataset.leaky else ""),
        f"{images.get('train', 0):,} / {images.get('valid', 0):,}",
        f"{(ended - began).total_seconds():.0f}",
        ", ".join(f"{name} {rate}" for name, rate in speeds(run).items()),
        f"{summary['monitor'].removeprefix('valid_')} {summary['best_value']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def speeds(run: Run) -> dict[str, float]:
    """Images per second of each stage: its fastest epoch. Cached stages train on features."""
    found: dict[str, float] = {}
    for row in read_history(run.folder):
        name = str(row["stage"])
        found[name] = max(found.get(name, 0.0), float(row["images_per_second"]))
    cached = {s.name for s in run.config.settings.stages if s.cached_views}
    return {f"{n} (features)" if n in cached else n: v for n, v in found.items()}


def options_of(run: Run) -> str:
    """What made this run differ from its preset, as it is written on the command line."""
    base, ours = load_preset(run.config.settings.name), run.config.settings
    words = []
    weights = run.config.weights
    if "all" in weights:
        words.append(f"--from RUN@{weights['all'].removesuffix('.safetensors')}")
    elif "sha256" in weights:
        words.append("--weights FILE")
    capped = {s.epochs for s in ours.stages}
    if len(capped) == 1 and any(a.epochs != b.epochs for a, b in both(base, ours)):
        words.append(f"--epochs {capped.pop()}")
    differs = differences(plain(base), plain(ours))
    return " ".join([*words, *(f"--set {key}={value}" for key, value in differs)])


def both(base: Settings, ours: Settings) -> list[tuple[Any, Any]]:
    """Stages side by side."""
    return list(zip(base.stages, ours.stages, strict=True))


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as nested dictionaries, without what is only for the reader, or is the cap."""
    values = {k: v for k, v in settings.model_dump(mode="json").items() if k not in QUIET}
    stages = values["stages"]
    values["stages"] = {str(n): {**s, "epochs": None} for n, s in enumerate(stages)}
    return values


def differences(
    base: dict[str, Any], ours: dict[str, Any], under: str = ""
) -> list[tuple[str, Any]]:
    """`key.sub` and the value of ours, wherever the two differ."""
    found: list[tuple[str, Any]] = []
    for key, value in ours.items():
        before = base.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            found += differences(before, value, f"{under}{key}.")
        elif value != before:
            found.append(
                (f"{under}{key}", str(value).lower() if isinstance(value, bool) else value)
            )
    return found


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between two marks of a page; they must be there."""
    whole = page.read_text(encoding="utf-8")
    before, _, rest = whole.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} has no marks {begin} ... {end}")
    files.write_text(page, f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    main()
