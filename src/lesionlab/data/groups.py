"""Which images must stay together: one patient, one lesion, one picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab.array_types import Labels
from lesionlab.data.manifest import group_ids
from lesionlab.errors import BadInput

MAX_DUPLICATES = 20


def united_groups(
    table: pd.DataFrame,
    pairs: Iterable[tuple[str, str]] = (),
    max_duplicates: int = MAX_DUPLICATES,
) -> Labels:
    """(N,) a group label for each row: patient, else lesion, else image, united with twins.

    Rows are united when they share a patient; or, without a patient, a lesion; or the bytes of
    their image; or a `twin_group` (a column of some sets); or when `pairs` (of `image_id`)
    calls them near-duplicates. A group takes the smallest name among its members, so that
    labels do not depend on the order of rows.

    Raises `BadInput` where `pairs` names an unknown image, or chains more than `max_duplicates`
    images together (a sign that the near-duplicates are none).

    >>> table = pd.DataFrame({"image_id": ["a", "b", "c"], "patient_id": ["p", "", ""],
    ...     "lesion_id": ["", "", ""], "sha256": ["1", "1", "2"]})
    >>> list(united_groups(table))
    ['image:b', 'image:b', 'image:c']
    """
    names = group_ids(table).to_numpy(object)
    edges = [_codes(names), _codes(_lesion_keys(table)), _codes(table["sha256"].to_numpy(object))]
    if "twin_group" in table:  # what the set's makers or `merge` know to be one picture
        edges.append(_codes(table["twin_group"].to_numpy(object)))
    edges += _pair_codes(table, list(pairs), max_duplicates)
    component = _components(edges, len(table))
    least = pd.Series(names).groupby(component).min()
    labels: Labels = least.loc[component].to_numpy(object)
    return labels


def _codes(keys: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """(N,) an integer for each distinct key, -1 for ""."""
    codes, uniques = pd.factorize(pd.Series(keys, dtype=object))
    absent = np.flatnonzero(np.asarray(uniques, object) == "")
    codes[np.isin(codes, absent)] = -1
    return np.asarray(codes, np.int64)


def _lesion_keys(table: pd.DataFrame) -> npt.NDArray[np.object_]:
    """A lesion joins rows without a patient, and these to the one patient who has it.

    A lesion id that several patients use ("1", "2") numbers the lesions of each and joins none
    of them.
    """
    patient, lesion = table["patient_id"].astype(str), table["lesion_id"].astype(str)
    owners = table[patient != ""].groupby(lesion[patient != ""])["patient_id"].nunique()
    shared = lesion.map(owners).fillna(0) > 1
    return np.asarray(lesion.where(~(shared & (patient != "")), ""), object)


def _pair_codes(
    table: pd.DataFrame, pairs: list[tuple[str, str]], max_duplicates: int
) -> list[npt.NDArray[np.int64]]:
    if not pairs:
        return []
    row = {image_id: i for i, image_id in enumerate(table["image_id"])}
    for pair in pairs:
        for image_id in pair:
            if image_id not in row:
                raise BadInput(f"near-duplicate pair names an unknown image '{image_id}'")
    ends = np.array([[row[a], row[b]] for a, b in pairs])
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(table),) * 2)
    component = connected_components(graph, directed=False)[1]
    sizes = np.bincount(component)
    if sizes.max() > max_duplicates:
        first = table["image_id"].iloc[int(np.flatnonzero(component == sizes.argmax())[0])]
        raise BadInput(
            f"{sizes.max()} images are chained together as near-duplicates, among them '{first}'",
            remedy=f"look at them, then allow the chain with --max-duplicates {sizes.max()}",
        )
    alone = sizes[component] == 1
    return [np.where(alone, -1, component).astype(np.int64)]


def chains(pairs: list[tuple[str, str]]) -> list[int]:
    """For each pair, how many images are chained together with it.

    >>> chains([("a", "b"), ("b", "c"), ("x", "y")])
    [3, 3, 2]
    """
    if not pairs:
        return []
    names, codes = np.unique(np.array(pairs, str), return_inverse=True)
    ends = codes.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names),) * 2)
    component = connected_components(graph, directed=False)[1]
    return [int(n) for n in np.bincount(component)[component[ends[:, 0]]]]


def _components(edges: list[npt.NDArray[np.int64]], n: int) -> npt.NDArray[np.int64]:
    """Connected components of rows, where rows are joined by equal codes (-1 joins nothing)."""
    rows, nodes, offset = [], [], n
    for codes in edges:
        known = np.flatnonzero(codes >= 0)
        rows.append(known)
        nodes.append(codes[known] + offset)
        offset += int(codes.max(initial=-1)) + 1
    start, end = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(offset, offset))
    return np.asarray(connected_components(graph, directed=False)[1][:n], np.int64)


def crossing(groups: Labels, parts: npt.NDArray[np.object_] | pd.Series) -> list[str]:
    """The groups that stand in more than one part, sorted; rows without a part do not count."""
    table = pd.DataFrame({"group": groups, "part": np.asarray(parts, object)})
    table = table[table["part"] != ""]
    n = table.groupby("group")["part"].nunique()
    return sorted(n.index[n > 1])
