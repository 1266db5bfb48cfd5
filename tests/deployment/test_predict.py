"""`lesionlab predict`: from a folder of files to a table, without torch."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.api.predict import predict
from lesionlab.cli.main import run
from lesionlab.deployment import table as tables
from lesionlab.deployment.heatmap import file_name
from lesionlab.errors import BadInput


@pytest.fixture
def photos(tmp_path: Path, tiny: Any) -> Path:
    folder, rng = tmp_path / "photos", np.random.default_rng(5)
    (folder / "sub").mkdir(parents=True)
    for n, label in enumerate(tiny.CLASSES):
        tiny.picture(label, rng, 40).save(folder / f"p{n}.png")
    tiny.picture("nv", rng, 40).save(folder / "sub" / "p0.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    (folder / "=cmd.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_becomes_a_table(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    result = predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    assert (result["n"], result["errors"]) == (6, 2)
    found = rows(tmp_path / "out.csv")
    assert [r["image_id"] for r in found] == [
        "'=cmd",
        "broken",
        "photos/p0",
        "p1",
        "p2",
        "sub/p0",
    ]
    good = [r for r in found if not r["error"]]
    assert len(good) == 4
    for r in good:
        assert sum(float(r[f"prob_{c}"]) for c in ("mel", "nv", "=vasc")) == pytest.approx(
            1, abs=1e-5
        )
        assert r["positive"] in ("0", "1", "")
    assert {r["error"] for r in found if r["error"]} >= {"the file is empty"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "photos"]


def test_table_and_json_say_the_same(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    said = {p["image_id"]: p for p in predict(bundle_folder, photos)["predictions"]}
    for r in rows(tmp_path / "out.csv"):
        if r["error"]:
            continue
        one = said[r["image_id"]]
        assert float(r["prob_mel"]) == one["probabilities"]["mel"]
        assert r["class_at_dataset_prior"].lstrip("'") == one["class_at_dataset_prior"]


def test_a_broken_off_table_is_gone_on_with(
    bundle_folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(bundle_folder, photos, csv=tmp_path / "whole.csv")
    add, count = tables.PredictionsTable.add, []

    def failing(self: tables.PredictionsTable, result: Any) -> None:
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        add(self, result)

    monkeypatch.setattr(tables.PredictionsTable, "add", failing)
    with pytest.raises(KeyboardInterrupt):
        predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    monkeypatch.setattr(tables.PredictionsTable, "add", add)
    assert not (tmp_path / "out.csv").exists()
    with (tmp_path / "out.csv.partial").open("a") as stream:
        stream.write("p1,torn ro")  # a row that the crash cut
    result = predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    assert result["resumed"] == 3
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_rows_of_other_settings_are_not_mixed(
    bundle_folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: tables.PredictionsTable, result: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables.PredictionsTable, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    with pytest.raises(BadInput, match="another bundle or other settings"):
        predict(bundle_folder, photos, csv=tmp_path / "out.csv", abstain="none")


def test_an_existing_table_is_refused(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(BadInput, match="exists"):
        predict(bundle_folder, photos, csv=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_table_of_regions(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    listing = photos / "list.csv"
    listing.write_text(
        "image_id,path,roi_x,roi_y,roi_size\na,p0.png,20,20,16\nb,p0.png,,,\nc,absent.png,,,\n"
    )
    said = predict(bundle_folder, listing)["predictions"]
    assert [p["image_id"] for p in said] == ["a", "b", "c"]
    assert said[0]["logits"] != said[1]["logits"]
    assert said[2]["error"].startswith("cannot be read")


def test_a_model_of_regions_wants_regions(
    make_bundle: Any, tiny: Any, photos: Path, tmp_path: Path
) -> None:
    training = tiny.tiny_recipe().training.model_copy(update={"regions": True})
    make_bundle(tmp_path / "regions", training=training)
    said = predict(tmp_path / "regions", photos / "p0.png")["predictions"]
    assert "trained on regions" in said[0]["error"]


@pytest.mark.parametrize("abstain", ["none", "ood", "ood_or_set"])
def test_each_policy_of_abstention(bundle_folder: Path, tmp_path: Path, abstain: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noise[:, :, 0] = 255 * (noise[:, :, 0] > 127)
    noise[:, :, 2] = 255 - noise[:, :, 0]
    Image.fromarray(noise).save(tmp_path / "noise.png")
    one = predict(bundle_folder, tmp_path / "noise.png", abstain=abstain)["predictions"][0]
    assert one["ood"]["flagged"]
    if abstain == "none":
        assert one["decision"]["positive"] is not None
    else:
        assert one["decision"]["positive"] is None
        assert one["decision"]["reason"] == "not like the training images"


def test_heat_maps(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    said = predict(bundle_folder, photos, heatmaps=tmp_path / "maps")["predictions"]
    written = sorted(p.name for p in (tmp_path / "maps").iterdir())
    assert len(written) == sum(not p["error"] for p in said) == 4
    for name in written:
        with Image.open(tmp_path / "maps" / name) as image:
            assert image.size == (448, 448)
    one = next(p for p in said if p["image_id"] == "p1")
    assert file_name("p1", one["class_at_dataset_prior"]) in written


def test_heat_maps_of_ids_that_only_case_tells_apart_get_two_files(
    bundle_folder: Path, tiny: Any, tmp_path: Path
) -> None:
    """macOS and Windows would write both to one."""
    paths = [tmp_path / "a" / "p1.png", tmp_path / "b" / "P1.png"]
    for path in paths:
        path.parent.mkdir()
        tiny.picture("nv", np.random.default_rng(0), 64).save(path)
    predict(bundle_folder, paths, heatmaps=tmp_path / "maps")
    written = [p.name.casefold() for p in (tmp_path / "maps").iterdir()]
    assert len(set(written)) == 2


def test_a_bundle_s_offset_moves_its_pictures(
    make_bundle: Any, bundle_folder: Path, tmp_path: Path, tiny: Any
) -> None:
    plain = tiny.tiny_network(tiny.tiny_weights())
    make_bundle(tmp_path / "moved", network=replace(plain, cam_offset=(1.0, 0.0)))
    tiny.picture("mel", np.random.default_rng(0), 64).save(tmp_path / "a.png")
    drawn = {}
    for bundle in (bundle_folder, tmp_path / "moved"):
        predict(bundle, tmp_path / "a.png", heatmaps=tmp_path / f"maps-{bundle.name}")
        (path,) = (tmp_path / f"maps-{bundle.name}").iterdir()
        drawn[bundle.name] = path.read_bytes()
    assert len(set(drawn.values())) == 2


def test_a_dicom_file_is_read(bundle_folder: Path, tmp_path: Path, tiny: Any) -> None:
    """15, 16: burned-in text is said; what names a person is not read and not logged."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
        generate_uid,
    )

    image = tiny.picture("nv", np.random.default_rng(0), 40)
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = ExplicitVRLittleEndian
    head.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    head.MediaStorageSOPInstanceUID = generate_uid()
    stored = pydicom.dataset.FileDataset("a.dcm", {}, file_meta=head, preamble=bytes(128))
    stored.Rows = stored.Columns = 40
    stored.SamplesPerPixel, stored.PhotometricInterpretation = 3, "RGB"
    stored.PlanarConfiguration = stored.PixelRepresentation = 0
    stored.BitsAllocated = stored.BitsStored = 8
    stored.HighBit = 7
    stored.PatientName, stored.BurnedInAnnotation = "Secret^Name", "YES"
    stored.PixelData = np.asarray(image).tobytes()
    stored.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image.save(tmp_path / "a.png")
    one, other = predict(bundle_folder, tmp_path)["predictions"]
    assert one["note"] == "text is burned into the image"
    assert one["logits"] == pytest.approx(other["logits"], abs=1e-5)
    assert "Secret" not in json.dumps(one)


def test_15_what_pydicom_warns_of_is_not_logged(
    tiny: Any, tmp_path: Path, bundle_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its warnings quote values of tags."""
    pytest.importorskip("pydicom")
    syntax = b"\x02\x00\x10\x00UI\x14\x00Secret^Name.12345678"
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(syntax).to_bytes(4, "little")
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + length + syntax)
    caplog.clear()
    with caplog.at_level("DEBUG"), warnings.catch_warnings(record=True) as warned:
        (one,) = predict(bundle_folder, tmp_path)["predictions"]
    said = json.dumps(one) + caplog.text + " ".join(str(w.message) for w in warned)
    assert "Secret" not in said


def test_unknown_names_are_refused(bundle_folder: Path, photos: Path) -> None:
    with pytest.raises(BadInput, match="no operating point 'youden'"):
        predict(bundle_folder, photos, operating_point="youden")
    with pytest.raises(BadInput, match="did you mean 'none'"):
        predict(bundle_folder, photos, abstain="nome")


def test_the_command_line(
    bundle_folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(bundle_folder), str(photos), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n"] == 6
    assert run(["predict", str(bundle_folder), str(photos / "p0.png")]) == 0
    assert "Research use only" in capsys.readouterr().out
    assert run(["predict", str(photos), str(photos / "p0.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_57_a_name_cannot_forge_a_line(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Any
) -> None:
    name = "a\nforged.png: positive\x1b[31m.png"
    tiny.picture("nv", np.random.default_rng(0), 40).save(tmp_path / name)
    (tmp_path / "b\n.png").write_bytes(b"x")
    assert run(["predict", str(bundle_folder), str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line.startswith("forged")]
    assert run(["predict", str(bundle_folder), str(tmp_path / "absent\n\x1b[31m")]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_no_torch_on_the_way(bundle_folder: Path, photos: Path, tmp_path: Path) -> None:
    """What predicts at a clinic has no torch, no onnx, no timm: they must not even be asked for."""
    shutil.copytree(bundle_folder, tmp_path / "b")
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'torchvision', 'timm', 'onnx', 'onnxscript',"
        " 'safetensors'}:\n"
        "            raise ImportError(f'{name} was asked for')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from lesionlab.cli.main import run\n"
        f"code = run(['predict', {str(tmp_path / 'b')!r}, {str(photos)!r}, '--json'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 6
