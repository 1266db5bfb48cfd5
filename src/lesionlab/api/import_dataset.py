"""`lesionlab.import_dataset`: make a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionlab.data.importing import import_source
from lesionlab.data.sources.table import source_named
from lesionlab.progress import SILENT, Progress


def import_dataset(
    source: str,
    src: Path | str | None = None,
    to: Path | str = "dataset",
    *,
    max_rejected: float = 0.05,
    progress: Progress = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Import `src` (a folder or archive) as `source` (a name of the source table) into `to`.

    `options` are the source's own, e.g. `lesions=150, seed=0` for "synthetic". Returns
    `{dataset, name, images, patients, lesions, classes: {name: n}, rejected: [{path, reason}],
    malignant, licence, notes}`. Raises `BadInput` for anything that cannot be imported.
    """
    dataset = import_source(
        source_named(source),
        Path(src) if src is not None else None,
        Path(to),
        options=options,
        max_rejected=max_rejected,
        progress=progress,
    )
    return {
        "schema_version": 1,
        "dataset": str(to),
        "name": dataset.info.name,
        **dataset.info.counts,
        "malignant": list(dataset.info.malignant),
        "licence": dataset.info.licence,
        "synthetic": dataset.info.synthetic,
        "notes": list(dataset.info.notes),
    }
