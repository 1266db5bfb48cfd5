"""What is measured: labelled cases with their decisions, their scores and their groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import Floats, Ints
from lesionlab.evaluation.intervals import effective_groups


@dataclass(frozen=True)
class Cases:
    """What is measured: N labelled cases of K classes in G groups.

    `scores` names each ranking: {name: (positive (N,) bool, score (N,))}; those in `full` get
    the whole list of ranking metrics, the others AUC and average precision. `ordered`: the
    classes are grades, from the first to the last.
    """

    classes: tuple[str, ...]
    y_true: Ints
    y_prob: Floats
    y_pred: Ints
    y_pred_corrected: Ints | None
    codes: Ints
    n_groups: int
    scores: Mapping[str, tuple[npt.NDArray[np.bool_], Floats]]
    full: frozenset[str]
    ordered: bool = False

    @cached_property
    def independent(self) -> bool:
        """Whether each group is a single case."""
        return self.n_groups == len(self.codes)

    @cached_property
    def class_groups(self) -> Floats:
        """`(K,)`: how many groups, by effective number, hold cases of each class."""
        k = len(self.classes)
        return np.array([self.worth(self.y_true == i) for i in range(k)])

    @property
    def scarcest(self) -> float:
        """Effective groups of the scarcest class that occurs."""
        return float(self.class_groups[self.present].min())

    def scarcer_groups(self, name: str) -> float:
        """Effective groups with a positive case of a score, or with a negative one: the fewer."""
        positive = self.scores[name][0]
        return min(self.worth(positive), self.worth(~positive))

    def worth(self, rows: npt.NDArray[np.bool_]) -> float:
        """The effective number of groups that hold these cases."""
        return effective_groups(np.bincount(self.codes[rows], minlength=1).astype(np.float64))

    @cached_property
    def mixed(self) -> bool:
        """Whether a group holds cases of several classes."""
        k = len(self.classes)
        held = np.bincount(np.unique(self.codes * k + self.y_true) // k)
        return bool((held > 1).any())

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """`(K,)`: the classes that occur."""
        return np.bincount(self.y_true, minlength=len(self.classes)) > 0
