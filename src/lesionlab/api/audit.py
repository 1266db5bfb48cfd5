"""`lesionlab.audit`: what is wrong with a data set, as a page, a JSON file and a list of pairs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab import files
from lesionlab.data.audit import DROPPABLE, LOOKED_FOR, Audit, audit_dataset
from lesionlab.data.audit.twins import PAIRS
from lesionlab.data.duplicates import to_json
from lesionlab.data.manifest import Dataset, read_dataset, with_table, write_dataset
from lesionlab.errors import BadInput, nearest
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.assemble import thumbnailer
from lesionlab.reporting.audit_page import render


def audit(
    folder: Path | str,
    *,
    against: Path | str | None = None,
    drop: str = "",
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write `audit.html`, `audit.json`, `duplicates.json` and `duplicates.csv`.

    They go into the data set's folder, or into `out` where that is given. `against` is a second
    data set: what both share is reported too. `drop` is the key of a finding whose rows are then
    removed from the manifest (their files stay, and `dataset.json` lists them with the reason).

    Returns the content of `audit.json` with `html`, the page's path, and `dropped`, a count.
    Raises `BadInput` for a folder that is no data set or cannot be written, and for a `drop`
    that names no finding or one without rows to remove.
    """
    if drop and drop not in DROPPABLE:
        raise BadInput(f"no finding '{drop}' names rows to remove", remedy=nearest(drop, DROPPABLE))
    dataset = read_dataset(Path(folder))
    other = None if against is None else read_dataset(Path(against))
    found = audit_dataset(dataset, other, progress)
    removed = _rows_of(found, drop) if drop else ()
    target = dataset.folder if out is None else Path(out)
    _write(target, found, dataset, other)
    if removed:
        _remove(dataset, removed, drop)
    return {**found.to_json(), "html": str(target / "audit.html"), "dropped": len(removed)}


def _write(target: Path, found: Audit, dataset: Dataset, other: Dataset | None) -> None:
    keys = {f.key for f in found.findings}
    clean = tuple(words for key, words in LOOKED_FOR.items() if key not in keys)
    theirs = None if other is None else thumbnailer(other)
    page = render(found, thumbnailer(dataset), theirs, clean)
    pairs = found.material.pairs
    table = pd.DataFrame(
        [(p.a, p.b, p.kind, p.correlation) for p in pairs],
        columns=["image_id_1", "image_id_2", "kind", "correlation"],
    )
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    try:
        target.mkdir(parents=True, exist_ok=True)
        files.write_json(target / "duplicates.json", to_json(pairs))
        files.write_text(target / PAIRS, text.getvalue())
        files.write_json(target / "audit.json", found.to_json())
        files.write_text(target / "audit.html", page)
    except OSError as error:
        raise BadInput(
            f"cannot be written ({error.strerror})",
            where=str(target),
            remedy="give a folder with --out",
        ) from None


def _rows_of(found: Audit, key: str) -> tuple[str, ...]:
    """The rows that a finding would remove."""
    keys = {f.key: f for f in found.findings}
    if key not in keys:
        raise BadInput(f"'{key}' was not found here: there is nothing to remove")
    return keys[key].drop


def _remove(dataset: Dataset, names: tuple[str, ...], key: str) -> None:
    """Take rows out of the manifest; the list of what was left out grows by them."""
    gone = dataset.table["image_id"].isin(names)
    if gone.all():
        raise BadInput("all rows would be removed", where=str(dataset.folder))
    listed = [
        *dataset.info.counts.get("rejected", []),
        *({"path": p, "reason": f"removed by audit: {key}"} for p in dataset.table["path"][gone]),
    ]
    table = dataset.table[~gone].reset_index(drop=True)
    counts = {**dataset.info.counts, "rejected": listed}
    write_dataset(with_table(dataset, table, counts=counts))
