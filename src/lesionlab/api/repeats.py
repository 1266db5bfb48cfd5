"""Trainings that were repeated: each is evaluated, then mean, spread and every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.evaluation.repeats import summarise
from lesionlab.run import CONFIG, read_run

SCHEMA_VERSION = 1
ALONE = ("truth", "malignant", "on", "readers", "published", "data")  # options of a single source


def repeated_runs(source: Path | str | Sequence[Path | str]) -> list[Path]:
    """The runs where several are given, or a folder that holds several; else none.

    Raises `BadInput` where one of several is no run folder.
    """
    if not isinstance(source, Path | str):
        runs = [Path(s) for s in source]
        for folder in runs:
            if len(runs) > 1 and not (folder / CONFIG).is_file():
                raise BadInput("not a run folder", where=str(folder), remedy="give runs only")
        if len({r.resolve() for r in runs}) < len(runs) or not runs:
            raise BadInput("a run is given twice" if runs else "no run is given")
        return runs if len(runs) > 1 else repeated_runs(runs[0])
    folder = Path(source)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return []
    return sorted(p.parent for p in folder.glob(f"*/{CONFIG}"))


def evaluate_repeats(
    evaluate: Callable[..., dict[str, Any]],
    runs: Sequence[Path],
    out: Path | str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluate each run; mean, SD (n - 1) and every run of each metric, written as JSON.

    `varied` names the settings in which the runs differ: the spread speaks of these alone.
    Raises `BadInput` where the runs do not solve the same task.
    """
    for name in ALONE:
        if options.get(name) not in (None, (), [], False):
            raise BadInput("cannot be used with repeats", where=f"--{name}", remedy="give one run")
    configs = [read_run(folder).config for folder in runs]
    first = configs[0].dataset
    for folder, config in zip(runs, configs, strict=True):
        d = config.dataset
        if (d.classes, d.malignant) != (first.classes, first.malignant):
            raise BadInput(
                f"its classes are {', '.join(d.classes)}; those of '{runs[0]}' differ",
                where=str(folder),
                remedy="give runs of the same task",
            )
    names = _names(runs)
    found = {n: evaluate(folder, **options) for n, folder in zip(names, runs, strict=True)}
    result = {
        "schema_version": SCHEMA_VERSION,
        "runs": {n: str(folder) for n, folder in zip(names, runs, strict=True)},
        "part": next(iter(found.values()))["part"],
        "varied": _varied([c.model_dump(mode="json") for c in configs]),
        "n": {n: r["n"] for n, r in found.items()},
        "resampled": {n: r["resampled"] for n, r in found.items()},
        "metrics": _summaries({n: r["metrics"] for n, r in found.items()}),
        "at_points": _summaries({n: _points(r) for n, r in found.items()}),
        "each": {n: r["metrics"] for n, r in found.items()},
        "reports": {n: r["report"] for n, r in found.items()},
    }
    path = (runs[0].parent if out is None else Path(out)) / f"repeats-{result['part']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, result)
    return result | {"written": str(path)}


def _names(runs: Sequence[Path]) -> list[str]:
    names = [r.resolve().name for r in runs]
    return names if len(set(names)) == len(names) else [str(r) for r in runs]


def _points(result: Mapping[str, Any]) -> dict[str, Any]:
    """Sensitivity and specificity at each run's own locked point (the first one)."""
    points = result["operating_points"][:1]
    return {k: p[k] for p in points for k in ("sensitivity", "specificity")}


def _summaries(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of every metric that all runs have a value of."""
    metrics = list(next(iter(found.values())))
    result = {}
    for metric in metrics:
        values = {run: m[metric]["value"] for run, m in found.items() if metric in m}
        if len(values) == len(found) and None not in values.values():
            result[metric] = summarise(metric, values).to_json()
    return result


def _varied(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The settings, by dotted name, in which the runs differ, with each run's value."""
    flat = [_flat(c["settings"], "") | {"data": c["dataset"]["fingerprint"][:12]} for c in configs]
    keys = list(dict.fromkeys(k for f in flat for k in f))
    values = {k: [f.get(k) for f in flat] for k in keys}
    return {k: v for k, v in values.items() if any(x != v[0] for x in v)}


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(v, f"{prefix}{k}.") for k, v in value.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix.removesuffix("."): value}
