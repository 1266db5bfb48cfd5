"""`Answer` is the one definition of a prediction's fields, in JSON, OpenAPI and CSV."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import create_model
from starlette.testclient import TestClient

from helpers.serving import post
from lesionlab.api.predict import predict
from lesionlab.deployment.answers import Answer, CsvColumn, Decision, OodScores, answers
from lesionlab.deployment.batch import ImageResult, as_json
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Outputs, Predictor
from lesionlab.deployment.server_schema import prediction_shape
from lesionlab.deployment.table import columns, row
from lesionlab.evaluation.class_scores import score_of
from lesionlab.evaluation.operating_point import apply_operating_point
from lesionlab.evaluation.predictions import Predictions, read_predictions, write_predictions

ANSWER = {
    "logits",
    "probabilities",
    "class_at_dataset_prior",
    "class_at_uniform_prior",
    "decision",
    "conformal",
    "ood",
    "similar",
}
DECISION = {"operating_point", "score", "threshold", "positive", "reason"}
OOD = {"score", "mahalanobis", "knn", "flagged"}
# The names of 0.1.0, which other people's programs read.
COLUMNS = [
    *("image_id", "path", "error", "note"),
    *("prob_mel", "prob_nv", "prob_=vasc", "logit_mel", "logit_nv", "logit_=vasc"),
    *("class_at_dataset_prior", "class_at_uniform_prior"),
    *("operating_point", "score", "threshold", "positive", "abstained_because"),
    "set 90 %",
    *("ood_score", "ood_flag"),
]


def names_in(answer: dict[str, Any]) -> tuple[set[str], set[str], set[str]]:
    return set(answer), set(answer["decision"]), set(answer["ood"])


@pytest.fixture
def photo(tmp_path: Path, good: bytes) -> Path:
    path = tmp_path / "p.png"
    path.write_bytes(good)
    return path


def test_the_names_in_the_json_of_predict(bundle_folder: Path, photo: Path) -> None:
    (one,) = predict(bundle_folder, photo)["predictions"]
    assert names_in(one) == (ANSWER | {"image_id", "path", "error", "note"}, DECISION, OOD)


def test_the_columns_of_the_csv(bundle_folder: Path, photo: Path, tmp_path: Path) -> None:
    predict(bundle_folder, photo, csv=tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert next(csv.reader(stream)) == COLUMNS


def test_columns_that_a_bundle_cannot_fill_are_absent(bundle_folder: Path) -> None:
    info = read_bundle(bundle_folder).info
    assert columns(info, True) == COLUMNS
    assert columns(info, False) == [c for c in COLUMNS if c not in COLUMNS[12:17]]
    plain = info.model_copy(update={"ood": None, "conformal": ()})
    assert columns(plain, True) == COLUMNS[:17]


def test_the_names_in_the_answer_of_the_server(web: TestClient, good: bytes) -> None:
    (one,) = post(web, good).json()["predictions"]
    assert names_in(one) == (ANSWER | {"name", "error", "status", "note"}, DECISION, OOD)
    (mapped,) = post(web, good, params={"heatmap": "true"}).json()["predictions"]
    assert set(mapped) == set(one) | {"cam"}


def test_the_names_in_the_description(web: TestClient) -> None:
    schemas = web.get("/openapi.json").json()["components"]["schemas"]
    shape = schemas["PredictionShape"]["properties"]
    assert set(shape) == ANSWER | {"name", "error", "status", "note", "cam"}
    assert set(schemas["DecisionShape"]["properties"]) == DECISION
    assert set(schemas["OodShape"]["properties"]) == OOD
    assert schemas["PredictionShape"]["required"] == ["name"]
    assert {"$ref": "#/components/schemas/DecisionShape"} in shape["decision"]["anyOf"]
    assert {"$ref": "#/components/schemas/OodShape"} in shape["ood"]["anyOf"]


def an_answer(model: type[Answer], **more: Any) -> Answer:
    classes = {"mel": 0.25, "nv": 0.5, "=vasc": 0.25}
    decision = Decision(
        operating_point="fixed", score=0.25, threshold=0.3, positive=False, reason=""
    )
    return model(
        probabilities=classes,
        logits=classes,
        class_at_dataset_prior="nv",
        class_at_uniform_prior="=vasc",
        decision=decision,
        conformal={"90 %": ["nv", "=vasc"]},
        ood=OodScores(score=2.0, mahalanobis=2.0, knn=1.0, flagged=True),
        **more,
    )


def test_a_field_that_is_added_comes_out_everywhere(bundle_folder: Path) -> None:
    """A new field, one with a name of its own in the CSV and one a class, from the model alone."""
    longer = create_model(
        "Longer",
        __base__=Answer,
        entropy=float,
        second=Annotated[str, CsvColumn("second_class")],
        odds=Annotated[dict[str, float], CsvColumn("odds_{}", "classes")],
    )
    added = {"entropy": 0.5, "second": "=mel", "odds": {"mel": 1.0, "nv": 2.0, "=vasc": 0.0}}
    result = ImageResult(Item("a", Path("a.png")), an_answer(longer, **added))
    said = as_json(result)
    assert {name: said[name] for name in added} == added
    names = columns(read_bundle(bundle_folder).info, True, longer)
    new = ["entropy", "second_class", "odds_mel", "odds_nv", "odds_=vasc"]
    assert names == COLUMNS + new
    cells = dict(zip(names, row(result, names), strict=True))
    assert [cells[name] for name in new] == ["0.5", "'=mel", "1.0", "2.0", "0.0"]
    described = prediction_shape(longer).model_json_schema()["properties"]
    assert set(described) >= set(added)


def test_the_cells_of_a_row() -> None:
    result = ImageResult(Item("=a", Path("a.png")), an_answer(Answer))
    assert row(result, COLUMNS) == [
        *("'=a", "a.png", "", ""),
        *("0.25", "0.5", "0.25", "0.25", "0.5", "0.25", "nv", "'=vasc"),
        *("fixed", "0.25", "0.3", "0", "", "nv =vasc", "2.0", "1"),
    ]
    broken = ImageResult(Item("b", Path("b.png")), None, "the file is empty")
    assert row(broken, COLUMNS) == ["b", "b.png", "the file is empty", *[""] * 17]


def test_a_decision_is_that_of_the_report_in_any_order_of_the_classes(
    bundle_folder: Path, tmp_path: Path
) -> None:
    predictor = Predictor(read_bundle(bundle_folder))
    info = predictor.info
    generator = np.random.default_rng(0)
    tenths = [(i / 10, j / 10, (10 - i - j) / 10) for i in range(11) for j in range(11 - i)]
    random = generator.dirichlet(np.ones(3), 200).astype(np.float32)
    for prob in (np.array(tenths), random, random.astype(np.float64)):
        n = len(prob)
        embedding = np.zeros((n, info.embedding_size), np.float32)
        outputs = Outputs(np.zeros((n, 3), np.float32), prob, embedding)
        blank = np.full(n, "", dtype=object)
        names = np.array([f"i{i}" for i in range(n)], dtype=object)
        truth = np.full(n, -1)
        data = Predictions(names, blank, blank, info.classes, truth, prob.astype(np.float64))
        write_predictions(tmp_path / "p.csv", data)
        report = read_predictions(tmp_path / "p.csv").y_prob
        for score in itertools.permutations(info.classes, 2):
            point = replace(info.operating_points[0], score=score, threshold=0.8)
            found = [a.decision for a in answers(predictor, outputs, point, "none")]
            called = apply_operating_point(point, report, info.classes)
            assert [d.positive for d in found if d] == called.tolist()
            scores = score_of(report, info.classes, score[::-1])
            assert [d.score for d in found if d] == scores.tolist()
            if len(prob) == len(tenths):
                whole = np.rint(10 * prob[:, [info.classes.index(c) for c in score]]).sum(1)
                assert called.tolist() == (whole >= 8).tolist()
