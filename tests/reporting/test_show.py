from __future__ import annotations

import html.parser
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.show import show
from lesionlab.api.split import split
from lesionlab.cli.main import run
from lesionlab.data.images import Roi
from lesionlab.data.manifest import read_dataset, with_table, write_dataset
from lesionlab.errors import BadInput
from lesionlab.reporting.show import BEFORE, circled, counts


class Seen(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show") / "d"
    import_dataset("synthetic", to=folder, lesions=30, seed=0)
    split(folder, test=0.3, valid=0.2, search=False)
    return folder


def test_the_page_holds_samples_and_counts_and_needs_no_network(
    lesions: Path, tmp_path: Path
) -> None:
    told = show(lesions, tmp_path / "a.html", per_class=3)
    seen = Seen()
    seen.feed((tmp_path / "a.html").read_text())
    assert seen.tags.count("img") == 6
    assert all(link.startswith("data:image/jpeg") for link in seen.links)
    assert sum(map(sum, (row.values() for row in told["counts"].values()))) == len(
        read_dataset(lesions).table
    )
    words = " ".join(seen.text)
    assert "synthetic" in words
    assert f"{told['counts']['train']['benign']}" in words


def test_names_of_classes_cannot_become_markup(lesions: Path, tmp_path: Path) -> None:
    dataset = read_dataset(lesions)
    evil = "<script>alert(1)</script>"
    table = dataset.table.assign(label=dataset.table["label"].replace("benign", evil))
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "images").symlink_to(lesions / "images")
    written = with_table(dataset, table, classes=(evil, "malignant"))
    write_dataset(type(written)(folder, written.table, written.info))
    show(folder, tmp_path / "a.html", per_class=1)
    assert "<script>" not in (tmp_path / "a.html").read_text()


def test_the_picture_has_a_row_for_each_class(lesions: Path, tmp_path: Path) -> None:
    show(lesions, tmp_path / "a.png", per_class=4, split="train")
    image = Image.open(tmp_path / "a.png")
    assert image.width >= 4 * 128
    assert image.height > 2 * 128
    assert len(set(np.asarray(image).reshape(-1, 3).sum(1))) > 50


def test_regions_show_their_film_with_a_circle(lesions: Path, tmp_path: Path) -> None:
    film = circled(Image.new("L", (1024, 1024)), Roi(300, 700, 96), 256)
    yellow = np.argwhere((np.asarray(film) == (255, 210, 0)).all(2))
    centre = yellow.mean(0)
    assert abs(centre - np.array([700, 300]) / 4).max() < 2
    both = np.asarray(circled(Image.new("L", (1024, 1024)), Roi(300, 700, 96), 160.0, 256))
    ring, square = (np.argwhere((both == c).all(2)) for c in ((255, 210, 0), (86, 180, 233)))
    assert np.ptp(ring[:, 0]) == pytest.approx(2 * 160 / 4, abs=2)
    assert np.ptp(square[:, 0]) == pytest.approx(96 / 4, abs=2)
    dataset = read_dataset(lesions)
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "images").symlink_to(lesions / "images")
    table = dataset.table.assign(roi_x=80.0, roi_y=64.0, roi_size=40.0)
    write_dataset(type(dataset)(folder, table, dataset.info))
    show(folder, tmp_path / "a.html", per_class=2)
    assert (tmp_path / "a.html").read_text().count("<img") == 8
    show(folder, tmp_path / "a.png", per_class=2)


def test_counts_tell_training_before_balancing(lesions: Path, tmp_path: Path) -> None:
    dataset = read_dataset(lesions)
    table = dataset.table.assign(dropped="")
    first = table.index[table["split"] == "train"][:3]
    table.loc[first, ["split", "dropped"]] = ["", "left out to balance (class)"]
    seen = counts(with_table(dataset, table))
    assert seen.loc[BEFORE].sum() == seen.loc["train"].sum() + 3
    assert list(counts(with_table(dataset, table.assign(split="", dropped=""))).index) == ["all"]


def test_bad_requests(lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match=r"'\.pdf'"):
        show(lesions, tmp_path / "a.pdf")
    with pytest.raises(BadInput, match="cannot be written"):
        show(lesions, tmp_path / "no" / "such" / "a.html", per_class=1)
    with pytest.raises(BadInput, match="101 samples"):
        show(lesions, per_class=101)
    with pytest.raises(BadInput, match="no images in split 'tset'"):
        show(lesions, split="tset")
    assert run(["show", str(lesions), "--out", str(tmp_path / "b.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"].endswith("b.html")
