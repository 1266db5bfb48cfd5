"""A bundle is read with suspicion (facts: models 28-33, archives 22-27)."""

from __future__ import annotations

import json
import pickle
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from lesionlab.deployment import bundle as bundles
from lesionlab.deployment.bundle import array_bytes, read_array, read_bundle, record
from lesionlab.deployment.predictor import Predictor
from lesionlab.errors import BadInput


@pytest.fixture
def folder(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "tiny"))


def packed(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return to


def rewrite(folder: Path, changes: dict[str, Any]) -> None:
    """Change fields of bundle.json."""
    raw = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(raw | changes))


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its hash: what an attacker who can write would do."""
    (folder / name).write_bytes(data)
    raw = json.loads((folder / "bundle.json").read_text())
    raw["files"][name] = record({name: data})[name].model_dump()
    (folder / "bundle.json").write_text(json.dumps(raw))


def refused(path: Path, match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        read_bundle(path)
    assert "\n" not in str(caught.value)


def test_a_good_one_is_read_as_folder_and_zip(folder: Path, tmp_path: Path) -> None:
    assert read_bundle(folder).identity == read_bundle(packed(folder, tmp_path / "t.zip")).identity


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md", "bank.npy"])
def test_one_flipped_bit_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, rf"{name}: its SHA-256 differs from the one")


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md", "bank.npy"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, rf"{name}: is missing")


def test_no_bundle_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "no such bundle")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "not a bundle")
    (tmp_path / "text.zip").write_text("hello")
    refused(tmp_path / "text.zip", "neither a bundle folder nor a zip")


def test_28_pickle_is_refused_under_any_name(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    refused(folder, "does not belong in a bundle")
    (folder / "model.pkl").unlink()
    replace_file(folder, "model.onnx", pickle.dumps({"a": 1}))
    refused(folder, "not an ONNX model")


def test_28_an_array_of_objects_is_refused(folder: Path) -> None:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    replace_file(folder, "bank.npy", stream.getvalue())
    refused(folder, "not a plain")


def test_29_a_header_that_claims_more_than_there_is(folder: Path) -> None:
    import io

    stream = io.BytesIO()
    header = {"descr": "<f2", "fortran_order": False, "shape": (2**40, 6)}
    np.lib.format.write_array_header_1_0(stream, header)
    replace_file(folder, "bank.npy", stream.getvalue() + b"\0" * 12)
    refused(folder, "length does not fit")


def test_30_external_data_is_refused(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, "external data")


def test_30_external_data_inside_an_attribute_is_refused(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    tensor = onnx.TensorProto(data_type=1, dims=[1], data_location=1, name="x")
    tensor.external_data.add(key="location", value="x.bin")
    node = helper.make_node("Constant", [], ["unused"], value=tensor)
    model.graph.node.append(node)
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, "external data")


def test_31_a_custom_operator_is_refused_by_name(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    model.graph.node.append(helper.make_node("Shell", [], ["unused"], domain="evil"))
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, r"operator 'evil\.Shell' is not a standard one")


def test_31_a_custom_operator_inside_a_branch_is_refused(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    inner = helper.make_graph([helper.make_node("Shell", [], ["y"], domain="evil")], "g", [], [])
    model.graph.node.append(
        helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    )
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, "not a standard one")


def test_31_local_functions_are_refused(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    model.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], [], [helper.make_opsetid("", 20)])
    )
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, "local functions")


@pytest.mark.parametrize("operator", ["Loop", "Scan", "SequenceMap"])
def test_31_what_may_run_for_ever_is_refused(folder: Path, operator: str) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    model.graph.node.append(helper.make_node(operator, [], ["unused"]))
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, f"'{operator}' may run for ever")


@pytest.mark.parametrize("dims", [[2**40], [2**31, 2**31], [2**62, 4]])
def test_33_giant_dimensions_without_the_numbers(folder: Path, dims: list[int]) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    replace_file(folder, "model.onnx", model.SerializeToString())
    refused(folder, "claims more numbers than the file holds")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_33_weights_that_are_no_numbers(folder: Path, value: float, tiny: Any) -> None:
    weights = tiny.tiny_weights()
    weights.head[0, 0] = value
    replace_file(folder, "model.onnx", tiny.tiny_model(weights).SerializeToString())
    refused(folder, "weight 'head' holds NaN or infinity")


def test_33_classes_that_do_not_fit_the_model(folder: Path) -> None:
    raw = json.loads((folder / "bundle.json").read_text())
    raw["classes"].append("extra")
    raw["prior"]["extra"] = raw["train_prior"]["extra"] = 0.1
    raw["self_test"].append(0.0)
    (folder / "bundle.json").write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=r"for other classes|do not fit 4 classes"):
        Predictor(read_bundle(folder))


def test_33_other_weights_of_the_same_shape_fail_the_self_test(folder: Path, tiny: Any) -> None:
    weights = tiny.tiny_weights()
    weights.head[:] = -weights.head
    replace_file(folder, "model.onnx", tiny.tiny_model(weights).SerializeToString())
    with pytest.raises(BadInput, match="self-test differs"):
        Predictor(read_bundle(folder)).self_test()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema_version": 99}, "newer than"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"classes": ["nv", "nv", "mel"]}, "named twice"),
        ({"malignant": ["melanoma"]}, "'melanoma' is not one of the classes"),
        ({"prior": {"nv": 1.0}}, "prior needs one probability for each class"),
        ({"researchonly": False}, "did you mean 'research_only'"),
        ({"research_only": False}, "research_only"),
        ({"embedding_size": 7}, "does not fit an embedding of 7"),
    ],
)
def test_a_wrong_description_is_named(folder: Path, changes: dict[str, Any], match: str) -> None:
    rewrite(folder, changes)
    refused(folder, match)


@pytest.mark.parametrize("text", ["[]", "{", '{"temperature": NaN}', "[" * 100_000, "3", "null"])
def test_a_description_that_is_no_object(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    refused(folder, "bundle.json")


def test_a_link_is_refused(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere")
    refused(folder, "may not contain links or folders")


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/model.onnx", "a/model.onnx", "MODEL.onnx", "con", "a\nb"]
)
def test_22_to_26_a_zip_with_any_other_name(folder: Path, tmp_path: Path, name: str) -> None:
    path = packed(folder, tmp_path / "t.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    refused(path, "does not belong|too many")


def test_24_a_link_in_a_zip(folder: Path, tmp_path: Path) -> None:
    (folder / "bank.npy").unlink()
    path = packed(folder, tmp_path / "t.zip")
    entry = zipfile.ZipInfo("bank.npy")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(path, "may not contain links")


def test_25_a_forged_size_is_counted(folder: Path, tmp_path: Path) -> None:
    (folder / "bundle.json").write_bytes(b" " * (bundles.MAX_TEXT + 10))
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "bundle.json", "bundle.json")
    refused(path, "more than")
    forged = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = forged.rfind(signature) + offset
        forged[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(forged)
    refused(path, "neither a bundle|larger than it claims|not valid JSON|hash")


def test_25_a_bomb_is_refused_before_it_is_unpacked(folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").write_bytes(bytes(64 * 2**20))
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    refused(path, r"model\.onnx: \d+ bytes claim to hold 67108864")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_25_only_deflate(folder: Path, tmp_path: Path, method: int) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.write(folder / "bundle.json", "bundle.json")
    refused(path, "compressed by a method other than deflate")


@pytest.mark.parametrize("name", ["bank.npy", "MODEL_CARD.md", "bundle.sig"])
def test_25_each_file_has_its_limit(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as stream:
        stream.truncate(bundles.limit_of(name) + 1)  # a sparse file: no bytes on the disk
    refused(folder, rf"{name}: \d+ bytes, more than")


def test_27_too_many_entries(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(100):
            archive.writestr(f"{n}", b"")
    refused(path, "too many")


def test_a_name_twice(folder: Path, tmp_path: Path) -> None:
    path = packed(folder, tmp_path / "t.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bundle.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("bundle.json", b"{}")
    refused(path, "occurs twice")


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<i2"])
def test_arrays_come_back_as_they_were(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    assert np.array_equal(read_array(array_bytes(array), "x"), array)


def test_arrays_with_nan_are_refused() -> None:
    with pytest.raises(BadInput, match="NaN"):
        read_array(array_bytes(np.array([np.nan], np.float32)), "x")


def test_random_damage_never_escapes_as_another_error(folder: Path) -> None:
    """A bounded fuzz of the description and the model: refused, or equal to the original."""
    rng = np.random.default_rng(0)
    good = (folder / "model.onnx").read_bytes()
    check: Callable[[bytes, str], None] = bundles.check_onnx
    for _ in range(300):
        data = bytearray(good)
        for place in rng.integers(0, len(data), rng.integers(1, 5)):
            data[place] = rng.integers(0, 256)
        cut = bytes(data[: rng.integers(1, len(data))]) if rng.random() < 0.3 else bytes(data)
        try:
            check(cut, "fuzz")
        except BadInput:
            continue


SINCE_2 = ("interpolation", "crop")


def as_of_0_1_0(folder: Path) -> Path:
    """The bundle as 0.1.0 wrote it: version 1, without the keys that came later."""
    raw = json.loads((folder / "bundle.json").read_text())
    raw["schema_version"] = 1
    raw["preprocessing"] = {k: v for k, v in raw["preprocessing"].items() if k not in SINCE_2}
    raw["training"].pop("weights")
    raw.pop("cam_offset")
    (folder / "bundle.json").write_text(json.dumps(raw))
    return folder


def test_a_bundle_of_0_1_0_opens_and_answers_as_it_did(folder: Path, tiny: Any) -> None:
    wanted = Predictor(read_bundle(folder))
    old = Predictor(read_bundle(as_of_0_1_0(folder)))
    assert (old.how.interpolation, old.how.crop) == ("bilinear", 1.0)
    assert old.info.cam_offset == (0.0, 0.0)
    assert old.info.training.weights == {}
    old.self_test()
    pixels = np.random.default_rng(0).integers(0, 256, (2, *[tiny.SIZE] * 2, 3), dtype=np.uint8)
    np.testing.assert_array_equal(old.predict(pixels).logits, wanted.predict(pixels).logits)


def test_what_0_1_0_cannot_read_tells_it_to_upgrade(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader looks at the version first; a key it does not know would be "not a setting"."""
    assert json.loads((folder / "bundle.json").read_text())["schema_version"] == 2
    monkeypatch.setattr(bundles, "SCHEMA_VERSION", 1)
    refused(folder, "schema_version 2 is newer than 1; upgrade lesionlab")
    read_bundle(as_of_0_1_0(folder))


def test_the_map_s_offset_is_a_place_or_two(folder: Path) -> None:
    rewrite(folder, {"cam_offset": [0.5, 40]})
    refused(folder, "cam_offset")
