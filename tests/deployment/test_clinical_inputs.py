"""A model that also reads age, sex and site: the same numbers wherever it is asked."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from starlette.testclient import TestClient

from helpers.browser_code import node
from lesionlab.api.predict import predict
from lesionlab.data.cache import open_pixels
from lesionlab.data.clinical_metadata import encode
from lesionlab.data.images import normalise
from lesionlab.data.manifest import Dataset, write_dataset
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.clinical_inputs import (
    UNKNOWN,
    ClinicalInputs,
    encode_clinical,
    not_understood,
)
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.publish import ExportData, Network, export_bundle
from lesionlab.deployment.server_run import ServeSettings, build
from lesionlab.deployment.table import PredictionsTable
from lesionlab.errors import BadInput
from lesionlab.reporting.card import model_card
from lesionlab.run_folder import FactsCoding

CODING = FactsCoding(
    columns=("age", "sex", "site"), age_mean=50.0, age_sd=17.0, sites=("back", "face")
)
WIDTH = 8  # age 2, sex 3, site 3
CASES = [
    ClinicalInputs(30.0, "male", "face"),
    ClinicalInputs(),
    ClinicalInputs(99.5, "female", "moon"),
    ClinicalInputs(sex="male"),
]


def reading_model(tiny: Any) -> Network:
    """The tiny network plus a linear map of the facts."""
    weights = tiny.tiny_weights()
    reader = np.random.default_rng(5).normal(size=(WIDTH, 3)).astype(np.float32)
    model = tiny.tiny_model(weights)
    graph = model.graph
    next(n for n in graph.node if n.op_type == "Gemm").output[0] = "seen"
    graph.node.append(helper.make_node("MatMul", ["facts", "reader"], ["read"]))
    graph.node.append(helper.make_node("Add", ["seen", "read"], ["logits"]))
    graph.initializer.append(numpy_helper.from_array(reader, "reader"))
    graph.input.append(helper.make_tensor_value_info("facts", TensorProto.FLOAT, ["batch", WIDTH]))
    onnx.checker.check_model(model)

    def original(images: Any, facts: Any) -> Any:
        return (weights.logits(images) + facts @ reader).astype(np.float32)

    outputs = ("logits", "embedding", "cam")
    return Network(model.SerializeToString(), outputs, tiny.D, original)


@pytest.fixture(scope="module")
def reading(tiny: Any, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose network reads facts, exported from a data set that has them."""
    room = tmp_path_factory.mktemp("reading")
    shutil.copytree(tiny_dataset.folder, room / "data", ignore=shutil.ignore_patterns("*.json*"))
    rng, table = np.random.default_rng(6), tiny_dataset.table.copy()
    table["age"] = rng.uniform(10, 90, len(table)).round()
    table.loc[::7, "age"] = np.nan
    table["sex"] = rng.choice(["female", "male", ""], len(table))
    table["site"] = rng.choice(["back", "face", ""], len(table))
    shutil.rmtree(room / "data" / "cache", ignore_errors=True)
    (room / "data" / "manifest.csv").unlink()
    dataset = Dataset(room / "data", table, tiny_dataset.info)
    write_dataset(dataset)
    pixels = open_pixels(dataset, tiny.HOW)
    recipe = tiny.tiny_recipe(facts=CODING)
    export_bundle(
        recipe, reading_model(tiny), ExportData(dataset, pixels), room / "bundle", model_card
    )
    return room / "bundle"


def test_the_coding_is_that_of_training() -> None:
    codes = encode_clinical(CASES, CODING)
    assert codes.shape == (4, WIDTH)
    assert codes.dtype == np.float32
    assert codes[1].tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert codes[2, 5:].tolist() == [0, 0, 1]  # a place that training never saw
    assert not_understood(CASES[2], CODING) == "site 'moon' taken as unknown"
    assert not_understood(CASES[0], CODING) == ""


@pytest.mark.parametrize("age", [-1.0, 131.0, math.inf])
def test_an_impossible_age(age: float) -> None:
    with pytest.raises(BadInput, match="not between 0 and 130"):
        ClinicalInputs(age)


def test_the_browser_codes_alike() -> None:
    known = [
        {"age": "" if math.isnan(c.age) else str(c.age), "sex": c.sex, "site": c.site}
        for c in CASES
    ]
    code = """
    const { encodeClinical } = await import(`${browser}/clinical_inputs.js`);
    console.log(JSON.stringify(given.known.map((k) => [...encodeClinical(k, given.coding)])));
    """
    found = node(code, {"known": known, "coding": CODING.model_dump(mode="json")})
    assert np.array_equal(np.array(found, np.float32), encode_clinical(CASES, CODING))


def test_the_bundle_agrees_with_the_original_on_known_cases(reading: Path, tiny: Any) -> None:
    bundle = read_bundle(reading)
    assert bundle.info.facts == CODING
    assert 0 <= bundle.info.parity.max_probability_difference < 1e-5
    predictor, original = Predictor(bundle), reading_model(tiny).original
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    images = normalise(pixels, predictor.how)
    facts = encode_clinical(CASES, CODING)
    np.testing.assert_allclose(
        predictor.predict(pixels, facts=facts).logits, original(images, facts), atol=1e-4
    )
    nothing = encode_clinical([UNKNOWN] * 4, CODING)
    np.testing.assert_allclose(
        predictor.predict(pixels).logits, original(images, nothing), atol=1e-4
    )


def test_columns_of_a_table(reading: Path, tmp_path: Path, tiny: Any) -> None:
    tiny.picture("nv", np.random.default_rng(1), 40).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(
        "image_id;path;age;sex;site\n1;a.png;30;M;face\n2;a.png;;;\n3;a.png;30,0;male;moon\n"
    )
    one, two, three = predict(reading, tmp_path / "list.csv")["predictions"]
    assert one["logits"] != two["logits"]
    assert three["note"] == "site 'moon' taken as unknown"
    (plain,) = predict(reading, tmp_path / "a.png")["predictions"]
    assert plain["logits"] == pytest.approx(two["logits"], abs=1e-5)
    (tmp_path / "list.csv").write_text("path,age\na.png,300\n")
    with pytest.raises(BadInput, match=r"list\.csv, row 2: age 300 is not between"):
        predict(reading, tmp_path / "list.csv")


def test_a_resumed_table_keeps_to_its_cases(
    reading: Path, tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise KeyboardInterrupt

    tiny.picture("nv", np.random.default_rng(1), 40).save(tmp_path / "a.png")
    listing, out = tmp_path / "list.csv", tmp_path / "out.csv"
    listing.write_text("path,age\na.png,30\n")
    with monkeypatch.context() as patch:
        patch.setattr(PredictionsTable, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            predict(reading, listing, csv=out)
    listing.write_text("path,age\na.png,60\n")
    with pytest.raises(BadInput, match="other settings"):
        predict(reading, listing, csv=out)
    listing.write_text("path,age\na.png,30\n")
    assert predict(reading, listing, csv=out)["n"] == 1


def test_over_http(reading: Path, bundle_folder: Path, tmp_path: Path, tiny: Any) -> None:
    path = tmp_path / "a.png"
    tiny.picture("nv", np.random.default_rng(1), 40).save(path)
    (tmp_path / "list.csv").write_text("path,age,sex,site\na.png,30,male,face\n")
    wanted = predict(reading, tmp_path / "list.csv")["predictions"][0]
    hosts = ("testserver",)
    app, _ = build([reading], ServeSettings(workers=1, allow_hosts=hosts))
    with TestClient(app) as web:

        def ask(**query: str) -> Any:
            headers = {"content-type": "image/png"}
            return web.post("/v1/predict", params=query, content=path.read_bytes(), headers=headers)

        said = ask(age="30", sex="male", site="face").json()["predictions"][0]
        assert said["logits"] == pytest.approx(wanted["logits"], abs=1e-5)
        assert ask().json()["predictions"][0]["logits"] != said["logits"]
        assert "moon" in ask(site="moon").json()["predictions"][0]["note"]
        for wrong in ({"age": "200"}, {"age": "nan"}, {"sex": "x"}, {"site": "x" * 101}):
            assert ask(**wrong).status_code == 400
        assert web.get("/v1/models").json()["models"][0]["facts"]["sites"] == ["back", "face"]
    app, _ = build([bundle_folder], ServeSettings(workers=1, allow_hosts=hosts))
    with TestClient(app) as web:
        answer = web.post("/v1/predict?age=30", content=path.read_bytes(), headers={})
        assert answer.json()["code"] == "facts"


def test_a_fused_network_is_exported_with_its_facts(tiny: Any) -> None:
    import onnxruntime

    from lesionlab.data.clinical_metadata import unknown_case
    from lesionlab.deployment.export import to_onnx, torch_logits
    from lesionlab.models.classifier import Classifier, FusedHead

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv(images))

    class Average(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.mean((2, 3))

    torch.manual_seed(0)
    head = FusedHead(torch.nn.Linear(8 + 32, 3), unknown_case(CODING))
    model = Classifier(Body(), Average(), head, "linear").eval()
    exported = to_onnx(model, tiny.HOW, WIDTH)
    session = onnxruntime.InferenceSession(exported.data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    images = normalise(rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8), tiny.HOW)
    facts = encode_clinical(CASES, CODING)
    said = session.run(["logits"], {"images": images, "facts": facts})[0]
    np.testing.assert_allclose(said, torch_logits(model, images, facts), atol=1e-5)
    assert np.abs(said - torch_logits(model, images)).max() > 1e-3  # facts are not ignored


def test_encode_is_the_one_of_training(tiny_dataset: Dataset) -> None:
    table = tiny_dataset.table.head(3)
    cases = [
        ClinicalInputs(a, s, p)
        for a, s, p in zip(table["age"], table["sex"], table["site"], strict=True)
    ]
    assert np.array_equal(encode(table, CODING), encode_clinical(cases, CODING))
