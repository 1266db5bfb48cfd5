"""`lesionlab.show`: a look at a data set."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from lesionlab import files
from lesionlab.data.manifest import read_dataset
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.show import check_output, counts, page, samples, sheet


def show(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    per_class: int = 6,
    split: str = "",
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write samples by class and bars of the class counts as `out` (.html or .png).

    `out` is `show.html` in the data set by default; `split` takes the samples from one part.
    For regions the whole film with its circle stands beside the crop. Returns
    `{out, counts: {part: {class: n}}}`.
    """
    if not 1 <= per_class <= 100:
        raise BadInput(f"{per_class} samples per class: give a number from 1 to 100")
    path = Path(out) if out is not None else Path(folder) / "show.html"
    check_output(path.suffix)
    dataset = read_dataset(Path(folder))
    grid = samples(dataset, per_class, split, seed, progress)
    title = f"{dataset.info.name}{f', {split}' if split else ''}"
    try:
        if path.suffix.lower() == ".png":
            stream = io.BytesIO()
            sheet(dataset, grid, title).save(stream, "PNG")
            files.write_bytes(path, stream.getvalue())
        else:
            files.write_text(path, page(dataset, grid, title))
    except OSError as error:
        raise BadInput(
            f"cannot be written ({error.strerror})", where=str(path), remedy="choose another --out"
        ) from None
    table = counts(dataset)
    return {
        "schema_version": 1,
        "out": str(path),
        "counts": {str(p): {str(c): int(n) for c, n in table.loc[p].items()} for p in table.index},
    }
