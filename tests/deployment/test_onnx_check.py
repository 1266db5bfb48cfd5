"""What an ONNX file may hold, field by field; onnx itself makes and reads the files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lesionlab.deployment.onnx_check import MAX_DEPTH, check_onnx
from lesionlab.errors import BadInput


@pytest.fixture
def model(tiny: Any) -> onnx.ModelProto:
    found: onnx.ModelProto = tiny.tiny_model(tiny.tiny_weights())
    return found


def refused(model: onnx.ModelProto | bytes, match: str) -> None:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(BadInput, match=match) as caught:
        check_onnx(data, "some/model.onnx")
    assert str(caught.value).startswith("some/model.onnx: ")


def sparse() -> onnx.SparseTensorProto:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0]), "i"), [4])


def test_a_plain_model_passes_whatever_its_names_are(model: onnx.ModelProto) -> None:
    model.producer_name = "ä" * 200
    model.graph.node[0].domain = "ai.onnx"
    check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "AI.ONNX", " "])
def test_another_domain_is_refused_by_name(model: onnx.ModelProto, domain: str) -> None:
    model.graph.node[-1].domain = domain
    refused(model, f"operator '{domain}.Conv' is not a standard one")


CHANGES: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "function": (lambda m: m.functions.add(), "its own operators"),
    "loop": (lambda m: setattr(m.graph.node[1], "op_type", "Loop"), "'Loop' may run for ever"),
    "sparse": (lambda m: m.graph.sparse_initializer.append(sparse()), "sparse weights"),
    "sparse attribute": (
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("s", sparse())),
        "sparse weights",
    ),
    "external, by its place alone": (
        lambda m: setattr(m.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
        "another file",
    ),
    "external, by its key alone": (
        lambda m: m.graph.initializer[0].external_data.add(key="location", value="x"),
        "another file",
    ),
    "negative dimension": (lambda m: m.graph.initializer[0].dims.append(-1), "claims more numbers"),
    "no numbers": (lambda m: m.graph.initializer[0].ClearField("raw_data"), "claims more numbers"),
    "torn numbers": (
        lambda m: setattr(m.graph.initializer[0], "raw_data", m.graph.initializer[0].raw_data[:-1]),
        "length does not fit",
    ),
    "no graph": (lambda m: m.ClearField("graph"), "no graph"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_classifier_does_not_need_is_refused(model: onnx.ModelProto, name: str) -> None:
    change, match = CHANGES[name]
    change(model)
    refused(model, match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("raw", [True, False])
def test_a_weight_that_is_no_number_is_refused(
    model: onnx.ModelProto, value: float, kind: str, raw: bool
) -> None:
    number = TensorProto.DataType.Value(kind)
    for last, name in ((2.0, "good"), (value, "w")):
        numbers = np.array([1, last, -2]).astype(helper.tensor_dtype_to_np_dtype(number))
        held = numbers.tobytes() if raw else numbers
        weight = helper.make_tensor(name, number, [3], held, raw=raw)
        model.graph.initializer.append(weight)
    refused(model, "weight 'w' holds NaN or infinity")


def test_integers_of_the_same_bits_are_no_nan(model: onnx.ModelProto) -> None:
    bits = np.array([np.nan, np.inf], np.float32)
    for dtype in (np.int32, np.int64, np.uint8):
        numbers = bits.view(np.int32).astype(dtype) if dtype is np.int64 else bits.view(dtype)
        model.graph.initializer.append(numpy_helper.from_array(numbers, f"i{dtype.__name__}"))
    packed = helper.make_tensor("four bits", TensorProto.INT4, [3], [1, -2, 3])
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b""])
    model.graph.initializer.extend([packed, words])
    check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize(("depth", "passes"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_graphs_in_graphs(model: onnx.ModelProto, depth: int, passes: bool) -> None:
    inner = helper.make_graph([], "innermost", [], [])
    for _ in range(depth - 1):
        inner = helper.make_graph(
            [helper.make_node("If", ["c"], ["o"], then_branch=inner)], "g", [], []
        )
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=inner))
    if passes:
        check_onnx(model.SerializeToString(), "model.onnx")
    else:
        refused(model, "nested too deeply")


def test_a_file_cut_short_is_refused_or_is_still_a_message(model: onnx.ModelProto) -> None:
    data, read = model.SerializeToString(), 0
    for length in range(len(data)):
        try:
            check_onnx(data[:length], "cut")
        except BadInput:
            continue
        read += 1
        assert onnx.ModelProto.FromString(data[:length]).graph == model.graph
    assert read < 30


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no graph"),
        (b"\x00\x01", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x08", "ends within a number"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
        (b"\x3a\x05ab", "runs past the end"),
        (b"\x38\x01", "a number where a message belongs"),
        (b"\x3a\x00\x3a\x00", "no graph"),  # two of them: a reader would merge them
        (b"PK\x03\x04" * 8, "not an ONNX model"),
    ],
)
def test_other_bytes(data: bytes, match: str) -> None:
    refused(data, match)
