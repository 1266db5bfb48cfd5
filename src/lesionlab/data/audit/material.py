"""What every check may look at: the data set, what was measured of it, and the pairs found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab.array_types import Ints
from lesionlab.data.audit.measure import ImageMeasurements
from lesionlab.data.duplicates import DuplicatePair
from lesionlab.data.manifest import Dataset, group_ids


@dataclass(frozen=True)
class Material:
    """A data set with its facts and its pairs; `other` and `across` where two are compared."""

    dataset: Dataset
    measured: ImageMeasurements
    pairs: tuple[DuplicatePair, ...]
    other: Dataset | None = None
    across: tuple[DuplicatePair, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """The manifest."""
        return self.dataset.table

    @property
    def where(self) -> str:
        """The folder, as commands name it."""
        return str(self.dataset.folder)

    @cached_property
    def row(self) -> dict[str, int]:
        """Row number of each image."""
        return {name: k for k, name in enumerate(self.table["image_id"])}

    @cached_property
    def twins(self) -> Ints:
        """(N,) a number for each chain of duplicates."""
        return components(len(self.table), [(self.row[p.a], self.row[p.b]) for p in self.pairs])

    @cached_property
    def groups(self) -> Ints:
        """(N,) patient, else lesion, else image, united with duplicates: what is resampled."""
        keys = (group_ids(self.table), lesion_keys(self.table), pd.Series(self.twins.astype(str)))
        edges = []
        for column in keys:
            codes = column.to_numpy(object)
            first = {key: k for k, key in reversed(list(enumerate(codes)))}
            edges += [(first[key], k) for k, key in enumerate(codes) if key]
        return components(len(self.table), edges)

    def label(self, image_id: str) -> str:
        """The label of an image."""
        return str(self.table["label"].iloc[self.row[image_id]])


def components(n: int, edges: Iterable[tuple[int, int]]) -> Ints:
    """(n,) a number for each connected component of n nodes."""
    ends = np.array(list(edges), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def lesion_keys(table: pd.DataFrame) -> pd.Series:
    """(N,) one text for each lesion, "" where unknown.

    A lesion id that several patients use ("1", "2") numbers the lesions of each patient.
    """
    patient, lesion = table["patient_id"].astype(str), table["lesion_id"].astype(str)
    owners = patient[patient != ""].groupby(lesion[patient != ""]).nunique()
    shared = lesion.map(owners).fillna(0) > 1
    keys = lesion.where(~shared, patient + " / " + lesion)
    return keys.where(lesion != "", "")
