"""`lesionlab.split`: divide a data set into splits, whole groups only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionlab import files
from lesionlab.array_types import Labels
from lesionlab.data import ledger, tables
from lesionlab.data.groups import MAX_DUPLICATES, chains, crossing, united_groups
from lesionlab.data.import_checks import patients_known
from lesionlab.data.manifest import Dataset, read_dataset, with_table, write_dataset
from lesionlab.data.parts import OFFICIAL, Apart, fold_as_test, left_out, official
from lesionlab.data.regions import balanced
from lesionlab.data.split import deal, deal_by_image, shares_of, summary
from lesionlab.errors import BadInput, counted
from lesionlab.progress import SILENT, Progress

Policy = Literal["grouped", "official", "source", "fold", "by image"]
# What the data set holds of duplicates: of `audit`, and of an earlier search by `split`.
PAIRS = {"duplicates.csv": "audit", "duplicates.json": "earlier search"}
NOT_SEARCHED = "not searched"
TEST, VALID = 0.2, 0.15  # shares of a deal where none are given
DROPPED = "dropped"  # the manifest's column that says why a row has no part


def split(
    folder: Path | str,
    *,
    test: float | None = None,
    valid: float | None = None,
    calib: float = 0.0,
    seed: int = 0,
    stratify: Sequence[str] = (),
    keep_official: bool | None = None,
    leave_out: str = "",
    folds: int = 0,
    fold: int = 0,
    balance: Literal["", "class", "full"] = "",
    allow_leak: bool = False,
    pairs: Path | str | Sequence[tuple[str, str]] | None = None,
    search: bool | None = None,
    max_duplicates: int = MAX_DUPLICATES,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write the `split` column of a dataset folder.

    Groups (patient, else lesion, united with byte-identical images and with verified
    near-duplicates) never cross parts. Near-duplicates are `pairs` (a file of `audit`, a CSV, or
    a list); else those that `audit` or an earlier search left in the data set; else they are
    searched now, and left there. `search=True` searches in any case, `search=False` in none.
    The parts are dealt by `test` and `valid` (0.2 and 0.15), or the official ones
    (`keep_official`; the default where the set has them and no share is given), or one source is
    the test part (`leave_out`), or one of `folds`
    (`fold`, from 0). With official parts, a source or a fold, `valid` and `calib` are shares of
    the training part. `balance` drops training rows so that benign and malignant are equally
    many (see `data.regions.balanced`). With `allow_leak` groups may cross, as in tutorials, and
    the data set is marked LEAKY for good.

    Returns `{train|valid|test|calib: {images, groups, classes}, groups_crossing, policy, leaky,
    near_duplicates: {from, pairs}, patients: {known, of, note}, dropped: {images, examples}}`.
    """
    dataset = read_dataset(Path(folder))
    table = dataset.table
    if allow_leak and search is None:
        search = False  # as in tutorials: nothing is kept together
    origin, twins = known_pairs(dataset, pairs, search, progress)
    groups = united_groups(table, twins, max_duplicates)
    shares = {"test": test, "valid": valid, "calib": calib}
    policy = _policy(table, shares, keep_official, leave_out, folds, allow_leak)
    apart = _parted(dataset, groups, policy, shares, seed, stratify, leave_out, folds, fold)
    if allow_leak and policy == "official":
        apart = Apart(table[OFFICIAL].to_numpy(object), np.zeros(len(table), bool))
    crossed = crossing(groups, apart.parts)
    if crossed and not allow_leak:
        raise BadInput(
            f"{counted(len(crossed), 'group crosses', 'groups cross')} the splits, the first "
            f"is '{crossed[0]}'"
        )
    table = _written(table, apart, balance, seed, dataset.info.malignant)
    told = {"policy": policy, "seed": seed, "shares": shares, "stratify": ["label", *stratify],
            "leave_out": leave_out, "folds": folds, "fold": fold, "balance": balance,
            "groups": len(set(groups)), "groups_crossing": len(crossed),
            "near_duplicates": {"from": origin, "pairs": len(twins)}}  # fmt: skip
    leak = _leak(dataset.info.leaky, dataset.info.leak_reason, allow_leak, len(crossed))
    write_dataset(with_table(dataset, table, split_policy=told, **leak))
    ledger.append(dataset.folder, {"event": "split", "policy": told})
    return {
        "schema_version": 1,
        "dataset": str(folder),
        **summary(table, groups, dataset.info.classes),
        "policy": policy,
        "leaky": leak["leaky"],
        "near_duplicates": told["near_duplicates"],
        "patients": _patients(table),
        "dropped": _dropped(table),
    }


def known_pairs(
    dataset: Dataset,
    given: Path | str | Sequence[tuple[str, str]] | None,
    search: bool | None,
    progress: Progress,
) -> tuple[str, list[tuple[str, str]]]:
    """Where the pairs come from, and the pairs."""
    if given is not None and not isinstance(given, (str, Path)):
        return "given", list(given)
    if given is not None:
        return str(given), _read_pairs(Path(given))
    if search:
        return "searched", _searched(dataset, progress, MAX_DUPLICATES)
    for name, origin in PAIRS.items():
        if (dataset.folder / name).exists():
            known = set(dataset.table["image_id"])  # the data set may have lost rows since
            pairs = _read_pairs(dataset.folder / name)
            return f"{origin} ({name})", [p for p in pairs if known >= set(p)]
    if search is False:
        return NOT_SEARCHED, []
    return "searched", _credible(dataset, _searched(dataset, progress, _longest(dataset)), progress)


def _searched(dataset: Dataset, progress: Progress, limit: int) -> list[tuple[str, str]]:
    """Near-duplicates by a search now; chains up to `limit` are left there for the next split."""
    from lesionlab.data.duplicates import near_duplicates, to_json
    from lesionlab.data.duplicates.fingerprints import estimated_seconds

    try:
        progress.say(
            f"searching for near-duplicates among {counted(len(dataset.table), 'image')}, about "
            f"{duration(estimated_seconds(dataset))} or more (--no-search leaves it out)"
        )
        pairs = near_duplicates(dataset, progress=progress)
    except BadInput as error:
        raise BadInput(
            f"near-duplicates cannot be searched: {error}", remedy="or split with --no-search"
        ) from None
    limit = _longest(dataset)
    stored = [p for p, n in zip(pairs, sizes, strict=True) if n <= limit]
    if not (dataset.folder / "duplicates.csv").exists():  # that of audit says more
        files.write_json(dataset.folder / "duplicates.json", to_json(stored))
    return [(p.a, p.b) for p in pairs]


def _longest(dataset: Dataset) -> int:
    """Images that may be one picture: a tenth of a small set would rather be its style."""
    return min(MAX_DUPLICATES, max(8, len(dataset.table) // 10))


def _credible(
    dataset: Dataset, pairs: list[tuple[str, str]], progress: Progress
) -> list[tuple[str, str]]:
    """The pairs of a search that nobody asked for, without long chains, which are said."""
    limit = _longest(dataset)
    sizes = chains(pairs)
    if sizes and max(sizes) > limit:
        progress.say(
            f"{max(sizes)} images are chained together as near-duplicates: chains of more than "
            f"{limit} are not used (lesionlab audit shows them; --search uses them)"
        )
    return [pair for pair, n in zip(pairs, sizes, strict=True) if n <= limit]


def duration(seconds: float) -> str:
    """A rough time in words.

    >>> duration(0.3), duration(42.0), duration(240)
    ('1 s', '42 s', '4 min')
    """
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _patients(table: pd.DataFrame) -> dict[str, Any]:
    """How many images have a patient, and the sentence that is due where not all have."""
    images = table.drop_duplicates("path")
    known = int((images["patient_id"] != "").sum())
    return {"known": known, "of": len(images), "note": "".join(patients_known(table))}


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    if path.suffix == ".json":
        stored = files.read_json(path)
        try:
            return [(str(p["a"]), str(p["b"])) for p in stored["pairs"]]
        except (KeyError, TypeError):
            raise BadInput("no file of near-duplicate pairs", where=str(path)) from None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None
    if len(data.splitlines()) < 2:  # a header alone: no pairs
        return []
    table, _ = tables.read_csv(data, str(path))
    if len(table.columns) < 2:
        raise BadInput("two columns of image ids are expected", where=str(path))
    return [(str(a), str(b)) for a, b in table.iloc[:, :2].to_numpy()]


def _policy(
    table: pd.DataFrame,
    shares: dict[str, float | None],
    keep_official: bool | None,
    leave_out: str,
    folds: int,
    allow_leak: bool,
) -> Policy:
    chosen: list[Policy] = []
    if keep_official:
        chosen.append("official")
    if leave_out:
        chosen.append("source")
    if folds:
        chosen.append("fold")
    if len(chosen) > 1:
        raise BadInput(f"give only one of the ways to split, not {' and '.join(chosen)}")
    if chosen and shares["test"] is not None:
        raise BadInput(f"a test proportion cannot be combined with a split by {chosen[0]}")
    if chosen:
        return chosen[0]
    has = OFFICIAL in table and (table[OFFICIAL] == "test").any()
    if has and keep_official is None and shares["test"] is None and shares["valid"] is None:
        return "official"
    return "by image" if allow_leak else "grouped"


def _parted(
    dataset: Dataset,
    groups: Labels,
    policy: Policy,
    shares: dict[str, float | None],
    seed: int,
    stratify: Sequence[str],
    leave_out: str,
    folds: int,
    fold: int,
) -> Apart:
    table = dataset.table
    carve = {part: share for part, share in shares.items() if share and part != "test"}
    if policy == "official":
        return official(table, groups, carve, seed, stratify, str(dataset.folder))
    if policy in ("source", "fold") and shares["valid"] is None:
        carve["valid"] = VALID
    if policy == "source":
        return left_out(table, groups, leave_out, carve, seed, stratify)
    if policy == "fold":
        return fold_as_test(table, groups, folds, fold, carve, seed, stratify)
    test, valid = shares["test"], shares["valid"]
    full = shares_of(TEST if test is None else test, VALID if valid is None else valid,
                     shares["calib"] or 0.0)  # fmt: skip
    if policy == "by image":
        parts = deal_by_image(table, full, seed)
    else:
        parts = deal(table, groups, full, seed, stratify)
    return Apart(parts, np.zeros(len(table), bool))


def _written(
    table: pd.DataFrame, apart: Apart, balance: str, seed: int, malignant: Sequence[str]
) -> pd.DataFrame:
    """The table with its parts, and a column that says why a row has none."""
    reason = np.where(apart.dropped, "shares a group with a stronger part", "").astype(object)
    parts = apart.parts.copy()
    if balance:
        train = np.flatnonzero(parts == "train")
        spare = train[~balanced(table.iloc[train], balance, seed, malignant)]
        parts[spare], reason[spare] = "", f"left out to balance ({balance})"
    table = table.assign(split=parts)
    if (reason != "").any() or DROPPED in table:
        table[DROPPED] = reason
    return table


def _dropped(table: pd.DataFrame) -> dict[str, Any]:
    if DROPPED not in table:
        return {"images": 0, "examples": []}
    ids = table.loc[table[DROPPED] != "", "image_id"].tolist()
    return {"images": len(ids), "examples": ids[:20]}


def _leak(was: bool, reason: str, allowed: bool, crossed: int) -> dict[str, Any]:
    """Once leaky, always leaky: a model or a person may have seen the leaking parts."""
    if not allowed:
        return {"leaky": was, "leak_reason": reason}
    return {
        "leaky": True,
        "leak_reason": "split with --allow-leak: "
        f"{counted(crossed, 'group crosses', 'groups cross')} the splits",
    }
