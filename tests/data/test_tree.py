"""What a tree says of its files, and how often it looks at them."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from lesionlab.data.tree import Entry, Tree
from lesionlab.errors import BadInput

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
DICOM = bytes(128) + b"DICM" + bytes(32)


class Files:
    """A tree of named bytes that counts how often each file is read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.reads: Counter[str] = Counter()
        self.heads: Counter[str] = Counter()
        entries = {
            name: Entry(len(data), partial(self.read, name, data), partial(self.head, name, data))
            for name, data in sorted(files.items())
        }
        self.tree = Tree("there", entries)

    def read(self, name: str, data: bytes) -> bytes:
        self.reads[name] += 1
        return data

    def head(self, name: str, data: bytes) -> bytes:
        self.heads[name] += 1
        return data[:4096]


def test_a_file_is_looked_at_once_however_often_it_is_asked_about() -> None:
    files = Files({"a": PNG, "b": DICOM, "c": b"x,y\n1,2\n"})
    for _ in range(3):
        assert files.tree.images == ("a",)
        assert files.tree.dicoms == ("b",)
        assert files.tree.pictures == ("a", "b")
        assert not files.tree.headers  # two columns are no table without a suffix
    assert max(files.heads.values()) == 1


def test_pictures_without_a_suffix_are_not_read_to_see_whether_they_are_tables() -> None:
    """A folder of DICOM files that are named by UID may hold gigabytes."""
    files = Files({"1.2.3/4": DICOM, "scan": PNG, "table": b"id,x,y\n1,2,3\n"})
    assert files.tree.headers == {"table": ("id", "x", "y")}
    assert dict(files.reads) == {"table": 1}


def test_a_dicom_beside_an_image_of_its_name_is_that_image() -> None:
    files = Files({"a.png": PNG, "a.dcm": DICOM, "b.dcm": DICOM, "DICOMDIR": DICOM})
    assert files.tree.pictures == ("a.png", "b.dcm")


def test_json_is_parsed_once_and_being_looked_at_is_not_being_taken() -> None:
    files = Files({
        "coco.json": b'{"images": [], "annotations": [], "categories": []}',
        "list.json": b"[1]", "broken.json": b"{", "other.json": b'{"x": 1}',
    })  # fmt: skip
    for _ in range(2):
        assert files.tree.with_keys("images", "categories") == ["coco.json"]
        assert files.tree.with_keys("x") == ["other.json"]
    assert set(files.reads.values()) == {1}
    assert not files.tree.was_read


def test_what_was_read_is_known_and_what_is_absent_is_refused() -> None:
    files = Files({"a.png": PNG})
    assert files.tree.read("a.png") == PNG
    assert files.tree.was_read == {"a.png"}
    with pytest.raises(BadInput, match=r"no file 'b\.png'"):
        files.tree.read("b.png")


def test_names_by_pattern_suffix_and_columns() -> None:
    files = Files({"x/T.CSV": b"id,label\n", "~$t.xlsx": b"", "y/_classes.csv": b"f,a,b\n"})
    assert files.tree.tables == ["x/T.CSV", "y/_classes.csv"]
    assert files.tree.named(r"_classes\.csv") == ["y/_classes.csv"]
    assert files.tree.with_columns("label") == ["x/T.CSV"]
