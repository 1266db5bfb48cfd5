"""Arrays of any library as NumPy arrays, with the names that they carry.

NumPy, lists, pandas and polars columns, torch tensors (on any device, with or without a
gradient): known by what they can do, so that none of these libraries has to be installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Floats, Labels
from lesionlab.errors import BadInput


class Column(Protocol):
    """A column or table of pandas or polars, or a tensor: it has a shape and a dtype or columns."""

    @property
    def shape(self) -> Any:
        """Length of each dimension."""

    def __len__(self) -> int: ...


Array = Column | Sequence[Any] | np.ndarray[Any, Any]


@dataclass(frozen=True)
class Plain:
    """An argument as a NumPy array, and what came with it: column names and a pandas index."""

    name: str
    values: np.ndarray[Any, Any]
    columns: tuple[str, ...] | None = None
    index: pd.Index | None = None

    def __len__(self) -> int:
        return len(self.values)


def plain_array(values: Array, name: str) -> Plain:
    """`values` as NumPy array; `name` is the argument that errors name.

    A column vector (N, 1) has become (N,). Raises `BadInput` for what is no array of at least
    one case, is ragged, or has masked values.
    """
    index = getattr(values, "index", None)
    columns = getattr(values, "columns", None)
    found = _to_numpy(values, name)
    if np.ma.isMaskedArray(found) and np.ma.getmaskarray(found).any():
        raise BadInput("it has masked values", where=name, remedy="leave those cases out")
    if found.ndim == 0:
        raise BadInput("it is no array", where=name, remedy="give one value a case")
    if found.ndim > 2:
        raise BadInput(f"its shape is {found.shape}", where=name, remedy="give (N,) or (N, K)")
    if found.size == 0:
        raise BadInput("it is empty", where=name)
    names = None if columns is None else tuple(str(c) for c in columns)
    if found.dtype.kind == "O":
        found = _python_values(found, name)
    if found.ndim == 2 and found.shape[1] == 1:
        found, names = found[:, 0], None
    return Plain(name, found, names, index if isinstance(index, pd.Index) else None)


def _to_numpy(values: Any, name: str) -> np.ndarray[Any, Any]:
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a tensor
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # which NumPy does not know
            values = values.float()
        return np.asarray(values.numpy())
    if isinstance(values, str | bytes | dict | set):
        raise BadInput(f"a {type(values).__name__} is no array", where=name)
    try:
        if hasattr(values, "to_numpy"):  # pandas and polars
            return np.asarray(values.to_numpy())
        if isinstance(values, np.ndarray):
            return values
        # Objects, lest NumPy makes texts of numbers beside a missing value or a text.
        return np.asarray(list(values), dtype=_dtype_of(values))
    except (TypeError, ValueError) as error:
        raise BadInput(f"it cannot be read as an array ({error})", where=name) from None


def _dtype_of(values: Any) -> type | None:
    """Plain lists of labels keep their values; rows of numbers become numbers."""
    first = next(iter(values), None)
    nested = isinstance(first, Sequence | np.ndarray) and not isinstance(first, str | bytes)
    return None if nested or hasattr(values, "__array__") else object


def _python_values(found: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Python's own numbers for NumPy's and for tensors of one value, as `list(array)` holds them:
    else they would be taken for texts, which are sorted by letters."""
    result = np.empty(found.shape, object)
    for place, value in np.ndenumerate(found):
        lone = isinstance(value, np.number | np.bool_) or (
            hasattr(value, "detach") and getattr(value, "ndim", None) == 0
        )
        if isinstance(value, list | dict | set | np.ndarray):
            raise BadInput(
                f"a {type(value).__name__} is no single value",
                where=at(Plain(name, found), place),
                remedy="give one value a case",
            )
        result[place] = value.item() if lone else value
    return result


def same_length(*arrays: Plain | None) -> None:
    """`BadInput` where the arguments do not hold the same cases in the same order.

    pandas indexes that differ are refused: to take the rows by position would pair the wrong
    cases without a word, to take them by label would guess.
    """
    given = [a for a in arrays if a is not None]
    first = given[0]
    for other in given[1:]:
        if len(other) != len(first):
            raise BadInput(
                f"{first.name} has {len(first)} cases, {other.name} has {len(other)}",
                remedy="give one value a case in each",
            )
    indexed = [a for a in given if a.index is not None]
    for other in indexed[1:]:
        _same_index(indexed[0], other)


def _same_index(a: Plain, b: Plain) -> None:
    assert a.index is not None
    assert b.index is not None
    differ = np.flatnonzero(np.asarray(a.index != b.index))
    if a.index.equals(b.index) or not len(differ):
        return
    row = int(differ[0])
    raise BadInput(
        f"the pandas indexes of {a.name} and {b.name} differ, first in row {row} "
        f"({a.index[row]!s} and {b.index[row]!s})",
        remedy=f"bring them in one order ({b.name}.loc[{a.name}.index]), or give .to_numpy() of "
        "both if the rows do belong together",
    )


def numbers(array: Plain) -> Floats:
    """The values as float64, all finite; `BadInput` names the place of the first that is not."""
    values = array.values
    if values.dtype.kind not in "fiub":
        values = _numbers_of(array)
    result = np.asarray(values, np.float64)
    bad = np.argwhere(~np.isfinite(result))
    if len(bad):
        raise BadInput(f"{result[tuple(bad[0])]} is not a finite number", where=at(array, bad[0]))
    return result


def _numbers_of(array: Plain) -> Floats:
    """Of an array of objects; texts are no numbers, however they look."""
    result = np.empty(array.values.shape)
    for place, value in np.ndenumerate(array.values):
        try:
            if isinstance(value, str | bytes | complex | np.complexfloating):
                raise TypeError
            result[place] = float("nan") if is_missing(value) else float(value)
        except (TypeError, ValueError):
            raise BadInput(
                f"'{text(value)}' is not a number", where=at(array, np.array(place))
            ) from None
    return result


def at(array: Plain, place: npt.NDArray[np.int64] | Sequence[int]) -> str:
    """The place of a value, as one would write it: `y_prob[3, 1]`, counted from 0.

    >>> at(Plain("y_prob", np.zeros((4, 2))), (3, 1))
    'y_prob[3, 1]'
    """
    return f"{array.name}[{', '.join(str(int(i)) for i in place)}]"


def is_missing(value: object) -> bool:
    """None, NaN, NaT, pandas' NA and "" mean "not known".

    >>> [is_missing(v) for v in (None, float("nan"), pd.NA, "", 0, "a")]
    [True, True, True, True, False, False]
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, str) and not value


def text(value: object) -> str:
    """A label or an id as text; "" where it is missing, and 3.0 is 3: a column of whole numbers
    with gaps holds floats.

    >>> [text(v) for v in ("mel", 3.0, np.int64(3), True, None)]
    ['mel', '3', '3', 'True', '']
    """
    if is_missing(value):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def texts(values: np.ndarray[Any, Any]) -> Labels:
    """(N,) texts of labels or ids."""
    result = np.empty(len(values), object)
    result[:] = [text(v) for v in values.tolist()]
    return result
