"""`lesionlab.import_dataset`: make a dataset folder."""

from __future__ import annotations

from collections.abc import Sequence
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
    label_map: Sequence[str] = (),
    masks: Path | str | None = None,
    patient_from: str = "",
    max_rejected: float = 0.05,
    progress: Progress = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Import `src` (a folder or archive) as `source` ("auto", or a name of the table) into `to`.

    `label_map` regroups classes (`["nevus,seborrheic_keratosis=benign"]`), `masks` joins lesion
    masks by image id, `patient_from` finds patients in the paths ("folder", or a regular
    expression whose first group is the id), and `options` are the source's own, e.g.
    `lesions=150, seed=0` for "synthetic". Returns `{dataset, source, name, images, rows,
    patients, lesions, classes: {name: n}, rejected: [{path, reason}],
    left_out: [{suffix, reason, files, first}], malignant, licence, notes}`: `left_out` counts
    every file of `src` that was not taken. Raises `BadInput` for anything that cannot be imported.
    """
    dataset = import_source(
        None if source == "auto" else source_named(source),
        Path(src) if src is not None else None,
        Path(to),
        options=options,
        label_map=label_map,
        masks=Path(masks) if masks is not None else None,
        patient_from=patient_from,
        max_rejected=max_rejected,
        progress=progress,
    )
    return {
        "schema_version": 1,
        "dataset": str(to),
        "source": dataset.info.source,
        "name": dataset.info.name,
        **dataset.info.counts,
        "malignant": list(dataset.info.malignant),
        "licence": dataset.info.licence,
        "synthetic": dataset.info.synthetic,
        "notes": list(dataset.info.notes),
    }
