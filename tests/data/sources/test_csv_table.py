from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.sources.base import Found
from lesionlab.errors import BadInput

Find = Callable[..., Found]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


IMAGES = {f"imgs/{n}.png": picture(n) for n in range(4)}


def test_usual_names_are_recognised_and_the_rest_is_kept(find: Find) -> None:
    text = "Image Name;Diagnosis;Patient ID;Age;Gender;note\n" + "".join(
        f"{n}.png;{d};p{n};4{n},5;F;x{n}\n" for n, d in enumerate(("nevus", "melanoma") * 2)
    )
    found = find("csv", {"t.csv": text, **IMAGES})
    rows = found.rows.set_index("image_id")
    assert found.malignant == ("melanoma",)
    assert tuple(rows.loc["1", ["label", "patient_id", "age", "sex", "note"]]) == (
        "melanoma", "p1", 41.5, "female", "x1")  # fmt: skip


def test_columns_can_be_named(find: Find) -> None:
    text = "a,b,c,d\nimgs/0.png,x,P,train\n./imgs/1.png,y,P,test\n"
    found = find("csv", {"t.csv": text, **IMAGES}, auto=False, image_column="a", label_column="b",
                 patient_column="c", split_column="d", malignant="y")  # fmt: skip
    assert found.classes == ("x", "y")
    assert found.malignant == ("y",)
    assert list(found.rows["official_split"]) == ["train", "test"]
    assert any("2 images are not named" in n for n in found.notes)


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("a,b\n1,2\n", {}, "column of the images.*--image-column"),
        ("image,b\n1,2\n", {}, "column of the labels"),
        ("image,label\n1,x\n", {"label_column": "lable"}, "'lable' is missing.*'label'"),
        ("image,label\n1,x\n1,y\n", {}, "'1' is in rows that contradict"),
    ],
)
def test_what_is_unclear_is_asked(find: Find, text: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        find("csv", {"t.csv": text, **IMAGES}, auto=False, **options)


def test_labels_are_tidied(find: Find) -> None:
    text = "image,label\n0, Melanoma\n1,melanoma\n2,melanoma\n3,0.0\n"
    found = find("csv", {"t.csv": text, **IMAGES})
    assert list(found.rows["label"]) == ["melanoma", "melanoma", "melanoma", "0"]


def test_rows_without_label_or_image(find: Find) -> None:
    text = "image,label\n0.png,x\n1.png,\n2.png,NA\n9.png,y\n"
    found = find("csv", {"t.csv": text, **IMAGES})
    assert list(found.rows["label"]) == ["x"]
    assert any("2 rows without a label" in n for n in found.notes)
    assert [r.path for r in found.rejected] == ["9.png"]


def test_names_that_repeat_across_folders_are_told_apart(find: Find) -> None:
    images = {f"{c}/{n}.png": picture(n + 10 * k) for k, c in enumerate("ab") for n in (1, 2)}
    text = "path,label\n" + "".join(f"data/{p},{p[0]}\n" for p in images)
    found = find("csv", {"t.csv": text, **{f"root/data/{k}": v for k, v in images.items()}})
    assert sorted(found.rows["image_id"]) == ["data-a-1", "data-a-2", "data-b-1", "data-b-2"]
    assert all(f.split("/")[2] == lab for f, lab in found.rows[["file", "label"]].to_numpy())


def test_one_of_several_tables_is_named(find: Find) -> None:
    files = {"t.csv": "image,label\n0,x\n1,y\n", "u.csv": "image,label\n0,z\n", **IMAGES}
    with pytest.raises(BadInput, match=r"2 tables.*--table"):
        find("csv", files, auto=False)
    assert find("csv", files, auto=False, table="u.csv").classes == ("z",)
    with pytest.raises(BadInput, match=r"no table 'w\.csv'"):
        find("csv", files, auto=False, table="w.csv")


def test_an_image_is_found_however_the_table_spells_it(find: Find) -> None:
    """Suffix, case, folder, separators, Unicode: the one matcher of ids."""
    names = ["imgs/Läsion_1.png", "imgs/ISIC_2.png", "imgs/b/ISIC_3.png", "imgs/x4.png"]
    images = {name: picture(k) for k, name in enumerate(names)}
    text = "image,label\nLa\u0308sion_1,nevus\nisic_2.JPG,mel\nb\\ISIC_3,nevus\nx5,mel\n"
    found = find("csv", {"t.csv": text, **images})
    assert [f.split("imgs/")[1] for f in found.rows["file"]] == [
        "Läsion_1.png", "ISIC_2.png", "b/ISIC_3.png"
    ]  # fmt: skip
    assert [r.path for r in found.rejected] == ["x5"]
    assert any("upper and lower case ('isic_2.JPG' is" in n for n in found.notes)


def test_an_id_of_two_different_files_is_not_chosen(find: Find) -> None:
    images = {"a/1.png": picture(1), "b/1.png": picture(2), "a/2.png": picture(3)}
    text = "image,label\n1,nevus\n2,mel\n"
    with pytest.raises(BadInput, match=r"'1' of .* is .*a/1.png' or .*b/1.png'.*write the folder"):
        find("csv", {"t.csv": text, **images})
    copies = {"a/1.png": picture(1), "b/1.png": picture(1), "a/2.png": picture(3)}
    assert len(find("csv", {"t.csv": text, **copies}).rows) == 2


def table(ids: list[str], header: str = "image,label") -> str:
    return header + "\n" + "".join(f"{i},{'xy'[n % 2]}\n" for n, i in enumerate(ids))


NUMBERED = {f"imgs/{n:04d}.png": picture(n) for n in range(1, 5)}


@pytest.mark.parametrize("ids", [["1", "2", "3"], ["1.0", "2.0", "3.0"], ["0001", "2", "3"]])
def test_lost_zeros_are_found_again_and_said(find: Find, ids: list[str]) -> None:
    found = find("csv", {"t.csv": table(ids), **NUMBERED})
    assert list(found.rows["image_id"]) == ["0001", "0002", "0003"]
    assert any("without zeros in front matched" in n for n in found.notes)


def test_a_number_that_two_images_may_mean_is_not_guessed(find: Find) -> None:
    images = {**NUMBERED, "imgs/01.png": picture(9)}
    found = find("csv", {"t.csv": table(["1", "2", "3"]), **images})
    assert list(found.rows["image_id"]) == ["0002", "0003"]
    assert [r.path for r in found.rejected] == ["1"]


def test_no_row_finds_an_image(find: Find) -> None:
    with pytest.raises(
        BadInput, match=r"the first names 'q\.png', but there is 'imgs/0\.png'.*--image-column"
    ):
        find("csv", {"t.csv": table(["q.png", "r.png"]), **IMAGES})


def test_a_table_without_any_image(find: Find) -> None:
    with pytest.raises(BadInput, match="there are no images"):
        find("csv", {"t.csv": table(["q.png"])}, auto=False)


@pytest.mark.parametrize("column", ["label", "image", "image_id", "path", "file", "mask_file",
                                    "width",
                                    "sha256", "split", "dropped", "twin_group", "original_file",
                                    "skin_type", "roi_x", "phash", "source_label"])  # fmt: skip
def test_a_column_may_have_the_name_of_one_of_ours(find: Find, column: str) -> None:
    text = f"name_of_it,what,{column},tone\n" + "".join(
        f"{n}.png,{'xy'[n % 2]},old {n},3\n" for n in range(4)
    )
    found = find("csv", {"t.csv": text, **IMAGES}, auto=False, image_column="name_of_it",
                 label_column="what", skin_type_column="tone")  # fmt: skip
    assert list(found.rows["label"]) == ["x", "y", "x", "y"]
    assert list(found.rows["skin_type"]) == ["III"] * 4
    kept = found.rows[f"table_{column}" if column != "split" else "official_split"]
    assert list(kept) == ([f"old {n}" for n in range(4)] if column != "split" else [""] * 4)


def test_numbers_of_regions_and_the_source_keep_their_meaning(find: Find) -> None:
    text = "image,label,roi_x,source\n0,x,12.5,A\n1,y,,B\n"
    rows = find("csv", {"t.csv": text, **IMAGES}).rows
    assert list(rows["roi_x"]) == ["12.5", ""]
    assert list(rows["source"]) == ["A", "B"]


def test_columns_can_be_ignored(find: Find) -> None:
    text = "image,label,age,n,n\n0,x,old,1,2\n1,y,older,3,4\n"
    found = find("csv", {"t.csv": text, **IMAGES}, ignore_column="age, n")
    assert not {"age", "n", "age_as_written"} & set(found.rows)
    with pytest.raises(BadInput, match=r"'agee' is missing.*'age'"):
        find("csv", {"t.csv": text, **IMAGES}, ignore_column="agee")


def test_ages_that_are_none_do_not_end_an_import(find: Find) -> None:
    text = "image,label,age\n0,x,90+\n1,y,45\n2,x,removed\n"
    rows = find("csv", {"t.csv": text, **IMAGES}).rows
    assert [str(a) for a in rows["age"]] == ["nan", "45.0", "nan"]
    assert list(rows["age_as_written"]) == ["90+", "", "removed"]
    text = text.replace("45", "?")
    assert find("csv", {"t.csv": text, **IMAGES}).rows["age"].isna().all()
    with pytest.raises(BadInput, match="column 'age' holds no ages, but for example '90\\+'"):
        find("csv", {"t.csv": text, **IMAGES}, age_column="age")


def test_labels_are_joined_over_separators(find: Find) -> None:
    words = ("basal_cell carcinoma", "Basal-Cell  carcinoma", "basal_cell carcinoma", "nevus")
    text = "image,label\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words))
    assert find("csv", {"t.csv": text, **IMAGES}).classes == ("basal_cell carcinoma", "nevus")


def test_the_only_table_with_the_columns_is_taken(find: Find) -> None:
    files = {"t.csv": "image,label\n0,x\n1,y\n", "notes.csv": "a,b\n1,2\n", **IMAGES}
    assert find("csv", files).classes == ("x", "y")


def test_rows_without_the_name_of_an_image_are_counted(find: Find) -> None:
    found = find("csv", {"t.csv": "image,label\n0,x\n,y\n1,y\n", **IMAGES})
    assert any("1 row without the name of an image" in n for n in found.notes)
    assert not found.rejected


def test_a_workbook_holds_the_labels(find: Find) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in (["image", "diagnosis"], ["0.png", "nevus"], ["1.png", "melanoma"]):
        book.active.append(row)
    book.save(stream)
    found = find("csv", {"labels.xlsx": stream.getvalue(), "~$labels.xlsx": b"lock", **IMAGES})
    assert list(found.rows["label"]) == ["nevus", "melanoma"]


def test_one_column_for_each_class(find: Find) -> None:
    text = "image,nevus,melanoma,age\n0,1,0,50\n1,0.0,1.0,60\n2,1,0,70\n"
    found = find("csv", {"t.csv": text, **IMAGES}, auto=False)
    assert list(found.rows["label"]) == ["nevus", "melanoma", "nevus"]
    assert any("labels from the columns nevus, melanoma" in n for n in found.notes)
    with pytest.raises(BadInput, match="column of the labels"):
        find("csv", {"t.csv": text.replace("1,0,70", "1,1,70"), **IMAGES}, auto=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,label\n0,\n1,NA\n", "no row has a label; name the column with --label-column"),
        ("image,label\n1.23E+12,x\n1.24E+12,y\n", r"'1\.23E\+12' is a number.*ids as text"),
    ],
)
def test_what_is_lost_is_said(find: Find, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        find("csv", {"t.csv": text, **IMAGES})


def test_a_title_above_the_header(find: Find) -> None:
    found = find("csv", {"t.csv": "Patients of 2024,\nimage,label\n0,x\n1,y\n", **IMAGES})
    assert found.classes == ("x", "y")
    assert any("1 line above the header left out" in n for n in found.notes)
