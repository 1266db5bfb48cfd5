"""One class is refused with the level that was probably meant; what is unknown is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.api.import_dataset import import_dataset
from lesionlab.data.import_checks import patients_known, unread_ages
from lesionlab.errors import BadInput


def fill(root: Path, names: list[str]) -> Path:
    for n, name in enumerate(names):
        pixels = np.random.default_rng(n).integers(0, 255, (16, 16, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(stream.getvalue())
    return root


def refused(source: str, src: Path, to: Path, **options: str) -> str:
    with pytest.raises(BadInput, match="one class is no classification") as error:
        import_dataset(source, src, to, **options)
    assert not to.exists()
    return str(error.value)


def test_one_class_folder(tmp_path: Path) -> None:
    src = fill(tmp_path / "src", [f"melanoma/{n}.png" for n in range(4)])
    said = refused("folder", src, tmp_path / "to")
    assert "all 4 images are of one class, 'melanoma'" in said
    assert "give the folder that holds a folder for each class" in said


def test_the_folder_above_is_named_where_the_others_lie(tmp_path: Path) -> None:
    names = [f"{c}/{n}.png" for c in ("mel", "nev") for n in range(4)]
    src = fill(tmp_path / "all", [f"{n[:3]}/x{n[3:]}" for n in names])
    fill(tmp_path / "all", [f"nev/{n}.png" for n in range(3)])
    said = refused("folder", src / "mel", tmp_path / "to")
    assert f"also holds nev: lesionlab import folder {src} --to" in said
    import_dataset("folder", src, tmp_path / "to")


def test_a_deeper_level_is_named(tmp_path: Path) -> None:
    names = [f"train/images/{c}/{n}.png" for c in ("mel", "nev") for n in range(4)]
    src = fill(tmp_path / "src", names)
    if import_dataset("folder", src, tmp_path / "to")["classes"] != {"mel": 4, "nev": 4}:
        pytest.fail("the level of the classes is not found")


def test_another_column_is_named(tmp_path: Path) -> None:
    src = fill(tmp_path / "src", [f"{n}.png" for n in range(6)])
    rows = "".join(f"{n},dermoscopic,{'ab'[n % 2]},p{n}\n" for n in range(6))
    (src / "t.csv").write_text("image,label,kind,patient_id\n" + rows)
    said = refused("csv", src, tmp_path / "to")
    assert "perhaps the classes are another column: --label-column kind" in said
    found = import_dataset("csv", src, tmp_path / "to", label_column="kind")
    assert found["classes"] == {"a": 3, "b": 3}


def test_a_map_that_leaves_one_class(tmp_path: Path) -> None:
    src = fill(tmp_path / "src", [f"{c}/{n}.png" for c in "ab" for n in range(3)])
    with pytest.raises(BadInput, match="let --map leave at least two classes"):
        import_dataset("folder", src, tmp_path / "to", label_map=["a,b=c"])


def test_unknown_patients_are_said() -> None:
    rows = pd.DataFrame({"path": ["a", "b", "b"], "patient_id": ["p", "q", "q"]})
    assert patients_known(rows) == []
    assert patients_known(rows.assign(patient_id="")) == [
        "patients unknown: leakage between images of one patient cannot be excluded"
    ]
    assert "for 1 of 2 images" in patients_known(rows.assign(patient_id=["p", "", ""]))[0]


def test_unread_ages_are_counted() -> None:
    assert unread_ages(pd.DataFrame({"age": [1.0]})) == []
    rows = pd.DataFrame({"age_as_written": ["90+", "", "90+", "removed"]})
    assert unread_ages(rows) == ["3 ages counted as unknown, written as '90+', 'removed'"]
