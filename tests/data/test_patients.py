"""Patients from paths: offered where they are likely, taken where the user says so."""

from __future__ import annotations

import pandas as pd
import pytest

from lesionlab.data.patients import offered, with_patients
from lesionlab.data.sources.base import Found
from lesionlab.errors import BadInput


def found(files: list[str], label: int = 0, **columns: list[str]) -> Found:
    labels = [f.split("/")[label] for f in files]
    rows = pd.DataFrame({"file": files, "label": labels, **columns})
    return Found(rows, lambda name: b"", tuple(sorted(set(labels))))


SLIDES = [f"{c}/{kind}/SOB_{c[0]}_{p:03}/{zoom}X/{n}.png" for c in ("benign", "malignant")
          for kind in "ab" for p in range(4) for zoom in (40, 100) for n in range(2)]  # fmt: skip


def patients(seen: Found) -> list[str]:
    return list(seen.rows["patient_id"])


def test_the_level_of_patients_is_found_and_offered() -> None:
    seen = found(SLIDES)
    (line,) = offered(seen)
    assert "8 folders such as 'SOB_b_000' look like patients: --patient-from folder" in line
    named = with_patients(seen, "folder")
    assert patients(named) == [f.split("/")[2] for f in SLIDES]
    assert named.notes == ("patients from the folders: 8 patients such as 'SOB_b_000'",)
    assert offered(named) == []


@pytest.mark.parametrize("files", [
    [f"{c}/{n}.png" for c in ("a1", "b2") for n in range(9)],  # classes alone
    [f"{c}/{zoom}X/{n}.png" for c in "ab" for zoom in (40, 100) for n in range(9)],
    [f"train/{c}/images/ISIC_{n:05}.png" for c in "ab" for n in range(9)],
    [f"part_{n % 2}/{c}/ISIC_{n}.jpg" for c in "ab" for n in range(20)],
])  # fmt: skip
def test_other_levels_are_not_offered(files: list[str]) -> None:
    assert offered(found(files, 1 if files[0].startswith(("train", "part")) else 0)) == []


def test_file_names_that_begin_with_a_patient_are_offered() -> None:
    files = [f"{'ab'[p % 2]}/P{p:03}_{n}.jpg" for p in range(10) for n in range(3)]
    (line,) = offered(found(files))
    how = line.split('"')[1]
    assert patients(with_patients(found(files), how)) == [f.split("/")[1][:4] for f in files]


def test_an_expression_takes_its_first_group_or_all() -> None:
    files = ["a/x_P1_l.png", "b/x_P2_r.png", "b/none.png"]
    assert patients(with_patients(found(files), "x_(P[0-9])")) == ["P1", "P2", ""]
    assert patients(with_patients(found(files), "P[0-9]")) == ["P1", "P2", ""]
    assert "1 image without one" in with_patients(found(files), "P[0-9]").notes[0]


def test_patients_of_the_source_stay() -> None:
    seen = with_patients(found(["a/P1.png", "b/P2.png"], patient_id=["known", ""]), "P[0-9]")
    assert patients(seen) == ["known", "P2"]


@pytest.mark.parametrize(
    ("how", "said"),
    [("(", "no regular expression"), ("Q+", "matches no path.*'a/1.png'"),
     ("folder", "no level of folders looks like patients")],
)  # fmt: skip
def test_refusals(how: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        with_patients(found(["a/1.png", "b/2.png"]), how)


def test_folders_without_digits_can_be_meant() -> None:
    files = [f"{c}/{p}/{n}.png" for c in "ab" for p in ("ann", "bob", "cy") for n in range(2)]
    assert offered(found(files)) == []
    assert patients(with_patients(found(files), "folder")) == [f.split("/")[1] for f in files]
