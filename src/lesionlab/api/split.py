"""`lesionlab.split`: deal a data set into parts, whole groups only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lesionlab.data import ledger
from lesionlab.data.groups import MAX_DUPLICATES, crossing, united_groups
from lesionlab.data.manifest import read_dataset, with_table, write_dataset
from lesionlab.data.split import deal, deal_by_image, shares_of, summary
from lesionlab.errors import BadInput


def split(
    folder: Path | str,
    *,
    test: float = 0.2,
    valid: float = 0.15,
    calib: float = 0.0,
    seed: int = 0,
    stratify: Sequence[str] = (),
    allow_leak: bool = False,
    pairs: Iterable[tuple[str, str]] = (),
    max_duplicates: int = MAX_DUPLICATES,
) -> dict[str, Any]:
    """Write the `split` column of a dataset folder.

    Groups (patient, else lesion, united with byte-identical images and with `pairs` of
    near-duplicates) never cross parts; with `allow_leak` images are dealt one by one, as
    tutorials do, and the data set is marked LEAKY for good. Returns `{train|valid|test|calib:
    {images, groups, classes}, groups_crossing, leaky}`.
    """
    dataset = read_dataset(Path(folder))
    shares = shares_of(test, valid, calib)
    groups = united_groups(dataset.table, pairs, max_duplicates)
    if allow_leak:
        parts = deal_by_image(dataset.table, shares, seed)
    else:
        parts = deal(dataset.table, groups, shares, seed, stratify)
    table = dataset.table.assign(split=parts)
    crossed = crossing(groups, parts)
    if crossed and not allow_leak:
        raise BadInput(f"{len(crossed)} groups cross the parts, the first is '{crossed[0]}'")
    policy = {
        "policy": "by image (leaks)" if allow_leak else "grouped",
        "shares": shares,
        "seed": seed,
        "stratify": ["label", *stratify],
        "groups": len(set(groups)),
        "groups_crossing": len(crossed),
    }
    leak = _leak(dataset.info.leaky, dataset.info.leak_reason, allow_leak, len(crossed))
    write_dataset(with_table(dataset, table, split_policy=policy, **leak))
    ledger.append(dataset.folder, {"event": "split", "policy": policy})
    return {
        "schema_version": 1,
        "dataset": str(folder),
        **summary(table, groups, dataset.info.classes),
        "leaky": leak["leaky"],
    }


def _leak(was: bool, reason: str, allowed: bool, crossed: int) -> dict[str, Any]:
    """Once leaky, always leaky: a model or a person may have seen the leaking parts."""
    if not allowed:
        return {"leaky": was, "leak_reason": reason}
    return {
        "leaky": True,
        "leak_reason": f"split by image with --allow-leak: {crossed} groups cross the parts",
    }
