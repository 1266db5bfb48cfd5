"""DDI, Fitzpatrick17k, Derm7pt by their headers."""

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
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def test_ddi(find: Find) -> None:
    rows = "0,1,000001.png,56,True,melanoma\n1,2,000002.png,12,False,nevus\n"
    found = find("ddi", {
        "ddi_metadata.csv": ",DDI_ID,DDI_file,skin_tone,malignant,disease\n" + rows,
        "images/000001.png": picture(1), "images/000002.png": picture(2),
    })  # fmt: skip
    assert list(found.rows["label"]) == ["malignant", "benign"]
    assert list(found.rows["skin_type"]) == ["V-VI", "I-II"]


HEADER = ("md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,"
          "three_partition_label,qc,url,url_alphanum\n")  # fmt: skip
ROWS = "".join(
    f"{n:032x},{skin},1,{word},nine {n % 2},{three},,http://x/{n}.jpg,x{n}.jpg\n"
    for n, (skin, word, three) in enumerate(
        ((-1, "a", "benign"), (1, "b", "malignant"), (6, "c", "non-neoplastic"), (3, "d", "benign"))
    )
)
ATLAS = {f"images/{n:032x}.jpg": picture(n) for n in range(4)}


def test_fitzpatrick17k(find: Find) -> None:
    found = find("fitzpatrick17k", {"fitzpatrick17k.csv": HEADER + ROWS, **ATLAS})
    assert found.classes == ("benign", "malignant", "non-neoplastic")
    assert found.malignant == ("malignant",)
    assert list(found.rows["skin_type"]) == ["", "I", "VI", "III"]
    assert list(found.rows["fine_label"]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("column", ["nine_partition_label", "label"])
def test_fitzpatrick17k_by_another_column(find: Find, column: str) -> None:
    found = find("fitzpatrick17k", {"f.csv": HEADER + ROWS, **ATLAS}, label_column=column)
    assert len(found.classes) == {"nine_partition_label": 2, "label": 4}[column]


def derm7pt(indexes: str) -> dict[str, bytes | str]:
    header = (
        "case_num,diagnosis,seven_point_score,location,sex,management,clinic,derm,case_id,notes\n"
    )
    words = ("clark nevus", "melanoma (in situ)", "basal cell carcinoma", "lentigo")
    rows = "".join(f"{n + 1},{w},1,back,female,excision,NEL/C{n}.jpg,Nel/D{n}.jpg,,\n"
                   for n, w in enumerate(words))  # fmt: skip
    return {
        "release_v0/meta/meta.csv": header + rows,
        "release_v0/meta/train_indexes.csv": indexes,
        "release_v0/meta/test_indexes.csv": "indexes\n1\n",
        **{f"release_v0/images/NEL/{k}{n}.JPG": picture(n + 9 * (k == "C"))
           for n in range(4) for k in "CD"},
    }  # fmt: skip


def test_derm7pt(find: Find) -> None:
    found = find("derm7pt", derm7pt("indexes\n0\n2\n3\n"))
    assert list(found.rows["label"]) == ["NEV", "MEL", "BCC", "MISC"]
    assert found.malignant == ("BCC", "MEL")
    assert list(found.rows["official_split"]) == ["train", "test", "train", "train"]
    assert all("/D" in f for f in found.rows["file"])
    assert list(found.rows["lesion_id"]) == list("1234")
    assert any("clinical image" in n for n in found.notes)
    with pytest.raises(BadInput, match="outside 0 to 3"):
        find("derm7pt", derm7pt("indexes\n7\n"))
