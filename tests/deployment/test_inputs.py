"""What `predict` is given becomes images with ids of their own, regions and clinical inputs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from helpers.picture_files import noise, saved
from lesionlab.data.images import Roi
from lesionlab.deployment.clinical_inputs import UNKNOWN, ClinicalInputs
from lesionlab.deployment.inputs import find_inputs
from lesionlab.errors import BadInput


def touched(folder: Path, *names: str) -> Path:
    """Empty files: nothing here is decoded."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def ids(*sources: Path) -> list[str]:
    return [item.image_id for item in find_inputs(sources).items]


def listed(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_folder_is_searched_in_order_of_name_for_images_alone(tmp_path: Path) -> None:
    touched(tmp_path, "b.PNG", "a.jpeg", "sub/c.dcm", "sub/d.DICOM", "e.txt", ".hidden.png")
    touched(tmp_path, "folder.png/f.tif")
    assert ids(tmp_path) == ["a", "b", "f", "c", "d"]


def test_every_file_of_a_folder_is_an_image_or_counted(tmp_path: Path) -> None:
    touched(tmp_path, "a.JPG", "c.jfif", "d.HEIC", "._a.JPG", ".x/b.jpg", "Thumbs.db")
    (tmp_path / "e").write_bytes(saved(noise(1)))
    (tmp_path / "scan").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    found = find_inputs([tmp_path])
    assert [item.image_id for item in found.items] == ["a", "c", "d", "e", "scan"]
    assert [(g.suffix, g.reason) for g in found.left_out] == [
        (".db", "a system's own file"), (".jpg", "a hidden file"), (".jpg", "in a hidden folder"),
        (".txt", "text"),
    ]  # fmt: skip


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        BadInput, match=r"no images; there are 1 \.gif file \(GIF: save it as PNG\)"
    ):
        find_inputs([tmp_path])


def test_sources_keep_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    touched(tmp_path, "z/b.png", "a.png", "strange.xyz")
    listing = listed(tmp_path, "path\nq.png\n")
    found = find_inputs(
        [tmp_path / "z", listing, tmp_path / "a.png", tmp_path / "strange.xyz"]
    ).items
    assert [i.image_id for i in found] == ["b", "q", "a", "strange"]
    assert found[1].path == tmp_path / "q.png"  # relative to the table; it need not be there
    assert {(i.roi, i.clinical) for i in found if i != found[1]} == {(None, UNKNOWN)}


def test_repeated_names_get_their_folder_and_the_same_file_a_number(tmp_path: Path) -> None:
    touched(tmp_path, "p/a.png", "q/a.png", "q/b.png")
    again = tmp_path / "p" / "a.png"
    assert ids(tmp_path, again, again) == ["p/a", "q/a", "b", "p/a#2", "p/a#3"]


@pytest.mark.parametrize("own", ["p/a", "p/a#2", "p/a#3"])
@pytest.mark.parametrize("first", [True, False])
def test_an_id_of_the_user_s_own_is_kept_and_never_given_again(
    tmp_path: Path, own: str, first: bool
) -> None:
    """It may look like one that is made here."""
    rows = [f"{own},p/x.png"]
    repeats = ["a,p/a.png"] * 3
    order = rows + repeats if first else repeats + rows
    found = ids(listed(tmp_path, "\n".join(["image_id,path", *order]) + "\n"))
    assert len(set(found)) == 4
    assert found[0 if first else 3] == own
    made = [name for name in found if name != own]
    wanted = [n for n in ("p/a", "p/a#2", "p/a#3", "p/a#4") if n != own][:3]
    assert made == wanted


def test_many_repeats_of_one_image_are_quick(tmp_path: Path) -> None:
    found = ids(listed(tmp_path, "path\n" + "p/a.png\n" * 20_000))
    assert found[:2] == ["p/a", "p/a#2"]
    assert (found[-1], len(set(found))) == ("p/a#20000", 20_000)


@pytest.mark.parametrize("column", ["path", "image", "file", "image_path", "filename"])
def test_each_name_of_the_column_of_paths(tmp_path: Path, column: str) -> None:
    assert ids(listed(tmp_path, f"{column}\nsub/a.b.png\n")) == ["a.b"]


def test_regions_and_clinical_inputs_of_a_table(tmp_path: Path) -> None:
    header = "image_id;path;roi_x;roi_y;roi_size;age;sex;site"
    rows = ["i1;a.png;1,5;2;8;61;F;back", "i2;b.png;1;;8;unknown;x;NA"]
    one, other = find_inputs([listed(tmp_path, "\n".join([header, *rows]) + "\n")]).items
    assert (one.roi, one.clinical) == (Roi(1.5, 2.0, 8.0), ClinicalInputs(61.0, "female", "back"))
    assert other.roi is None  # a region that is known in part is no region
    assert math.isnan(other.clinical.age)
    assert (other.clinical.sex, other.clinical.site) == (
        "x",
        "",
    )  # a strange word is kept, and said
    (alone,) = find_inputs([listed(tmp_path, "path,roi_x,roi_y\nc.png,1,2\n")]).items
    assert (alone.roi, str(alone.clinical)) == (None, str(UNKNOWN))


def test_an_impossible_age_is_named_by_its_row(tmp_path: Path) -> None:
    listing = listed(tmp_path, "path,age\na.png,50\nb.png,150\n")
    with pytest.raises(BadInput, match=r"list\.csv, row 3: age 150 is not between 0 and 130"):
        find_inputs([listing])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("name\nx\n", "column 'path' is missing"),
        ("path,roi_x,roi_y,roi_size\nx,a,1,1\n", "not a number"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(BadInput, match=match):
        find_inputs([tmp_path / "list.csv"])


def test_absent_and_empty_sources(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        find_inputs([tmp_path / "absent"])
    with pytest.raises(BadInput, match="no images"):
        find_inputs([tmp_path])


def test_a_table_without_paths_names_the_nearest_column(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'paths'"):
        find_inputs([listed(tmp_path, "paths\na.png\n")])
