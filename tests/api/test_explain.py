"""`explain` on a small synthetic run: files, checks, refusals, the ledger, the page."""

from __future__ import annotations

import html
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("captum", reason="maps need the extra 'train'")

from lesionlab.api.explain import explain
from lesionlab.api.import_dataset import import_dataset
from lesionlab.api.split import split
from lesionlab.api.train import train
from lesionlab.data import ledger
from lesionlab.data.abcd import NAMES
from lesionlab.errors import BadInput
from lesionlab.explanation import attribution, study
from lesionlab.reporting.explanations_pictures import FAILED
from lesionlab.reporting.language import language

SETTINGS = ("stages.0.epochs=1", "input.size=64")


@pytest.fixture(scope="module")
def cheaply() -> Iterator[None]:
    """Few noisy copies and coarse patches; maps of 2 x 2 places, which 64 pixels give, may point.

    What the shipped numbers do is in tests/explanation and in the last tests of this file.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "NOISY", 2)
        patch.setattr(attribution, "PATCHES", 4)
        patch.setattr(study, "MINIMUM_PLACES", 2)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and `run`, trained for one epoch: nothing is learned."""
    folder = tmp_path_factory.mktemp("explain")
    import_dataset("synthetic", None, folder / "data", lesions=60)
    split(folder / "data", test=0.2, valid=0.4, search=False)
    train(folder / "data", "demo", folder / "run", overrides=SETTINGS, threads=1)
    (folder / "run" / "report.html").write_text("<p>x</p>\n<!-- explanations -->\n")
    return folder


@pytest.fixture(scope="module")
def explained(trained: Path, cheaply: None) -> dict:
    return explain(trained / "run", limit=14, checks=12, draws=2, threads=1)


def test_every_method_has_its_numbers(explained: dict) -> None:
    rows = {r["name"]: r for r in explained["study"]}
    assert list(rows)[:2] == ["centre", "random"]
    assert set(explained["methods"]) == {
        "cam",
        "gradcam",
        "saliency",
        "smoothgrad",
        "integrated_gradients",
        "occlusion",
    }
    assert list(explained["refused"]) == ["attention_rollout"]
    assert f"refusal.{explained['refused']['attention_rollout']}" in language("zh").strings
    for name in explained["methods"]:
        row = rows[name]
        for key in ("pointing", "share", "insertion", "deletion", "stability", "pointing_gain"):
            assert row[key]["value"] is not None, (name, key)
        assert set(row["sanity"]["parameters"]) >= {"head", "all"}
        assert row["sanity"]["labels"]["n"] <= 12
        assert [len(row["sanity"]["draws"][k]) for k in ("all", "labels")] == [2, 2]
        assert row["maps"] == 14
    assert rows["centre"]["pointing"]["n"] == explained["explained"] == 14
    assert rows["integrated_gradients"]["completeness_gap"]["value"] < 0.2
    assert rows["cam"]["pointing"] == rows["gradcam"]["pointing"]
    assert rows["cam"]["places"] == rows["gradcam"]["places"] == [2, 2]


def test_a_map_of_too_few_places_does_not_point(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "MINIMUM_PLACES", 3)  # as it ships
    asked = {"limit": 3, "checks": 2, "threads": 1, "out": tmp_path}
    told = explain(trained / "run", methods=("cam", "saliency"), **asked)
    rows = {r["name"]: r for r in told["study"]}
    assert rows["cam"]["pointing"] is None
    assert rows["cam"]["share"] is not None
    assert rows["saliency"]["pointing"] is not None
    assert "enlarged from a grid of 2 x 2" in (tmp_path / "explanations-valid.html").read_text()


def test_neighbours_among_the_training_images(explained: dict, trained: Path) -> None:
    among, told = explained["leave_one_out"], explained["neighbours"]
    train = int(pd.read_csv(trained / "data" / "manifest.csv")["split"].eq("train").sum())
    assert among["n"] == among["share"]["n"] == train
    assert told["n"] == explained["n"]
    assert among["share"]["low"] < among["share"]["value"] < among["share"]["high"]
    assert explained["embedding_leaves_out"] == []
    text = html.unescape((trained / "run" / "explanations-valid.html").read_text())
    assert f"without its own patient or lesion ({train} images)" in text
    assert "of the image features just before the head of the network. Images" in text


def test_the_page_shows_the_spread_of_the_draws_and_whether_gradients_add_up(
    trained: Path, explained: dict
) -> None:
    text = (trained / "run" / "explanations-valid.html").read_text()
    row = next(r for r in explained["study"] if r["name"] == "integrated_gradients")
    low, high = sorted(row["sanity"]["draws"]["all"])
    assert f"{low:.2f} … {high:.2f} (2)" in text
    gap = row["completeness_gap"]["value"]
    assert row["complete"] is (gap <= 0.05)
    word = "complete" if row["complete"] else "NOT complete"
    assert f"{word} ({row['steps']} steps)" in text


def test_parts_of_the_picture_and_lesion_numbers(trained: Path, explained: dict) -> None:
    parts = {p["part"]: p for p in explained["parts"]}
    assert set(parts) == {"whole", "lesion_only", "border_only", "background_only"}
    assert parts["whole"]["left"] == 1
    assert 0 < parts["border_only"]["left"] < parts["background_only"]["left"] < 1
    table = pd.read_csv(trained / "run" / "abcd-valid.csv")
    assert list(table.columns) == ["image_id", *NAMES, "label"]
    assert len(table) == explained["n"]
    assert parts["whole"]["chance"] == 1 / table["label"].nunique()
    assert table["area"].notna().all()
    assert explained["masks"]["images"] == explained["n"]


def test_the_gallery_names_file_patient_and_loss(explained: dict) -> None:
    shots = explained["gallery"]["losses"]
    losses = [s["loss"] for s in shots]
    assert losses == sorted(losses, reverse=True)
    assert len({s["patient_id"] for s in shots}) == len(shots)
    for shot in shots:
        assert shot["file"] == f"{shot['image_id']}.jpg"
        assert shot["loss"] == pytest.approx(-np.log(shot["prob_true"]), rel=1e-6)
    for name, called in explained["gallery"]["confident"].items():
        assert {s["predicted"] for s in called} == {name}
        assert all(s["true"] != name for s in called)
    assert all(s["true"] == s["predicted"] for s in explained["gallery"]["correct"])


def test_cases_carry_the_numbers_of_their_lesion(trained: Path, explained: dict) -> None:
    table = pd.read_csv(trained / "run" / "abcd-valid.csv").set_index("image_id")
    text = (trained / "run" / "explanations-valid.html").read_text()
    for shot in explained["gallery"]["losses"]:
        assert set(shot["abcd"]) == set(NAMES)
        diameter = table.loc[shot["image_id"], "diameter"]
        assert shot["abcd"]["diameter"] == pytest.approx(diameter)
        shown = f"{diameter:.0f}" if diameter >= 100 else f"{diameter:.1f}"
        assert f"<dt>diameter (px)</dt><dd>{shown}</dd>" in text


def test_failed_methods_are_framed_and_the_gallery_shows_another(
    trained: Path, explained: dict
) -> None:
    verdicts = {r["name"]: r["sanity"]["passed"] for r in explained["study"] if r["sanity"]}
    main = explained["gallery"]["method"]
    assert verdicts[main] is True or True not in verdicts.values()
    for name, passed in verdicts.items():
        path = next((trained / "run" / "explanations" / "valid" / name).glob("*.png"))
        with Image.open(path) as picture:
            rim = np.asarray(picture)[[0, -1]].reshape(-1, 3)
        assert bool((rim == FAILED).all()) is (passed is False), name


def test_the_page_of_a_network_of_chance_says_so_first(trained: Path, explained: dict) -> None:
    told = explained["network"]
    assert told["balanced_accuracy"]["n"] == explained["n"]
    assert told["better_than_chance"] is not True  # of one epoch: nothing is learned
    text = (trained / "run" / "explanations-valid.html").read_text()
    assert text.index('class="alarm ') < text.index("<main")
    assert "passed: depends on what was learned" not in text


def test_files_and_the_link_in_the_report(trained: Path, explained: dict) -> None:
    run = trained / "run"
    written = json.loads((run / "explanations-valid.json").read_text())
    assert written["schema_version"] == 1
    assert written["study"] == explained["study"]
    main = explained["gallery"]["method"]
    pictures = sorted((run / "explanations" / "valid" / main).glob("*.png"))
    shown = {s["image_id"] for s in explained["gallery"]["losses"]}
    assert {p.name.rsplit("-", 1)[0] for p in pictures} >= shown
    assert Image.open(pictures[0]).size == (448, 448)
    assert 'href="explanations-valid.html"' in (run / "report.html").read_text()
    assert explained["linked"]
    spots = pd.read_csv(run / "embedding-valid.csv")
    assert len(spots) == explained["n"]
    assert spots[["x", "y"]].to_numpy().min() == 0
    assert spots[["x", "y"]].to_numpy().max() == 1


def test_the_page_fetches_nothing_and_tells_what_a_person_needs(
    trained: Path, explained: dict
) -> None:
    text = (trained / "run" / "explanations-valid.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]', text)
    assert "http" not in re.sub(r"http://www.w3.org/\S+|http-equiv", "", text)
    assert "SYNTHETIC DATA" in text
    assert "Test set sealed" in text
    shot = explained["gallery"]["losses"][0]
    for word in (shot["file"], shot["patient_id"], f"{shot['loss']:.3f}"):
        assert word in text
    data = json.loads(re.search(r'id="cloud-data">(.*?)</script>', text)[1])  # type: ignore[index]
    assert len(data["x"]) == explained["n"]
    assert {c["name"] for c in data["colours"]} >= {
        "true class",
        "sex",
        "source",
        "correct or wrong",
    }


def test_one_method_masks_from_a_zip_chinese_and_another_place(
    trained: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "masks.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for path in sorted((trained / "data" / "masks").glob("*.png"))[:40]:
            name = path.name.replace("_mask", "").replace(".png", "_segmentation.png")
            pack.write(path, name)
    found = explain(
        trained / "run", methods=["gradcam"], masks=archive, limit=11, checks=4, lang="zh",
        threads=1, out=tmp_path / "out",
    )  # fmt: skip
    assert found["masks"]["images"] < found["n"]
    row = found["study"][-1]
    assert row["sanity"]["passed"] is None  # four images are too few to say
    text = (tmp_path / "out" / "explanations-valid.html").read_text()
    assert 'lang="zh-Hans"' in text
    assert "归因热图" in text


def test_refusals(trained: Path, tmp_path: Path) -> None:
    run = trained / "run"
    with pytest.raises(BadInput, match="attention_rollout does not apply to this run"):
        explain(run, methods=["attention_rollout"])
    (tmp_path / "none").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "none" / "other.png")
    with pytest.raises(BadInput, match="no mask is named"):
        explain(run, masks=tmp_path / "none")
    with pytest.raises(BadInput, match="no projection 'pca'"):
        explain(run, projection="pca")
    with pytest.raises(BadInput, match="at least one image"):
        explain(run, limit=0)
    with pytest.raises(BadInput, match="at least one draw"):
        explain(run, draws=0)
    with pytest.raises(BadInput, match="no split 'validation'"):
        explain(run, split="validation")


def test_test_is_opened_through_the_ledger_only(trained: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(trained / "data", data)
    before = len(ledger.openings(data))
    few = {"methods": ["cam"], "limit": 4, "checks": 2, "threads": 1, "data": data}
    out = tmp_path / "out"
    explain(trained / "run", out=out, **few)  # type: ignore[arg-type]
    assert len(ledger.openings(data)) == before
    of_valid = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    explain(trained / "run", split="test", out=out, **few)  # type: ignore[arg-type]
    assert ledger.has_seen_test(trained / "run", None)  # in the run's own record
    entries = ledger.openings(data)
    assert len(entries) == before + 1
    assert entries[-1]["run"] == "run"
    assert "Test-set accesses: 1" in (out / "explanations-test.html").read_text()
    assert {p: p.read_bytes() for p in of_valid} == of_valid  # nothing of validation is touched
    assert json.loads((out / "explanations-test.json").read_text())["part"] == "test"
    assert list((out / "explanations" / "test" / "cam").glob("*.png"))
