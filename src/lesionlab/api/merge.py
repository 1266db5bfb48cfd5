"""`lesionlab.merge`: several data sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionlab.data.manifest import read_dataset
from lesionlab.data.merge import merge_datasets, summary
from lesionlab.progress import SILENT, Progress


def merge(
    folders: Sequence[Path | str],
    to: Path | str,
    *,
    labels: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Unite dataset folders into the new folder `to`; see `lesionlab.data.merge`.

    `labels` is "auto", "same", "family" or "malignancy". Returns the counts of `import_dataset`
    and `{sources: {name: n}, united, conflicts: [image_id], images_in_several_sets}`.
    """
    datasets = [read_dataset(Path(f)) for f in folders]
    return summary(*merge_datasets(datasets, Path(to), labels=labels, progress=progress))
