"""`lesionlab.subset`: a smaller data set out of a larger one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionlab.api.split import known_pairs
from lesionlab.data.groups import united_groups
from lesionlab.data.manifest import read_dataset
from lesionlab.data.subset import Selection, subset_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress


def subset(
    folder: Path | str,
    to: Path | str,
    *,
    per_class: int | Mapping[str, int] | None = None,
    fraction: float | None = None,
    where: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    by_image: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Copy some rows of the dataset folder `folder` into the new one `to`.

    `where` keeps rows with these values (`{"sex": "female"}`). Of those, `per_class` images of
    each class (or `{"melanoma": 20, "nevus": 50}`; a class not named is left out) or the share
    `fraction` of each class are drawn. Whole groups (patient, lesion, known duplicates) are
    drawn, so that a class may have a few images less; `by_image` cuts groups, and a note says so.
    Rows keep their split; the ledger begins with the head of the parent's ledger.

    Returns `{dataset, images, rows, patients, lesions, classes, notes}`. Raises `BadInput` where
    nothing was asked for or fewer than two classes would be left.
    """
    pairs = tuple(where.items() if isinstance(where, Mapping) else where)
    wanted = Selection(
        per_class, fraction, tuple((str(c), str(v)) for c, v in pairs), by_image, seed
    )
    if per_class is None and fraction is None and not pairs:
        raise BadInput(
            "nothing is chosen", remedy="give --per-class, --fraction or --where COLUMN=VALUE"
        )
    dataset = read_dataset(Path(folder))
    groups = united_groups(
        dataset.table, known_pairs(dataset, None, False, progress)[1], len(dataset.table)
    )
    made = subset_dataset(dataset, groups, Path(to), wanted, progress)
    new = made.info.notes[len(dataset.info.notes) :]
    counts = {k: made.info.counts[k] for k in ("images", "rows", "patients", "lesions", "classes")}
    return {"schema_version": 1, "dataset": str(to), **counts, "notes": list(new)}
