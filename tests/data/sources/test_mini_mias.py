from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import wilcoxon

from lesionlab.data.archive import open_tree
from lesionlab.data.importing import import_source
from lesionlab.data.regions import otsu
from lesionlab.data.sources import mini_mias
from lesionlab.data.sources.base import Found, checked_options
from lesionlab.data.sources.table import recognised
from lesionlab.errors import BadInput

INFO = """Free text before the table.
mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM 
mdb004 D NORM
mdb144 F MISC B 233 994 29
mdb144 F MISC M 313 540 27
mdb059 F CIRC B
mdb216 D CALC M *NOTE 3* 
mdb233 G CALC M *NOTE 3*
NOTES free text mdb999 after it
"""  # noqa: W291
FILMS = (1, 2, 3, 4, 59, 144, 216, 233)


def film(seed: int) -> Image.Image:
    """A dark film with a bright breast in its left half."""
    pixels = np.random.default_rng(seed).integers(0, 20, (1024, 1024)).astype(np.uint8)
    pixels[200:900, 100:500] += 150
    return Image.fromarray(pixels)


def distribution(root: Path, suffix: str = "pgm") -> Path:
    root.mkdir()
    (root / "Info.txt").write_text(INFO)
    for n in FILMS:
        film(n).save(root / f"mdb{n:03d}.{suffix}")
    return root


def found(root: Path, **options: object) -> Found:
    with open_tree(root) as tree:
        assert recognised(tree)[0].name == "mini-mias"
        return mini_mias.find(tree, checked_options(mini_mias.SOURCE, options))


def test_rows_of_the_table_between_free_text() -> None:
    table, notes = mini_mias.parse(INFO)
    assert len(table) == 9
    assert table["x"].notna().sum() == 4
    assert list(table["label"][2:4]) == ["normal", "normal"]
    assert notes == ["9 rows of Info.txt parsed, of 8 films"]
    with pytest.raises(BadInput, match=r"Info\.txt: no rows"):
        mini_mias.parse("nothing")


@pytest.mark.parametrize("suffix", ["pgm", "png"])
def test_regions_patients_and_dropped_rows(tmp_path: Path, suffix: str) -> None:
    seen = found(distribution(tmp_path / "d", suffix))
    rows = seen.rows.set_index("image_id")
    assert tuple(rows.loc["mdb001", ["roi_x", "roi_y", "roi_size"]]) == (535, 1024 - 425, 96)
    assert list(rows.loc[["mdb144", "mdb144-2"], "label"]) == ["benign", "malignant"]
    assert rows.loc["mdb144", "file"] == rows.loc["mdb144-2", "file"]
    assert rows.loc["mdb001", "patient_id"] == rows.loc["mdb002", "patient_id"] == "MIAS_001"
    assert rows.loc["mdb003", "patient_id"] == rows.loc["mdb004", "patient_id"] == "MIAS_002"
    assert (rows.loc["mdb001", "side"], rows.loc["mdb002", "side"]) == ("right", "left")
    assert sorted(r.path for r in seen.rejected) == ["mdb059", "mdb216", "mdb233"]
    assert seen.classes == ("benign", "malignant", "normal")


def test_normal_patches_lie_inside_the_breast_or_near_the_centre(tmp_path: Path) -> None:
    root = distribution(tmp_path / "d")
    inside = found(root).rows.set_index("image_id")
    for name in ("mdb003", "mdb004"):
        assert 100 <= inside.loc[name, "roi_x"] <= 500
        assert 200 <= inside.loc[name, "roi_y"] <= 900
    centre = found(root, normals="centre").rows.set_index("image_id")
    assert 500 <= centre.loc["mdb003", "roi_x"] <= 512
    assert "normal" not in set(found(root, normals="none").rows["label"])
    again = found(root).rows.set_index("image_id")
    assert again.loc["mdb003", "roi_x"] == inside.loc["mdb003", "roi_x"]
    other = found(root, seed=1).rows.set_index("image_id")
    assert other.loc["mdb003", "roi_x"] != inside.loc["mdb003", "roi_x"]


def test_the_radius_sets_the_field_of_view_on_request(tmp_path: Path) -> None:
    rows = found(distribution(tmp_path / "d"), roi="radius").rows.set_index("image_id")
    assert rows.loc["mdb001", "roi_size"] == 2 * 197
    assert rows.loc["mdb003", "roi_size"] in {2 * r for r in (197, 69, 29, 27)}


def test_kinds_can_be_chosen(tmp_path: Path) -> None:
    root = distribution(tmp_path / "d")
    assert set(found(root, abnormality="mass").rows["abnormality"]) == {"CIRC", "MISC"}


@pytest.mark.parametrize(
    "options", [{"roi": "x"}, {"normals": "x"}, {"abnormality": "x"}, {"protocol": "x"},
                {"roi_size": 4}]
)  # fmt: skip
def test_unknown_options_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        found(distribution(tmp_path / "d"), **options)


def test_the_tutorials_patches_are_twelve_a_film(tmp_path: Path) -> None:
    seen = found(distribution(tmp_path / "d"), protocol="tutorial")
    rows = seen.rows
    # One row a film; mdb059 is treated as a normal one, the films with a note are dropped.
    assert rows["film"].nunique() == 6
    assert len(rows) == 6 * 12
    first = rows[rows["film"] == "mdb001"]
    patches = [np.asarray(Image.open(io.BytesIO(seen.read(f)))) for f in first["file"]]
    assert {p.shape for p in patches} == {(48, 48)}
    assert len({p.tobytes() for p in patches}) == 8
    assert any("radius field of view" in n for n in seen.notes)


def test_films_in_two_formats_are_one_where_the_pixels_agree(tmp_path: Path) -> None:
    root = distribution(tmp_path / "d")
    film(1).save(root / "mdb001.png")
    assert len(found(root).rows) == 6
    film(99).save(root / "mdb001.png")
    with pytest.raises(BadInput, match="different files for one image"):
        found(root)


def test_a_film_that_is_missing_is_named(tmp_path: Path) -> None:
    root = distribution(tmp_path / "d")
    (root / "mdb002.pgm").unlink()
    assert ("mdb002", "its film is missing") in [(r.path, r.reason) for r in found(root).rejected]


@pytest.mark.real
@pytest.mark.slow
def test_the_real_films_have_the_known_counts(shared: Path, tmp_path: Path) -> None:
    dataset = import_source(None, shared / "data" / "mini-mias.zip", tmp_path / "out")
    assert dataset.info.source == "mini-mias"
    counts = dataset.info.counts
    assert counts["classes"] == {"benign": 68, "malignant": 51, "normal": 207}
    assert (counts["images"], counts["patients"], counts["rows"]) == (318, 161, 326)
    assert len(counts["rejected"]) == 4
    lesions = dataset.table[dataset.table["label"] != "normal"]
    assert lesions["path"].nunique() == 111
    assert any(
        n.startswith("330 rows of Info.txt parsed, of 322 films") for n in dataset.info.notes
    )


def window(pixels: np.ndarray, x: float, y: int, half: int) -> np.ndarray:
    return pixels[max(0, y - half) : y + half, max(0, int(x) - half) : int(x) + half]


@pytest.mark.real
@pytest.mark.slow
def test_regions_lie_in_tissue_with_this_origin_and_less_so_with_the_other(shared: Path) -> None:
    """Share of a region above the film's Otsu threshold and brightness, for both origins."""
    with open_tree(shared / "data" / "mini-mias.zip") as tree:
        rows, _ = mini_mias.parse(tree.read("Info.txt").decode("latin-1"))
        shares, means = [], []
        for row in rows[rows["x"].notna()].itertuples():
            pixels = np.asarray(Image.open(io.BytesIO(tree.read(f"all-mias/{row.film}.png"))))
            limit, centres = otsu(pixels), (int(1024 - row.y), int(row.y))
            wide = int(max(row.radius, 8))
            shares.append([(window(pixels, row.x, y, wide) > limit).mean() for y in centres])
            means.append([window(pixels, row.x, y, 16).mean() for y in centres])
    ours, other = np.array(shares).T
    assert len(ours) == 119
    assert ours.mean() > 0.94
    assert other.mean() < 0.9
    assert (ours > 0.5).sum() >= (other > 0.5).sum() + 8
    brighter, darker = np.array(means).T  # dense tissue is bright
    assert (brighter > darker).sum() > 80
    assert wilcoxon(brighter, darker, alternative="greater").pvalue < 1e-6
