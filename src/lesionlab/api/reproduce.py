"""`lesionlab.reproductions`: the page of claims, from the result files of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.errors import BadInput
from lesionlab.experiments.reproductions import NOT_MEASURED, collect, page, read_rows

MACHINE = "2 shared cores, AMX and AVX-512 BF16, shared with other work; times are upper bounds"


def reproductions(
    runs: Path | str | None, to: Path | str, *, machine: str = MACHINE
) -> dict[str, Any]:
    """Write `to` (Markdown), and `reproductions.json` beside it, from the folders below `runs`.

    `runs` holds folders of `repeat` and `train` under the names that the table asks for. What
    was collected by an earlier call stays, unless `runs` has a newer one of that name; with
    `runs=None` only the page is made again. Returns `{page, records, rows, not_measured}`.
    """
    to, rows = Path(to), read_rows()
    store = to.with_suffix(".json")
    known = files.read_json(store)["records"] if store.is_file() else {}
    if runs is not None:
        if not Path(runs).is_dir():
            raise BadInput("no such folder", where=str(runs))
        known |= collect(Path(runs), rows)
    if not known:
        raise BadInput(
            "no result was found", where=str(runs), remedy="run the commands of the table"
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(store, {"schema_version": 1, "machine": machine, "records": known})
    text = page(rows, known, machine)
    files.write_text(to, text)
    return {
        "schema_version": 1,
        "page": str(to),
        "records": sorted(known),
        "rows": len(rows["rows"]),
        "not_measured": text.count(NOT_MEASURED),
    }
