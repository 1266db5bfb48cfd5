from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from helpers import pictures
from lesionlab.data.duplicates import DuplicatePair, near_duplicates, to_json
from lesionlab.data.duplicates.align import ORIENTATIONS, oriented
from lesionlab.data.duplicates.candidates import LEAF, leaves, nominate
from lesionlab.data.duplicates.describe import descriptors, thumbnail
from lesionlab.data.images import UnreadableImage
from lesionlab.data.manifest import with_table
from lesionlab.progress import Silent

cropped, encoded, lightened = pictures.cropped, pictures.encoded, pictures.lightened
resized, skin, turned, write_set = (
    pictures.resized,
    pictures.skin,
    pictures.turned,
    pictures.write_set,
)

Pair = frozenset[str]


def found(pairs: list[DuplicatePair], *kinds: str) -> set[Pair]:
    return {frozenset((p.a, p.b)) for p in pairs if not kinds or p.kind in kinds}


@pytest.fixture(scope="module")
def crowd() -> dict[str, Image.Image]:
    """Forty pictures of forty lesions."""
    return {f"i{n:02d}": skin(n) for n in range(40)}


def test_different_lesions_are_no_duplicates(crowd: dict[str, Image.Image]) -> None:
    assert near_duplicates(crowd) == []


@pytest.mark.parametrize("orientation", range(8))
def test_a_turned_copy_is_found_with_its_orientation(
    orientation: int, crowd: dict[str, Image.Image]
) -> None:
    copy = turned(cropped(crowd["i07"], 0.03), orientation)
    pairs = near_duplicates({**crowd, "copy": copy})
    assert [(p.a, p.b, p.kind) for p in pairs] == [("i07", "copy", "near")]
    assert pairs[0].orientation == orientation
    square = np.arange(16, dtype=np.float32).reshape(4, 4)
    turns = turned(Image.fromarray(square.astype(np.uint8)), orientation)
    assert (oriented(square, orientation) == np.asarray(turns)).all()


CHANGES: dict[str, Callable[[Image.Image], Image.Image | bytes]] = {
    "cropped at the top left": lambda i: cropped(i, 0.05, 3),
    "cropped at the bottom right": lambda i: cropped(i, 0.05, 0),
    "halved": lambda i: resized(i, 0.5),
    "doubled": lambda i: resized(i, 2.0),
    "darkened": lambda i: lightened(i, 0.9),
    "lightened": lambda i: lightened(i, 1.1),
    "re-encoded": lambda i: encoded(i, "JPEG", quality=40),
    "squashed": lambda i: i.resize((120, 120)),
    "all at once": lambda i: encoded(
        lightened(resized(turned(cropped(i, 0.05, 1), 5), 0.6), 1.1), "JPEG", quality=40
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(
    change: str, crowd: dict[str, Image.Image]
) -> None:
    copies = {f"copy {n}": CHANGES[change](crowd[n]) for n in ("i03", "i21", "i33")}
    pairs = near_duplicates({**crowd, **copies})
    assert found(pairs) == {frozenset((n.removeprefix("copy "), n)) for n in copies}
    assert {p.kind for p in pairs} == {"near"}
    assert all(0.5 < p.correlation <= 1 for p in pairs)


def test_exact_copies_are_told_from_near_ones(crowd: dict[str, Image.Image]) -> None:
    image = crowd["i05"]
    png, bmp = encoded(image), encoded(image, "BMP")
    pairs = near_duplicates({"png": png, "other": encoded(crowd["i06"]), "again": png, "bmp": bmp})
    assert [(p.a, p.b, p.kind, p.correlation) for p in pairs] == [
        ("png", "again", "bytes", 1.0),
        ("png", "bmp", "pixels", 1.0),
    ]


@pytest.mark.parametrize("orientation", range(1, 8))
def test_a_turned_copy_to_the_pixel_needs_no_detail(
    orientation: int, crowd: dict[str, Image.Image]
) -> None:
    """Augmenting before splitting leaves these, of blank patches too."""
    flat = np.full((48, 48, 3), 240, np.uint8)
    flat[:5, :9] = 238
    other = np.full((48, 48, 3), 240, np.uint8)
    other[20:25, 20:29] = 238  # as often the same values, elsewhere
    patch = Image.fromarray(flat)
    some = {"patch": patch, "other": Image.fromarray(other), "twin": turned(patch, orientation)}
    pairs = near_duplicates(some)
    assert [(p.a, p.b, p.kind, p.orientation) for p in pairs] == [
        ("patch", "twin", "pixels", orientation)
    ]
    twin = {"twin": turned(crowd["i03"], orientation)}
    pairs = near_duplicates(crowd, twin)
    assert [(p.a, p.b, p.kind, p.orientation) for p in pairs] == [
        ("i03", "twin", "pixels", orientation)
    ]


def test_a_rim_alone_makes_no_duplicate() -> None:
    """Two dark spots of one shape on other skin: what a hash of coarse features confuses."""
    y, x = np.indices((128, 128))
    spot = gaussian_filter((np.hypot(y - 60, 1.3 * (x - 66)) < 25).astype(float), 1.5)
    spots = []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        pores = gaussian_filter(draw.normal(size=(128, 128)), 1.2) * 20
        spots.append((200 - 150 * spot + pores).clip(0, 255).astype(np.uint8))
    assert near_duplicates(spots) == []


def barred(image: Image.Image, bar: int = 45) -> Image.Image:
    """A scanned slide: black to the left and right of it."""
    array = np.asarray(image.resize((160, 160))).copy()
    array[:, :bar] = array[:, -bar + 10 :] = 3
    return Image.fromarray(array)


def test_a_black_frame_makes_no_duplicate_and_hides_none() -> None:
    slides = {f"s{n}": barred(skin(n)) for n in range(8)}
    assert near_duplicates(slides) == []
    slides["copy"] = Image.open(io.BytesIO(encoded(slides["s3"], "JPEG", quality=40)))
    assert found(near_duplicates(slides)) == {frozenset(("s3", "copy"))}


def bent(image: Image.Image, seed: int, pixels: float) -> Image.Image:
    """Skin that gave way between two photographs."""
    draw = np.random.default_rng(seed)
    array = np.asarray(image, np.float32)
    drift = [gaussian_filter(draw.normal(size=array.shape[:2]), 9) for _ in range(2)]
    drift = [d / np.abs(d).max() * pixels for d in drift]
    place = np.indices(array.shape[:2]) + drift
    planes = [map_coordinates(array[..., k], place, order=1, mode="nearest") for k in range(3)]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def test_a_second_photograph_is_no_copy(crowd: dict[str, Image.Image]) -> None:
    second = {f"again {n}": bent(crowd[n], 3, 3.0) for n in ("i01", "i02", "i08", "i09")}
    pairs = near_duplicates({**crowd, **second})
    assert found(pairs) <= {frozenset((n.removeprefix("again "), n)) for n in second}
    assert len(pairs) >= 3
    assert {p.kind for p in pairs} == {"again"}


def test_pairs_across_two_sets_only(crowd: dict[str, Image.Image]) -> None:
    files = {name: encoded(image) for name, image in crowd.items()}
    one = {n: files[n] for n in list(files)[:20]}
    other = {f"x{n}": files[n] for n in list(files)[20:]}
    other["bytes"] = files["i00"]
    other["pixels"] = encoded(crowd["i01"], "BMP")
    other["turned"] = encoded(turned(crowd["i02"], 5), "JPEG", quality=60)
    one["twin of i00"] = files["i00"]  # a pair within one set is not asked for
    pairs = near_duplicates(one, other)
    assert [(p.a, p.b, p.kind, p.orientation) for p in pairs] == [
        ("i00", "bytes", "bytes", 0),
        ("twin of i00", "bytes", "bytes", 0),
        ("i01", "pixels", "pixels", 0),
        ("i02", "turned", "near", 5),
    ]


def test_the_order_of_images_does_not_matter(crowd: dict[str, Image.Image]) -> None:
    everything = {**crowd, "a": turned(crowd["i11"], 3), "b": resized(crowd["i12"], 0.7)}
    backwards = dict(reversed(list(everything.items())))
    assert found(near_duplicates(everything)) == found(near_duplicates(backwards))


def test_few_images_and_blank_ones() -> None:
    assert near_duplicates([]) == []
    assert near_duplicates([skin(1)]) == []
    assert near_duplicates([], [skin(1)]) == []
    blank = [np.full((40, 40 + n), 120 + n, np.uint8) for n in range(3)]
    assert near_duplicates(blank) == []


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    broken = encoded(skin(1), "JPEG")[:900]
    with pytest.raises(UnreadableImage, match="half"):
        near_duplicates({"whole": skin(2), "half": broken})


def test_regions_of_a_data_set_are_compared_as_regions(tmp_path: Path) -> None:
    dataset = write_set(tmp_path / "set", lesions=6)
    table = dataset.table.copy()
    table["path"] = table["path"].iloc[0]  # all rows on one film
    table[["roi_size"]] = 60.0
    table["roi_x"] = 40.0 + 11 * np.arange(len(table))
    table["roi_y"] = 60.0
    table.loc[table.index[-1], "roi_x"] = 40.0  # the last row repeats the first
    pairs = near_duplicates(with_table(dataset, table))
    exact = [p for p in pairs if p.kind != "near"]
    assert [(p.a, p.b, p.kind) for p in exact] == [("I000a", "I005a", "pixels")]


def test_descriptors_do_not_know_turns(crowd: dict[str, Image.Image]) -> None:
    stack = np.stack([thumbnail(turned(crowd["i04"], o).resize((64, 64))) for o in range(8)])
    plain = np.stack([np.asarray(Image.fromarray(stack[0]))] * 8)
    for orientation in range(8):
        plane = [oriented(stack[0][..., k], orientation) for k in range(3)]  # type: ignore[arg-type]
        plain[orientation] = np.stack(plane, -1)
    each = descriptors(plain)
    assert np.abs(each - each[0]).max() < 1e-3
    assert np.abs(each[0] - descriptors(np.stack([thumbnail(crowd["i05"])]))[0]).max() > 0.5


def cloud(n: int, twins: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(n, 77)) * np.linspace(3, 0.2, 77)
    near = points[:twins] + draw.normal(size=(twins, 77)) * 0.05
    return np.concatenate([points, near]).astype(np.float32)


def test_nomination_finds_near_points_among_many() -> None:
    pairs = nominate(cloud(6000, 300))
    named = set(map(tuple, pairs.tolist()))
    hits = sum((k, 6000 + k) in named for k in range(300))
    assert hits >= 297
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(named) == len(pairs) < 6 * 6300


def test_nomination_across_two_sets_stays_across() -> None:
    pairs = nominate(cloud(3000, 100), first=3000)
    assert (pairs[:, 0] < 3000).all()
    assert (pairs[:, 1] >= 3000).all()
    assert set(map(tuple, pairs.tolist())) >= {(k, 3000 + k) for k in range(97)}


def test_a_tree_deals_all_rows_into_leaves_of_one_size() -> None:
    rows = leaves(cloud(3000, 1)[:, :16], np.random.default_rng(0))
    assert set(rows.ravel().tolist()) == set(range(3001))
    assert LEAF / 2 <= rows.shape[1] <= LEAF
    assert rows.size - 3001 < len(rows)


def test_progress_is_told() -> None:
    class Listening(Silent):
        heard: list[str] = []  # noqa: RUF012

        def __call__(self, items, description, total=None):  # type: ignore[no-untyped-def]
            self.heard.append(description)
            return iter(items)

    near_duplicates([skin(1), skin(2)], progress=Listening())
    assert Listening.heard[:2] == ["looking at images", "finding candidate duplicates"]


def test_the_file_that_split_takes() -> None:
    pair = DuplicatePair("a", "b", 5, 0.9, "near")
    content = to_json([pair])
    assert content["schema_version"] == 1
    entry = {"a": "a", "b": "b", "kind": "near", "correlation": 0.9}
    assert content["pairs"] == [{**entry, "orientation": ORIENTATIONS[5]}]


@pytest.mark.real
def test_known_pairs_of_ham10000(shared: Path) -> None:
    """Its two byte-identical pairs, and pictures under two lesion ids, among strangers."""
    import zipfile

    twice = [("0029861", "0024366"), ("0029938", "0024777")]
    near = [("0030074", "0025226"), ("0025387", "0029880"), ("0027027", "0029036")]
    wanted = set(itertools.chain(*twice, *near))
    with zipfile.ZipFile(shared / "data" / "ham10000.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".jpg")]
        strangers = {n[-11:-4] for n in names[::97]}
        files = {n[-11:-4]: archive.read(n) for n in names if n[-11:-4] in wanted | strangers}
    pairs = near_duplicates(files)
    assert found(pairs, "bytes") == {frozenset(p) for p in twice}
    assert found(pairs, "near") >= {frozenset(p) for p in near}
