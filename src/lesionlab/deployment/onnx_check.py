"""What an ONNX file may hold, checked without loading it: the wire format is walked by hand.

A bundle's model is one file of standard operators. External data would let a file read its
neighbours, a custom operator or a local function would run what nobody has looked at, and a
NaN weight would answer NaN. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lesionlab.errors import BadInput

STANDARD_DOMAINS = ("", "ai.onnx")
ENDLESS = ("Loop", "Scan", "SequenceMap")  # no classifier needs them, and they may never end
MAX_DEPTH = 8  # of graphs inside attributes
_FLOAT, _STRING, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 8, 10, 11, 16  # TensorProto.DataType
_VALUES = (4, 5, 7, 9, 10, 11)  # fields that hold numbers: typed by type, or raw
_EXTERNAL = 1  # TensorProto.DataLocation
# numpy has no bfloat16: the upper half of a float32.
_NUMPY_TYPES = {_FLOAT: "<f4", _DOUBLE: "<f8", _FLOAT16: "<f2", _BFLOAT16: "<u2"}

Value = int | memoryview


def check_onnx(data: bytes, where: str) -> None:
    """Raise `BadInput` unless `data` is an ONNX model of standard operators, whole and finite."""
    try:
        graphs = 0
        for field, value in _fields(memoryview(data)):
            if field == 7:
                graphs += 1
                _check_graph(_message(value), where, MAX_DEPTH)
            elif field == 25:
                raise _refused("holds its own operators (local functions)", where)
    except ValueError as error:
        raise _refused(f"not an ONNX model ({error})", where) from None
    if graphs != 1:
        raise _refused("not an ONNX model (no graph)", where)


def _check_graph(graph: memoryview, where: str, depth: int) -> None:
    if depth == 0:
        raise _refused("graphs nested too deeply", where)
    for field, value in _fields(graph):
        if field == 1:
            _check_node(_message(value), where, depth)
        elif field == 5:
            _check_tensor(_message(value), where)
        elif field == 15:
            raise _refused("holds sparse weights", where)


def _check_node(node: memoryview, where: str, depth: int) -> None:
    operator, domain = "", ""
    for field, value in _fields(node):
        if field == 4:
            operator = _text(value)
        elif field == 7:
            domain = _text(value)
        elif field == 5:
            _check_attribute(_message(value), where, depth)
    if domain not in STANDARD_DOMAINS:
        raise _refused(f"operator '{domain}.{operator}' is not a standard one", where)
    if operator in ENDLESS:
        raise _refused(f"operator '{operator}' may run for ever", where)


def _check_attribute(attribute: memoryview, where: str, depth: int) -> None:
    for field, value in _fields(attribute):
        if field in (5, 10):  # a tensor, several
            _check_tensor(_message(value), where)
        elif field in (6, 11):  # a graph, several
            _check_graph(_message(value), where, depth - 1)
        elif field in (22, 23):
            raise _refused("holds sparse weights", where)


def _check_tensor(tensor: memoryview, where: str) -> None:
    kind, name, held = 0, "?", 0
    dims: list[int] = []
    floats: list[bytes | memoryview] = []
    halves: list[Value] = []  # or integers
    for field, value in _fields(tensor):
        if field == 1:
            dims += _numbers(value)
        elif field == 2:
            kind = _number(value)
        elif field == 8:
            name = _text(value)
        elif field == 13 or (field == 14 and _number(value) == _EXTERNAL):
            raise _refused("keeps weights in another file (external data)", where)
        elif field in _VALUES:
            held += len(value) if isinstance(value, memoryview) else 1
            if field in (4, 9, 10) and isinstance(value, memoryview):  # float, raw, double data
                floats.append(value)
            elif field == 5:
                halves.append(value)
    # The smallest type packs two numbers into a byte.
    if kind != _STRING and math.prod(dims) > 2 * held:
        raise _refused(f"weight '{name}' claims more numbers than the file holds", where)
    if kind in (_FLOAT16, _BFLOAT16):
        floats += map(_half_bytes, halves)
    for block in floats:
        if kind in _NUMPY_TYPES and not _finite(block, kind):
            raise _refused(f"weight '{name}' holds NaN or infinity", where)


def _half_bytes(value: Value) -> bytes:
    """The bits of 16-bit floats that are written as integers."""
    return np.array([n & 0xFFFF for n in _numbers(value)], "<u2").tobytes()


def _finite(block: bytes | memoryview, kind: int) -> bool:
    dtype = np.dtype(_NUMPY_TYPES[kind])
    if len(block) % dtype.itemsize:
        raise ValueError("a tensor's length does not fit its type")
    numbers = np.frombuffer(block, dtype)
    if kind == _BFLOAT16:
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    return bool(np.isfinite(numbers).all())


def _refused(what: str, where: str) -> BadInput:
    return BadInput(what, where=where, remedy="export the model again with: lesionlab export")


def _fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, value) of one protobuf message; `ValueError` where it is none."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        field, wire = key >> 3, key & 7
        if field == 0:
            raise ValueError("field number 0")
        if wire == 0:
            value, place = _varint(data, place)
            yield field, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + length > len(data):
            raise ValueError("a field runs past the end")
        yield field, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _numbers(value: Value) -> list[int]:
    """One number of a repeated field, or all of them where they are packed."""
    if isinstance(value, int):
        return [value]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(number)
    return numbers


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number belongs")
    return value


def _text(value: Value) -> str:
    try:
        return bytes(_message(value)).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a name that is not UTF-8") from None
