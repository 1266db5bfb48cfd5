"""`lesionlab.join`: add a table's columns to a data set by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionlab.data.joining import join_table
from lesionlab.data.manifest import read_dataset, write_dataset
from lesionlab.errors import BadInput


def join(
    folder: Path | str,
    table: Path | str,
    *,
    on: str = "",
    prefix: str = "",
    inputs: Sequence[str] = (),
) -> dict[str, Any]:
    """Join a CSV (reader votes, lesion groupings, metadata) to a dataset folder by id.

    Returns `{matched, unmatched, filled: {column: n}, differing: {column: n}, added, split_reset,
    notes}`.
    New columns may not be model inputs unless `inputs` names them.
    """
    dataset, path = read_dataset(Path(folder)), Path(table)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None
    joined = join_table(dataset, data, str(path), on=on, prefix=prefix, inputs=inputs)
    write_dataset(joined.dataset)
    return {
        "schema_version": 1,
        "dataset": str(folder),
        "matched": joined.matched,
        "unmatched": joined.unmatched,
        "filled": joined.filled,
        "differing": joined.differing,
        "added": list(joined.added),
        "split_reset": joined.split_reset,
        "notes": list(joined.notes),
    }
