"""What tests of the audit share."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from helpers import pictures
from lesionlab.data.audit import Audit, Finding
from lesionlab.data.manifest import Dataset, read_dataset


def by_key(audit: Audit) -> dict[str, Finding]:
    return {f.key: f for f in audit.findings}


def copy_of(clean: Dataset, folder: Path) -> Dataset:
    import shutil

    shutil.copytree(clean.folder, folder)
    return read_dataset(folder)


def twin_in_test(folder: Path, table: pd.DataFrame, how: str) -> pd.DataFrame:
    """A copy of a training image, under another patient and lesion, in the test part."""
    row = dict(table[table["split"] == "train"].iloc[3])
    image = Image.open(folder / str(row["path"])).convert("RGB")
    changed = {
        "bytes": lambda: (folder / str(row["path"])).read_bytes(),
        "pixels": lambda: pictures.encoded(image),
        "near": lambda: pictures.encoded(pictures.turned(image, 5), "JPEG", quality=50),
    }[how]()
    row |= {"image_id": "twin", "patient_id": "P-other", "lesion_id": "L-other", "split": "test"}
    pictures.add_file(folder, row, changed)
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)
