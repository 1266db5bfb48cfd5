from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlab.data.id_matching import match_ids, plain_id, repeated_ids

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüéñåß0123456789_- "
FOLDERS = ("", "malignant/", "images\\", "./", "/data/ISIC 2018/", "C:\\Users\\é\\bilder\\", "a/b/")
SUFFIXES = ("", ".jpg", ".JPG", ".jpeg", ".png", ".tif", ".DCM", ".webp")


def names(minimum: int) -> st.SearchStrategy[list[str]]:
    """Ids of images that stay different when the case is ignored; the letter is no number."""
    name = st.text(LETTERS, min_size=1, max_size=12).map(lambda t: f"x{t}".strip())
    return st.lists(name, min_size=minimum, max_size=12, unique_by=lambda t: t.casefold())


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """One id as some other software writes it."""
    case = draw(st.sampled_from([str, str.upper, str.title]))
    form = draw(st.sampled_from(["NFC", "NFD"]))
    folder, suffix = draw(st.sampled_from(FOLDERS)), draw(st.sampled_from(SUFFIXES))
    blank = draw(st.sampled_from(["", " "]))
    return unicodedata.normalize(form, blank + folder + case(name) + suffix + blank)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_every_spelling_of_an_id_finds_its_row(data: st.DataObject) -> None:
    ids = data.draw(names(1))
    wanted = [data.draw(spelled(name)) for name in ids]
    known = [data.draw(spelled(name)) for name in ids]
    order = data.draw(st.permutations(range(len(ids))))
    found = match_ids(wanted, [known[i] for i in order])
    assert [order[p] for p in found.places] == list(range(len(ids)))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_not_there_is_never_matched_with_another(data: st.DataObject) -> None:
    ids = data.draw(names(2))
    cut = data.draw(st.integers(1, len(ids) - 1))
    wanted = [data.draw(spelled(name)) for name in ids]
    found = match_ids(wanted, [data.draw(spelled(name)) for name in ids[:cut]])
    assert found.places.tolist() == [*range(cut), *[-1] * (len(ids) - cut)]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_two_images_of_one_loose_form_are_told_apart_or_left(data: st.DataObject) -> None:
    """Ids that differ only in case or folder: each is exact, or nobody chooses between them."""
    ids = data.draw(names(1))
    twins = [f"{folder}{name}.jpg" for name in ids for folder in ("a/", "b/")]
    exact = match_ids(twins, twins)
    assert exact.places.tolist() == list(range(len(twins)))
    assert not exact.notes()
    bare = match_ids(ids, twins)
    assert (bare.places == -1).all()
    assert set(bare.candidates) == set(ids)


@pytest.mark.parametrize(
    ("wanted", "known", "places"),
    [
        (["a", "A"], ["A", "a"], [1, 0]),  # the exact form goes first
        (["a.jpg", "A"], ["A.png", "a"], [1, 0]),  # suffix before case
        (["a", "a.jpg"], ["a"], [0, -1]),  # one row is not two images
        (["a.png"], ["a.jpg", "a.tif"], [-1]),  # two files, and neither is it
        (["b/1.jpg"], ["x/a/1.jpg", "x/b/1.jpg"], [1]),  # by the longer ending
        (["c/x1.jpg"], ["x/a/x1.jpg", "x/b/x1.jpg"], [-1]),
        (["test/x1.png"], ["train/x1.png"], [-1]),  # another split is another image
        (["left/0001.png"], ["right/0001.png"], [-1]),  # every folder has a number 1
        (["left/0001.png"], ["0001"], [0]),
        (["/kaggle/test/x1.png"], ["D:\\isic\\x1.jpg"], [0]),
        (["a", "a"], ["a"], [0, 0]),
        ([""], ["a"], [-1]),
        (["v1.2"], ["v1.3"], [-1]),  # a dot is no suffix
    ],
)
def test_places(wanted: list[str], known: list[str], places: list[int]) -> None:
    assert match_ids(wanted, known).places.tolist() == places


def test_what_was_ignored_is_counted_and_shown() -> None:
    found = match_ids(["m/A.jpg", "m/B.jpg", "c"], ["a", "B", "c"])
    assert found.notes() == (
        "1 id matched without regard to file suffix and folder ('m/B.jpg' is 'B')",
        "1 id matched without regard to file suffix and folder and upper and lower case "
        "('m/A.jpg' is 'a')",
    )
    assert found.notes(("file suffix", "folder")) == (
        "1 id matched without regard to upper and lower case ('m/A.jpg' is 'a')",
    )
    assert match_ids(["ä"], ["a\u0308"]).notes() == (
        "1 id matched without regard to Unicode form ('ä' is 'a\u0308')",
    )


def test_two_spellings_in_one_table() -> None:
    assert repeated_ids(["a.png", "b", "a"]) == ("a.png", "a")
    assert repeated_ids(["x/a", "y/a", "A"]) is None
    assert plain_id(" x\\a.JPG ") == "x/a"
