"""Names of NumPy array types: the name says what the values are, a docstring the shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]  # row numbers of a table
UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.object_]  # names of classes or groups, as text
